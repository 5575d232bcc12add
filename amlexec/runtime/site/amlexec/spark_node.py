"""Run a script whose driver YARN starts on a node of the cluster, which does not have the project.

    spark_node.py run SCRIPT [ARGUMENT...]      on the node: run the script, and send its results

On the head node, `spark_pack.py` packs everything that the script needs. On the node, the archive is unpacked
in `project/`, and AMLEXEC_SPARK_RETURN names the folder of the results, in `.amlexec/runs` in the user's home
folder in the cluster's file system.
"""

import os
import shutil
import stat
import subprocess
import sys
import tarfile

KEPT = "amlexec-kept"
SITE = ".amlexec-site"
MODELS = ".amlexec-models"


def pack(project, site, archive):
    """Pack the project and the runtime files."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for name in sorted(os.listdir(project)):
            packed.add(os.path.join(project, name), name)
        packed.add(site, SITE, filter=lambda one: None if "__pycache__" in one.name else one)
        models = os.path.join(os.path.dirname(os.path.abspath(project)), "models")
        if os.path.isdir(models):
            packed.add(models, MODELS)


def run(arguments):
    """Run the script in its own copy, since YARN shares the unpacked files; returns its exit code."""
    logs, streams = opened()
    ended = earlier()
    if ended is not None:
        os.write(
            streams[1] or 2, b"amlexec: the script has ended in an earlier attempt: it is not run again\n"
        )
        return ended
    here, kept = os.path.abspath("amlexec-run"), os.path.abspath(KEPT)
    shutil.copytree("project", here, symlinks=True)
    if not os.path.lexists(os.path.join(here, "outputs")):
        os.mkdir(os.path.join(here, "outputs"))
    os.mkdir(kept)
    if os.path.isdir(os.path.join(here, MODELS)):
        os.rename(os.path.join(here, MODELS), os.path.join(kept, "models"))
    environment = dict(os.environ, AMLEXEC_RUN_FOLDER=kept, AMLEXEC_RUN_ID=os.environ["AMLEXEC_SPARK_RETURN"])
    environment.setdefault("PYTHONUNBUFFERED", "1")
    wanted = environment.get("AMLEXEC_PYTHON", "").split(":", 2)
    if len(wanted) == 3 and wanted[1]:
        # Relative to this folder, and not to the script's.
        wanted[1] = os.path.abspath(wanted[1])
        environment["AMLEXEC_PYTHON"] = ":".join(wanted)
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([os.path.join(here, SITE)] + ([before] if before else []))
    with open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            [sys.executable] + arguments,
            cwd=here,
            env=environment,
            stdin=nothing,
            stdout=streams[0],
            stderr=streams[1],
        )
    code = process.wait()
    code = code if code >= 0 else 128 - code
    for path in logs:
        shutil.copyfile(path, os.path.join(kept, os.path.basename(path).replace("amlexec.", "") + ".log"))
    # YARN does not keep an application's exit code.
    with open(os.path.join(kept, "exit_code"), "w") as file:
        file.write("%d\n" % code)
    with open(os.path.join(kept, "container"), "w") as file:
        file.write(os.environ.get("CONTAINER_ID", ""))
    with open(os.path.join(kept, "copy"), "wb") as file:
        file.write(os.fsencode(os.path.realpath(here)))
    send(kept, here, code)
    return code


def by_rest(operation):
    """Whether an operation on the results by REST was possible, and what it returns.

    To start Hadoop's own client takes seconds; but it knows every file system and every login.
    """
    sys.path.insert(0, os.path.abspath(os.path.join("project", SITE, "amlexec")))
    import hadoop_results
    from hadoop_site import HadoopError

    found = hadoop_results.results()
    try:
        return (False, None) if found is None else (True, operation(found))
    except (HadoopError, OSError, ValueError) as error:
        sys.stderr.write("amlexec: Java is started, since the cluster's REST interface fails: %s\n" % error)
        return False, None
    finally:
        del sys.path[0]


def results():
    """The JVM's Hadoop, the cluster's file system, and the folder of the results in it."""
    from pyspark.java_gateway import launch_gateway

    hadoop = launch_gateway().jvm.org.apache.hadoop
    files = hadoop.fs.FileSystem.get(hadoop.conf.Configuration())
    folder = hadoop.fs.Path(files.getHomeDirectory(), ".amlexec/runs/" + os.environ["AMLEXEC_SPARK_RETURN"])
    return hadoop, files, folder


def earlier():
    """The exit code of a script that has ended in an earlier attempt; None if there is none.

    YARN starts a failed driver again. A script that was interrupted shall run again, one that has failed
    shall not.
    """
    attempt = os.environ.get("CONTAINER_ID", "").split("_")[-2:-1]
    if attempt in ([], ["01"]):
        return None
    is_done, code = by_rest(lambda found: found.exit_code())
    if is_done:
        return code
    hadoop, files, folder = results()
    path = hadoop.fs.Path(folder, "exit_code")
    if not files.exists(path):
        return None
    stream = files.open(path)
    try:
        return int("".join(chr(stream.read()) for _ in range(files.getFileStatus(path).getLen())))
    finally:
        stream.close()


def opened():
    """The script's own logs, beside those of the driver's JVM: YARN shows them, too. Paths and descriptors.

    The JVM would merge both streams, line by line, and it overwrites what others add to its logs.
    """
    try:
        path = os.readlink("/proc/%d/fd/2" % os.getppid())
        if not stat.S_ISREG(os.stat(path).st_mode):
            return [], [None, None]
        logs = [os.path.join(os.path.dirname(path), name) for name in ("amlexec.stdout", "amlexec.stderr")]
        return logs, [os.open(one, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640) for one in logs]
    except OSError:
        return [], [None, None]


def needed(project):
    """Paths of the outputs and of their links' targets in the project; none is below another."""
    root = os.path.realpath(project)
    found, waiting = [], ["outputs"]
    while waiting:
        path = waiting.pop()
        if any(path == one or path.startswith(one + "/") for one in found):
            continue
        if not os.path.lexists(os.path.join(root, path)):
            continue
        found = [one for one in found if not one.startswith(path + "/")] + [path]
        for link in links(os.path.join(root, path)):
            # Each link on the path is needed, too, because the links are followed again after the download.
            at = os.path.dirname(link)
            for _ in range(40):
                to = os.path.normpath(os.path.join(os.path.realpath(at), os.readlink(link)))
                if not to.startswith(root + "/"):
                    break
                waiting.append(os.path.relpath(to, root))
                if not os.path.islink(to):
                    waiting.append(os.path.relpath(os.path.realpath(to), root))
                    break
                link, at = to, os.path.dirname(to)
    return [one for one in found if not one.startswith("..")]


