"""OpenSSH's programs as plumbum commands. All SSH work starts here.

The first one is started without plumbum, which takes longer to import than some machines take to answer:
it is imported while the machine does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plumbum.commands.base import BaseCommand

__all__ = ["Done", "TimedOutError", "probe", "run", "start"]


class Done(NamedTuple):
    """The result of a program that has ended."""

    code: int
    stdout: str
    stderr: str


class TimedOutError(Exception):
    """A program did not end in time and was killed."""


def start(words: Sequence[str], stderr: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program: its name, and its arguments. Standard input and output are pipes without buffers.

    `environment` is added to this process's own.

    Raises:
        TargetError: the program is missing or can't be started.
    """
    if not _is_imported():
        return probe(words, stderr, environment)
    try:
        started = _command(words).popen(
            stderr=stderr,
            env={**os.environ, **environment},
            bufsize=0,
            # Ctrl-C in a terminal must not end a connection that other processes share.
            new_session=True,
        )
    except OSError as error:
        raise _not_started(words[0], error.strerror) from None
    # plumbum wraps it in a type that has all attributes of a Popen.
    return cast("subprocess.Popen[bytes]", started)


def probe(words: Sequence[str], stderr: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program like `start`, without plumbum, which is not imported. Raises like it."""
    try:
        return subprocess.Popen(
            [_path(words[0]), *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(words[0], error.strerror) from None


def run(words: Sequence[str], *, timeout: float | None = None) -> Done:
    """Run a program to its end, in the C locale, without standard input. `timeout` is in seconds.

    Raises:
        TimedOutError: the program did not end in time.
        TargetError: the program is missing or can't be started.
    """
    from plumbum import ProcessTimedOut

    # Files, not pipes: plumbum would wait for background processes that keep the pipes open.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
        try:
            code, _, _ = _command(words).run(
                retcode=None,
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C"},
                # Otherwise it could ask a question on the terminal.
                new_session=True,
                **options,
            )
        except ProcessTimedOut:
            raise TimedOutError(f"{words[0]} has not ended after {timeout:g} s") from None
        except OSError as error:
            raise _not_started(words[0], error.strerror) from None
        for file in (output, errors):
            file.seek(0)
        return Done(code, output.read().decode(errors="replace"), errors.read().decode(errors="replace"))


_importing: list[threading.Thread] = []


def _is_imported() -> bool:
    """Whether plumbum is imported; else it is being imported in a thread."""
    if not _importing:
        _importing.append(threading.Thread(target=_import, daemon=True))
        _importing[0].start()
        return "plumbum.machines.local" in sys.modules
    return not _importing[0].is_alive()


def _import() -> None:
    # If it fails, it fails again where it is needed, and that error is shown.
    with contextlib.suppress(Exception):
        importlib.import_module("plumbum.machines.local")


def _command(words: Sequence[str]) -> BaseCommand:
    from plumbum.machines.local import LocalMachine

    # A new machine: plumbum's shared one keeps the environment of the time of its import.
    return LocalMachine()[_path(words[0])][tuple(words[1:])]


def _path(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise _not_started(name, "No such file or directory")
    return path


def _not_started(name: str, why: str | None) -> TargetError:
    return TargetError(
        f"OpenSSH's `{name}` can't be started: {why}",
        hint="install it (Debian: apt install openssh-client), or put it on PATH",
    )
