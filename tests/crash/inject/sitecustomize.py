"""Kill this process, or let a call fail, at its n-th durable step. Executed before the command begins.

A durable step is a call that changes what is on the disk, that starts a process, or that talks to a Docker
engine or to another machine. Audit hooks see most of them before they happen. Calls that no hook sees are
replaced: `os.write`, `os.fsync`. Some steps are counted once more when they are done or half done, since the
next step does not show that: a process that was started, half of what was to be written, a request of which
no answer was read yet, and the answer. The variables:

    AMLEXEC_CRASH_LOG   the file to which the name of each step is written, and `CRASH` before it happens
    AMLEXEC_CRASH_AT    the name of the step at which it happens
    AMLEXEC_CRASH_HOW   KILL, SHORT (a write writes half of its data), or the name of the error that is raised
    AMLEXEC_CRASH_IN    only paths in these folders count, which have a `:` between them

A step is called by what it does, by its path without what differs from run to run, and by how often this was
done before: it has the same name in the next run. Children don't inherit the variables: only the command
itself crashes.
"""

# ruff: noqa: PTH109, PTH115 - may be executed as Python starts: pathlib is not imported

import errno
import http.client
import os
import re
import signal
import subprocess
import sys

_AT = os.environ.pop("AMLEXEC_CRASH_AT", "")
_HOW = os.environ.pop("AMLEXEC_CRASH_HOW", "KILL")
_IN = tuple(filter(None, os.environ.pop("AMLEXEC_CRASH_IN", "").split(":")))
_LOG = os.environ.pop("AMLEXEC_CRASH_LOG", "")
_CHANGES = {
    *("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir"),
    *("os.truncate", "os.chmod", "os.utime"),
}
_STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork"}
_REQUESTS = {"socket.connect", "http.client.send"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SSH = "amlexec.ssh"
_STARTED = "process was started"
_DIFFERS = re.compile(
    r"((?<=-)|(?<=tmp))[a-z0-9_]{8}(?![a-z0-9_])|(?<=objects/)[0-9a-f]{2}\b|[0-9a-f]{6,}|[0-9]+"
)
"""Random names, folders of git, digests, ids of runs, processes and threads."""
_state = {"busy": False}
_counts = {}
_log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600) if _LOG else -1
_write, _fsync, _read = os.write, os.fsync, os.read


def _path_of(argument, folder=-1):
    if isinstance(argument, int):
        try:
            return os.readlink(f"/proc/self/fd/{argument}")
        except OSError:
            return ""
    path = os.fsdecode(argument) if isinstance(argument, (str, bytes)) else ""
    if path.startswith("/"):
        return path
    at = _path_of(folder) if isinstance(folder, int) and folder >= 0 else os.getcwd()
    return at + "/" + path


def _is_hit(what, path):
    """Count a step; whether it is the one at which something happens."""
    if _state["busy"] or (path is not None and not path.startswith(_IN)):
        return False
    _state["busy"] = True
    try:
        folder = next((each for each in _IN if path and path.startswith(each)), "")
        name = _DIFFERS.sub("#", f"{what} {path[len(folder) :]}" if path else what)
        _counts[name] = _counts.get(name, 0) + 1
        name += f" {_counts[name]}"
        is_it = name == _AT
        if _log >= 0:
            told = f"{name}\nCRASH\n" if is_it else f"{name}\n"
            _write(_log, told.encode("utf-8", "replace"))
        return is_it
    finally:
        _state["busy"] = False


def _fail(path):
    if _HOW == "KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    code = getattr(errno, _HOW)
    raise OSError(code, os.strerror(code), path)


def _step(what, path):
    # A process that was started can't fail to start any more.
    if _is_hit(what, path) and _HOW != "SHORT" and (_HOW == "KILL" or what != _STARTED):
        _fail(path)


def _hook(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int) and path is not None:
            _step("open", _path_of(path))
    elif event in _CHANGES:
        numbers = [each for each in arguments if isinstance(each, int) and not isinstance(each, bool)]
        folder = numbers[-1] if numbers and event in {"os.remove", "os.rmdir"} else -1
        if event in {"os.rename", "os.link", "os.mkdir"}:
            folder = arguments[2]
        _step(event, _path_of(arguments[0], folder))
    elif event in _STARTS or event in _REQUESTS:
        _step(event, None)


def _fsynced(descriptor):
    _step("os.fsync", _path_of(descriptor))
    return _fsync(descriptor)


def _written(descriptor, data):
    path = _path_of(descriptor)
    if path.startswith("pipe:"):
        # The standard input of a script on another machine.
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_SSH):
            return _write(descriptor, data)
        path = None
    _step("os.write", path)
    if len(data) > 1 and _is_hit("half of os.write", path):
        count = _write(descriptor, data[: len(data) // 2])
        if _HOW == "SHORT":
            return count
        _fail(path)
    return _write(descriptor, data)


def _was_read(descriptor, count):
    data = _read(descriptor, count)
    if data and sys._getframe(1).f_globals.get("__name__", "").startswith(_SSH):
        _step("answer of ssh", None)
    return data


def _with_steps(call, before, after):
    def counted(*arguments, **options):
        if before:
            _step(before, None)
        result = call(*arguments, **options)
        _step(after, None)
        return result

    return counted


if _IN:
    os.write, os.fsync, os.read = _written, _fsynced, _was_read
    http.client.HTTPConnection.getresponse = _with_steps(
        http.client.HTTPConnection.getresponse, "request was sent", "answer of an engine"
    )
    subprocess.Popen.__init__ = _with_steps(subprocess.Popen.__init__, "", _STARTED)
    sys.addaudithook(_hook)
