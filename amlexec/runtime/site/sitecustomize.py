"""Records which Python runs a run's script, before the script's first line.

Every Python imports a module of this name at its start, if there is one; this folder is on a run's
PYTHONPATH. The `sitecustomize` that would have been imported without ours is imported afterwards.

In a run, MLflow's client logs into the run's outputs, which amlexec reads, unless MLFLOW_TRACKING_URI is
set.

Each Python writes one line of JSON into the run's folder: the script's Python to `python.json`, and each
Python of a Spark executor to `executors.jsonl`. A Python that is not the prepared one exits before the script
starts.

    AMLEXEC_PYTHON      VERSION:PREFIX:SCRIPT of the script's Python; both empty where none was prepared
    AMLEXEC_EXECUTORS   VERSION:PREFIX of the executors' Python; a relative PREFIX is where they work

A cluster's executors don't get these variables: they get this file with `amlexec_run.txt` beside it, whose
lines are the run's folder and AMLEXEC_EXECUTORS; see `executors_python.py`.
"""

import os
import sys

PYTHON = "AMLEXEC_PYTHON"
EXECUTORS = "AMLEXEC_EXECUTORS"
ANOTHER = 78
"""The exit code of a Python that is not the prepared one: EX_CONFIG."""
_DAEMON = "pyspark.daemon"


def say():
    """Record this Python, if it is the script's or an executor's."""
    told = os.environ.get(PYTHON, "").split(":", 2)
    words = _command()
    if len(told) == 3 and words[:1] == told[2:]:
        # Not for the script's child processes.
        del os.environ[PYTHON]
        os.environ.pop(EXECUTORS, None)
        folder = os.environ.get("AMLEXEC_RUN_FOLDER")
        _write(folder, "python.json", told[0], told[1])
        if folder and not told[1]:
            _list(folder)
        return
    folder, wanted = _of_executors()
    if wanted and _DAEMON in _whole_command():
        os.environ[EXECUTORS] = ""
        version, _, prefix = wanted.partition(":")
        _write(folder, "executors.jsonl", version, prefix)


def _of_executors():
    """The run's folder and its executors' expected Python; "" if this is none, or it is recorded."""
    wanted = os.environ.get(EXECUTORS)
    if wanted is not None:
        return os.environ.get("AMLEXEC_RUN_FOLDER"), wanted
    try:
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "amlexec_run.txt"), "rb") as file:
            folder, wanted = os.fsdecode(file.read()).split("\n")
    except (OSError, ValueError):
        return None, ""
    return folder, wanted


def _command():
    """The script and its arguments, as in the later `sys.argv`."""
    found = getattr(sys, "argv", None)
    if found is None:  # not yet set in Python 3.6
        found = _whole_command()[1:]
        while found[:1] and found[0].startswith("-"):
            del found[: 2 if found[0] in ("-W", "-X") else 1]
    return found


def _whole_command():
    found = getattr(sys, "orig_argv", None)
    if found is None:
        with open("/proc/self/cmdline", "rb") as file:
            found = [os.fsdecode(one) for one in file.read().split(b"\0")]
    return found


def _write(folder, name, version, prefix):
    """Write this Python to a file in the run's folder; exit if it is not the expected one."""
    own = "%d.%d.%d" % sys.version_info[:3]
    is_wanted = not version or version == own or version.startswith(own) and not version[len(own)].isdigit()
    is_wanted = is_wanted and (not prefix or os.path.realpath(prefix) == os.path.realpath(sys.prefix))
    line = '{"path": %s, "version": "%s", "prefix": %s, "wanted": %s}\n' % (
        _quoted(sys.executable or ""),
        own,
        _quoted(sys.prefix),
        "true" if is_wanted else "false",
    )
    try:
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(os.path.join(folder or "", name), how, 0o600) if folder else -1
        if descriptor >= 0:
            os.write(descriptor, line.encode("ascii"))
            os.close(descriptor)
    except OSError:
        pass  # an executor on a machine without that folder, or a full disk: the record has less information
    if not is_wanted:
        text = "amlexec: error: this Python is not the prepared one: %s is Python %s in %s; prepared was "
        sys.stderr.write((text + "%s in %s\n") % (sys.executable, own, sys.prefix, version, prefix))
        sys.stderr.flush()
        os._exit(ANOTHER)


def _list(folder):
    """Write the packages of a Python that was not prepared into the run's folder: a line for each.

    Their names and versions are those of their folders, so no package is imported or read.
    """
    lines = []
    for place in sys.path:
        if place.startswith(folder):
            continue  # the project's own
        try:
            names = os.listdir(place)
        except OSError:
            continue  # no folder, such as the zip file of the standard library
        found = []
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                package, _, rest = name.rpartition(".")[0].partition("-")
                found.append(package + " " + rest.partition("-")[0])
        if found:
            lines += ["# in " + place] + sorted(found)
    try:
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(os.path.join(folder, "packages.txt"), how, 0o600)
        os.write(descriptor, os.fsencode("".join(line + "\n" for line in lines)))
        os.close(descriptor)
    except OSError:
        pass  # a script that starts itself again, or a full disk: the record has less information


def _quoted(text):
    """Text as a JSON string. Importing `json` would cost every run milliseconds."""
    if not text or max(text) <= "~":
        signs = [ord(one) for one in text]
    else:
        units = text.encode("utf-16-be", "surrogatepass")
        signs = [units[at] << 8 | units[at + 1] for at in range(0, len(units), 2)]
    plain = "".join(chr(one) if 31 < one < 127 and one not in (34, 92) else "\\u%04x" % one for one in signs)
    return '"%s"' % plain


class BeforeMlflow:
    """Finds no module, but tells MLflow where to log before it is imported: into the run's outputs."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - as Python calls it
        """None: others find it."""
        if name == "mlflow":
            sys.meta_path.remove(BeforeMlflow)
            from urllib.parse import quote  # MLflow imports it, too

            place = os.path.join(os.environ.get("AMLEXEC_RUN_FOLDER", ""), "outputs", "mlruns")
            if os.path.isabs(place) and not os.environ.get("MLFLOW_TRACKING_URI"):
                os.environ["MLFLOW_TRACKING_URI"] = "file://" + quote(place)
                # Files are read without MLflow, and written in milliseconds; a new database takes seconds.
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")


def go_on():
    """Import the next module of this name on the path, in place of this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    for at, entry in enumerate(sys.path):
        if os.path.abspath(entry) == here:
            finder = sys.modules["_frozen_importlib_external"].PathFinder  # importlib, without importing it
            found = finder.find_spec(__name__, sys.path[at + 1 :])
            if found is not None and found.loader is not None:
                module = sys.modules["_frozen_importlib"].module_from_spec(found)
                sys.modules[__name__] = module
                found.loader.exec_module(module)
            return


try:
    say()
except Exception as error:  # an error here must not fail the run
    sys.stderr.write("amlexec: warning: this Python could not be recorded: %r\n" % (error,))
if "AMLEXEC_RUN_FOLDER" in os.environ:
    sys.meta_path.insert(0, BeforeMlflow)
go_on()
