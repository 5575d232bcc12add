"""Finds the Python of a `pythonLocation`, and its version."""

from __future__ import annotations

import json
import os
import re
import sys

from amlexec import private_folders
from amlexec.errors import ConfigurationError, TargetError
from amlexec.files import SMALL, read_regular, write_atomically
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Interpreter

if TYPE_CHECKING:
    from amlexec.local_machine import Connection
    from amlexec.values import ComputeTarget, Project

__all__ = ["find", "version"]

_ASK = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"
_ASK_TIMEOUT_S = 60
_VERSION = r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,6}"  # compiled if another Python than our own is used


def find(project: Project, target: ComputeTarget) -> str:
    """The absolute path of the interpreter for `pythonLocation` of a local target.

    `python` is the Python of the active environment (a virtual environment, else a conda environment), or
    else the one that runs amlexec. A path is relative to the project's root; a bare name is searched on
    PATH. Links are not resolved: a virtual environment's Python is a link, and resolving it would leave the
    environment.

    Raises:
        ConfigurationError: there is no such program.
    """
    wanted = target.python_location
    if wanted == "python":
        for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            active = os.environ.get(variable)
            for name in ("bin/python", "python.exe"):
                if active and os.access(f"{active}/{name}", os.X_OK):
                    return f"{active}/{name}"
        return sys.executable
    expanded = os.path.expanduser(wanted)  # noqa: PTH111 - pathlib refuses an unknown user
    if "/" in expanded or "\\" in expanded:
        from pathlib import Path

        path = Path(project.place, expanded.replace("\\", "/"))
        found = str(path) if path.is_file() and os.access(path, os.X_OK) else None
    else:
        import shutil

        found = shutil.which(expanded)
    if found is None:
        raise ConfigurationError(
            f"{target.key('pythonLocation')} is {wanted!r}, but there is no such program",
            where=str(target.where("pythonLocation")),
            hint="give the path of a Python interpreter, or `python` for the active environment",
        )
    return found


def version(project: Project, connection: Connection, path: str) -> Interpreter:
    """The interpreter with its version, which is cached until the file changes.

    Raises:
        TargetError: the program does not work as a Python.
    """
    if path == sys.executable:
        return Interpreter(path, ".".join(str(number) for number in sys.version_info[:3]))
    memory = f"{project.state}/cache/interpreters.json"
    stamp = _stamp(path)
    try:
        cached = json.loads(read_regular(memory, SMALL << 3, follow=False))
        if cached[path]["stamp"] == stamp and re.fullmatch(_VERSION, cached[path]["version"]):
            return Interpreter(path, cached[path]["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        cached = {}  # a missing, damaged or old cache is replaced
    answer = connection.run([path, "-I", "-S", "-c", _ASK], timeout=_ASK_TIMEOUT_S)
    if answer.exit_code != 0 or not re.fullmatch(_VERSION, answer.stdout):
        last = (answer.stderr.strip() or answer.stdout.strip()).rpartition("\n")[2]
        raise TargetError(
            f"{path} does not work as a Python: {last or f'exit code {answer.exit_code}'}",
            where=connection.name,
            hint="give the path of a Python interpreter",
        )
    if not isinstance(cached, dict):
        cached = {}
    cached[path] = {"stamp": stamp, "version": answer.stdout}
    private_folders.make(f"{project.state}/cache")
    write_atomically(memory, json.dumps(cached))
    return Interpreter(path, answer.stdout)


def _stamp(path: str) -> list[int]:
    # Of the links' target: a virtual environment's Python changes when its base is upgraded.
    status = os.stat(path)  # noqa: PTH116 - text in, numbers out
    return [status.st_mtime_ns, status.st_size, status.st_ino]
