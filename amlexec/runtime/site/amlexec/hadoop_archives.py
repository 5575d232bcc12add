"""What an application needs in the cluster's file system: the environment, and Spark's own jars.

Each is stored once, in `.amlexec/archives`: the names say what is in them.
"""

import hashlib
import os
import re
import zipfile

MARKERS = "~/.amlexec/archives"
"""The folder on the head node with a marker for each archive, `NAME.cluster`.

Its lines are the address, the two words of the program that can remove it, and its size in bytes; its time is
that of the last use. Beside the marker of Spark's jars lies `NAME.with`: a line for each environment that was
used with them, "-" for none.
"""
NO_ENVIRONMENT = "-"


class Archives:
    """The archives of a user."""

    def __init__(self, files, folder, say):
        """`files` is the file system, `folder` our folder in it; `say` prints a line. No I/O."""
        self.files, self.folder, self.say = files, folder, say

    def store(self, words, spark, scratch, anew=False):
        """Let the cluster have the archives of the arguments `words` of spark-submit, and name them there.

        `spark` is SPARK_HOME, `scratch` a folder for what is made. The names are written to `archives` in it.
        """
        environment, names = NO_ENVIRONMENT, []
        for at, word in enumerate(words):
            if words[at - 1] != "--archives":
                continue
            parts = []
            for part in word.split(","):
                path, mark, name = part.rpartition("#")
                if name == "environment" and os.path.isabs(path):
                    names.append(os.path.basename(path))
                    environment = names[-1].partition(".")[0]
                    path = self.stored(path, names[-1], "the environment", anew)
                parts.append(path + mark + name)
            words[at] = ",".join(parts)
        if not has_jars(words, spark):
            folder = os.path.join(spark, "jars")
            jars = [os.path.join(folder, one) for one in os.listdir(folder)]
            name = "spark-%s.zip" % digest_of(jars)[:32]
            local = os.path.join(scratch, name)
            address = self.stored(local, name, "Spark's jars", anew, lambda: zipped(jars, local))
            words[1:1] = ["--conf", "spark.yarn.archive=" + address]
            names.append(name)
            used_with(name, environment)
        with open(os.path.join(scratch, "archives"), "w") as file:
            file.write("".join(name + "\n" for name in names))

    def stored(self, local, name, what, anew, make=None):
        """The address of an archive in the cluster, which is stored if it is missing."""
        address = "%s/archives/%s" % (self.folder, name)
        marker = os.path.join(os.path.expanduser(MARKERS), name + ".cluster")
        # Without a fast way to ask, the marker is believed: spark-submit says if the archive is missing.
        if not self.files.namenodes and not anew and os.path.exists(marker):
            os.utime(marker, None)
            return address
        size = self.files.size(address)
        if size is None:
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
    pattern = re.compile(r"^\s*spark\.yarn\.(jars|archive)[\s=:]", re.MULTILINE)
    texts = [word + "=" for word in words]
    for name in names:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        except (IOError, OSError):
            continue
    return not os.path.isdir(os.path.join(spark, "jars")) or any(pattern.search(text) for text in texts)


def digest_of(jars):
    """The digest of jars by their names and sizes, which are those of a version of Spark."""
    digest = hashlib.sha256()
    for path in sorted(jars):
        digest.update(("%s %d\n" % (os.path.basename(path), os.path.getsize(path))).encode("utf-8"))
    return digest.hexdigest()


def zipped(paths, local):
    """Write an archive of jars, which are compressed already."""
    with zipfile.ZipFile(local, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in sorted(paths):
            archive.write(path, os.path.basename(path))
