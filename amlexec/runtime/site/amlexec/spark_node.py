"""Run a script whose driver YARN starts on a node of the cluster, which does not have the project.

    spark_node.py pack PROJECT SITE ARCHIVE     on the head node: pack everything that the script needs
    spark_node.py run SCRIPT [ARGUMENT...]      on the node: run the script, and send its results

On the node, the archive is unpacked in `project/`, and AMLEXEC_SPARK_RETURN names the archive of the results,
in the folder `.amlexec` of the user's home folder in the cluster's file system.
"""

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading

KEPT = "amlexec-kept"
SITE = ".amlexec-site"


def pack(project, site, archive):
    """Pack the project and the runtime files."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for name in sorted(os.listdir(project)):
            packed.add(os.path.join(project, name), name)
        packed.add(site, SITE, filter=lambda one: None if "__pycache__" in one.name else one)


def run(arguments):
    """Run the script in its own copy, since YARN shares the unpacked files; returns its exit code."""
    here, kept = os.path.abspath("amlexec-run"), os.path.abspath(KEPT)
    shutil.copytree("project", here, symlinks=True)
    if not os.path.lexists(os.path.join(here, "outputs")):
        os.mkdir(os.path.join(here, "outputs"))
    os.mkdir(kept)
    environment = dict(os.environ, AMLEXEC_RUN_FOLDER=kept, AMLEXEC_RUN_ID=os.environ["AMLEXEC_SPARK_RETURN"])
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
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    copies = [
        threading.Thread(target=copy, args=(process.stdout, 1, os.path.join(kept, "stdout.log"))),
        threading.Thread(target=copy, args=(process.stderr, 2, os.path.join(kept, "stderr.log"))),
    ]
    for one in copies:
        one.start()
    for one in copies:
        one.join()
    code = process.wait()
    code = code if code >= 0 else 128 - code
    # YARN does not keep an application's exit code.
    with open(os.path.join(kept, "exit_code"), "w") as file:
        file.write("%d\n" % code)
    with open(os.path.join(kept, "copy"), "wb") as file:
        file.write(os.fsencode(os.path.realpath(here)))
    send(kept, here)
    return code


def copy(source, sink, path):
    """Copy the script's output to YARN's logs and to a file."""
    with open(path, "wb") as file:
        while True:
            chunk = os.read(source.fileno(), 1 << 16)
            if not chunk:
                return
            file.write(chunk)
            os.write(sink, chunk)


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


def send(kept, project):
    """Write the results to the cluster's file system, atomically."""
    from pyspark.java_gateway import launch_gateway

    packed = kept + ".tar"
    with tarfile.open(packed, "w") as archive:
        for name in sorted(os.listdir(kept)):
            add(archive, os.path.join(kept, name), name)
        for name in needed(project):
            add(archive, os.path.join(project, name), "project/" + name)
    hadoop = launch_gateway().jvm.org.apache.hadoop
    files = hadoop.fs.FileSystem.get(hadoop.conf.Configuration())
    folder = hadoop.fs.Path(files.getHomeDirectory(), ".amlexec")
    name = os.environ["AMLEXEC_SPARK_RETURN"] + ".tar"
    files.mkdirs(folder)
    half = hadoop.fs.Path(folder, "." + name + ".new")
    files.copyFromLocalFile(True, True, hadoop.fs.Path("file://" + packed), half)
    files.rename(half, hadoop.fs.Path(folder, name))


if __name__ == "__main__":
    if sys.argv[1] == "pack":
        pack(*sys.argv[2:])
    else:
        sys.exit(run(sys.argv[2:]))
