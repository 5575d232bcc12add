"""Kill this process, or let a call fail, at its n-th durable step. Python imports it as it starts.

A durable step is a call that changes what is on the disk, or that starts a process: audit hooks see them
before they happen. Calls that no hook sees are replaced: `os.write` and `os.fsync`. The variables:

    AMLEXEC_CRASH_LOG   the file to which each step is written, with its number
    AMLEXEC_CRASH_AT    the number of the step at which it happens
    AMLEXEC_CRASH_HOW   KILL, or the name of the error that the call raises
    AMLEXEC_CRASH_IN    only paths in this folder count

Children don't inherit them: only the command itself crashes.
"""

# ruff: noqa: PTH109, PTH115 - imported as Python starts: pathlib is not

import errno
import os
import signal
import sys

_AT = int(os.environ.pop("AMLEXEC_CRASH_AT", "0"))
_HOW = os.environ.pop("AMLEXEC_CRASH_HOW", "KILL")
_IN = os.environ.pop("AMLEXEC_CRASH_IN", "")
_LOG = os.environ.pop("AMLEXEC_CRASH_LOG", "")
_CHANGES = {
    *("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir"),
    *("os.truncate", "os.chmod", "os.utime"),
}
_STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_state = {"steps": 0, "busy": False}
_log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if _LOG else -1
_write, _fsync = os.write, os.fsync


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


def _step(what, path):
    if _state["busy"] or (path is not None and not path.startswith(_IN)):
        return
    _state["busy"] = True
    try:
        _state["steps"] += 1
        number = _state["steps"]
        if _log >= 0:
            _write(_log, f"{number} {what} {path or ''}\n".encode("utf-8", "replace"))
        if number != _AT:
            return
        if _HOW == "KILL":
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, _HOW)
        raise OSError(code, os.strerror(code), path)
    finally:
        _state["busy"] = False


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
    elif event in _STARTS:
        _step(event, None)


def _counted(name, call):
    def counted(descriptor, *rest):
        _step(name, _path_of(descriptor))
        return call(descriptor, *rest)

    return counted


if _IN:
    os.write, os.fsync = _counted("os.write", _write), _counted("os.fsync", _fsync)
    sys.addaudithook(_hook)
