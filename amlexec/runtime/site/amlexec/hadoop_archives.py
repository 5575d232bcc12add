"""What an application needs in the cluster's file system: the environment, and Spark's own jars.

Each is stored once, in `.amlexec/archives`: the names say what is in them.
"""

import os

MARKERS = "~/.amlexec/archives"
"""The folder on the head node with a marker for each archive, `NAME.cluster`.

Its lines are the address, the two words of the program that can remove it, and its size in bytes; its time is
that of the last use. Beside the marker of Spark's jars lies `NAME.with`: a line for each environment that was
used with them, "-" for none.
"""
NO_ENVIRONMENT = "-"
_DISTRIBUTED = "spark.yarn.dist.archives="


class Archives:
    """The archives of a user."""

    def __init__(self, files, folder, say, before=lambda: None):
        """`files` is the file system, `folder` our folder in it; `say` prints a line. No I/O.

        `before` is called before something is stored.
        """
        self.files, self.folder, self.say, self.before = files, folder, say, before

    def store(self, words, spark, scratch, anew=False):
        """The command line of `placed`; what the cluster does not have is stored."""

        def stored(local, name, what, make=None):
            return self.stored(local, name, what, anew, make)

        return placed(words, spark, scratch, stored)

    def stored(self, local, name, what, anew, make=None):
        """The address of an archive in the cluster, which is stored if it is missing."""
        address = "%s/archives/%s" % (self.folder, name)
        marker = marker_of(name)
        # Without a fast way to ask, the marker is believed: spark-submit says if the archive is missing.
        if not self.files.namenodes and not anew and os.path.exists(marker):
            os.utime(marker, None)
            return address
        size = self.files.size(address)
        if size is None:
            self.before()
            if make:
                make()
            size = os.path.getsize(local)
            self.say("storing %s in the cluster (%.0f MB)" % (what, size / 1e6))
            self.files.put(local, address)
        if make and os.path.exists(local):
            os.unlink(local)
        if not os.path.isdir(os.path.dirname(marker)):
            os.makedirs(os.path.dirname(marker), 0o700)
        new = "%s.%d.new" % (marker, os.getpid())
        with open(new, "w") as file:
            file.write("\n".join([address] + self.files.program + [str(size), ""]))
        os.rename(new, marker)
        return address


def placed(words, spark, scratch, stored):
    """The command line `words` of spark-submit, with the addresses of its archives in the cluster.

    `stored` gets path, name, description and maker of each, and returns its address. `spark` is SPARK_HOME,
    `scratch` a folder for what is made; the names are written to `archives` in it.
    """
    environment, names, words = NO_ENVIRONMENT, [], list(words)
    if "--archives" in words:
        at = words.index("--archives") + 1
        parts = [word[len(_DISTRIBUTED) :] for word in words if word.startswith(_DISTRIBUTED)]
        for part in words[at].split(","):
            path, mark, name = part.rpartition("#")
            if name == "environment" and os.path.isabs(path):
                names.append(os.path.basename(path))
                environment = names[-1].partition(".")[0]
                path = stored(path, names[-1], "the environment")
            parts.append(path + mark + name)
        # As a property: of an option, spark-submit asks the file system for every path, before the driver
        # begins, and starts Hadoop's client for that.
        told = _DISTRIBUTED + ",".join(parts)
        words[at - 1 : at + 1] = ["--conf", told]
        words[:] = [told if word.startswith(_DISTRIBUTED) else word for word in words]
    if not has_jars(words, spark):
        folder = os.path.join(spark, "jars")
        jars = [os.path.join(folder, one) for one in os.listdir(folder)]
        name = "spark-%s.zip" % digest_of(jars)[:32]
        local = os.path.join(scratch, name)
        address = stored(local, name, "Spark's jars", lambda: zipped(jars, local))
        words[1:1] = ["--conf", "spark.yarn.archive=" + address]
        names.append(name)
        used_with(name, environment)
    with open(os.path.join(scratch, "archives"), "w") as file:
        file.write("".join(name + "\n" for name in names))
    return words


def known(words, spark, scratch):
    """The command line of `placed` if the cluster has all archives by their markers, else None."""

    def marked(_, name, *__):
        with open(marker_of(name)) as file:
            return file.readline().rstrip("\n")

    try:
        return placed(words, spark, scratch, marked)
    except (IOError, OSError):
        return None


def marker_of(name):
    """The path of an archive's marker."""
    return os.path.join(os.path.expanduser(MARKERS), name + ".cluster")


def spark_home(submit):
    """The folder of the Spark that this spark-submit belongs to."""
    named = os.environ.get("SPARK_HOME", "")
    if os.path.isdir(os.path.join(named, "jars")):
        return named
    return os.path.dirname(os.path.dirname(os.path.realpath(submit)))


def used_with(name, environment):
    """Note that Spark's jars were used with an environment."""
    with open(os.path.join(os.path.expanduser(MARKERS), name + ".with"), "a+") as file:
        file.seek(0)
        if environment not in file.read().split("\n"):
            file.write(environment + "\n")


def has_jars(words, spark):
    """Whether a setting says where YARN finds Spark's jars."""
    names = [os.path.join(os.environ.get("SPARK_CONF_DIR") or spark + "/conf", "spark-defaults.conf")]
    names += [word for at, word in enumerate(words) if words[at - 1] == "--properties-file"]
    lines = list(words)
    for name in names:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                lines += file.read().splitlines()
        except (IOError, OSError):
            continue
    keys = ("spark.yarn.jars", "spark.yarn.archive")
    # Key and value are separated as in Java's properties. To import `re` would take longer than to match.
    found = any(line.strip().startswith(key + mark) for line in lines for key in keys for mark in "=: \t")
    return found or not os.path.isdir(os.path.join(spark, "jars"))


def digest_of(jars):
    """The digest of jars by their names and sizes, which are those of a version of Spark."""
    import hashlib  # only some runs need it

    digest = hashlib.sha256()
    for path in sorted(jars):
        digest.update(("%s %d\n" % (os.path.basename(path), os.path.getsize(path))).encode("utf-8"))
    return digest.hexdigest()


def zipped(paths, local):
    """Write an archive of jars, which are compressed already."""
    import zipfile

    with zipfile.ZipFile(local, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in sorted(paths):
            archive.write(path, os.path.basename(path))