def links(path):
    """All symbolic links at and below a path."""
    if os.path.islink(path):
        return [path]
    return [
        os.path.join(at, name)
        for at, folders, files in os.walk(path)
        for name in folders + files
        if os.path.islink(os.path.join(at, name))
    ]


def add(archive, path, name):
    """Add a file or folder, as far as it can be read; adds missing read permissions of the owner."""
    waiting = [(path, name)]
    while waiting:
        path, name = waiting.pop()
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        try:
            if not os.path.islink(path):
                mode = os.stat(path).st_mode
                if os.getuid() == os.stat(path).st_uid and mode & 0o600 != 0o600:
                    os.chmod(path, stat.S_IMODE(mode) | (0o700 if is_folder else 0o600))
            archive.add(path, name, recursive=False)
            inside = sorted(os.listdir(path), reverse=True) if is_folder else []
        except OSError as error:
            sys.stderr.write("%s is not sent home: %s\n" % (name, error.strerror or error))
            continue
        waiting += [(os.path.join(path, one), name + "/" + one) for one in inside]


def send(kept, project, code):
    """Write the results to the cluster's file system, atomically, and finally the exit code as a marker."""
    packed = kept + ".tar"
    with tarfile.open(packed, "w") as archive:
        for name in sorted(os.listdir(kept)):
            if name == "models":
                continue  # they came from the user's registry
            add(archive, os.path.join(kept, name), name)
        for name in needed(project):
            add(archive, os.path.join(project, name), "project/" + name)
    if by_rest(lambda found: found.send(packed, os.path.join(kept, "exit_code")))[0]:
        return
    hadoop, files, folder = results()
    files.mkdirs(folder)
    half = hadoop.fs.Path(folder, ".results.tar.new")
    files.copyFromLocalFile(True, True, hadoop.fs.Path("file://" + packed), half)
    target = hadoop.fs.Path(folder, "results.tar")
    files.delete(target, False)  # of an earlier attempt
    files.rename(half, target)
    marker = files.create(hadoop.fs.Path(folder, "exit_code"), True)
    marker.writeBytes(str(code))
    marker.close()


if __name__ == "__main__":
    sys.exit(run(sys.argv[2:]))
