"""What amlexec prints: data to stdout, talk to stderr; and the one place where an error becomes text."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO

from amlexec import escaping, redaction
from amlexec.errors import INTERRUPTED, AmlexecError, TargetError

__all__ = ["Console", "data", "finish", "open_streams", "say", "show", "write"]

_LOST: list[OSError] = []
"""Why stdout can't be written, once it could not: what is printed from then on is lost."""


def open_streams() -> None:
    """Make the standard streams usable, whatever was handed over. To be called before a file is opened.

    A descriptor that is closed would be given to the next file that is opened, and what is printed would be
    written into it: it becomes the null device. What the encoding of a stream lacks is escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Those below are open: it gets the number of this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            how = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, how, encoding="utf-8", closefd=False))  # noqa: SIM115
        change = getattr(getattr(sys, name), "reconfigure", None)
        if name != "stdin" and change is not None:
            change(errors="backslashreplace")


def finish() -> int:
    """Write out what was printed; the exit code of a stdout that could not take it, 0 where it could."""
    with contextlib.suppress(OSError):  # there is nobody to tell
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return 128 + 13
    except OSError as error:
        _lose(error)
    return TargetError.exit_code if _LOST else 0


def data(text: str) -> None:
    """A line of what was asked for, to stdout.

    Raises:
        BrokenPipeError: nobody reads it any more. Of all else that keeps it from being written, `finish`
            tells the exit code: what is being done goes on to its end.
    """
    write(_printable(text) + "\n")


def write(what: str | bytes, *, now: bool = False) -> None:
    """Text or bytes as they are, to stdout, at once or when more has come. Raises as `data`."""
    if _LOST:
        return
    try:
        _to(sys.stdout, what)
        if now:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _lose(error)


def _to(stream: TextIO, what: str | bytes) -> None:
    bytewise = getattr(stream, "buffer", None)
    if isinstance(what, str):
        stream.write(what)
    elif bytewise is None:  # `doit -r json` collects text
        stream.write(what.decode("utf-8", "backslashreplace"))
    else:
        stream.flush()
        bytewise.write(what)


def _lose(error: OSError) -> None:
    """Say once that stdout can't be written, and why."""
    if not _LOST:
        _LOST.append(error)
        _forget_stdout()
        _talk(f"stdout: error: what is printed is lost: {error.strerror or error}")


def _forget_stdout() -> None:
    # What is still in its buffer would fail once more at exit.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _talk(text: str) -> None:
    with contextlib.suppress(OSError):  # talk that can't be written keeps nobody from going on
        sys.stderr.write(_printable(redaction.hide_known(text)) + "\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """A line about what is being done, to stderr, after the data before it where both go to one place."""
    with contextlib.suppress(BrokenPipeError):  # it is raised again where data is written
        write("", now=True)
    _talk(text)


def _printable(text: str) -> str:
    # A file's name need not be UTF-8, and a terminal need not know every character.
    return escaping.visible(text).encode("utf-8", "backslashreplace").decode("utf-8")


class Console:
    """The talk of a submission on the terminal: the script's output as it is, the rest around it."""

    def __init__(self) -> None:
        self._unread = False

    def say(self, line: str) -> None:
        """To stdout, where Workbench wrote it. That nobody reads it keeps no run from starting."""
        try:
            write(_printable(line) + "\n", now=True)
        except BrokenPipeError:
            self._unread = True

    def warn(self, line: str) -> None:
        """To stderr."""
        says_so = line.startswith("  hint: ") or any(f": {word}: " in line for word in ("warning", "note"))
        say(line if says_so else f"warning: {line}")

    def stdout(self, chunk: bytes) -> None:
        """Byte for byte."""
        if self._unread:
            raise BrokenPipeError
        write(chunk, now=True)

    def stderr(self, chunk: bytes) -> None:
        """Byte for byte. What can't be written is in the run's log, and keeps nobody from following it."""
        with contextlib.suppress(OSError):
            _to(sys.stderr, chunk)
            sys.stderr.flush()


def show(error: BaseException) -> int:
    """Print an error as a user should see it, and give the exit code that goes with it.

    Anything that is not foreseen is raised again: hiding a mistake of ours would help nobody.
    """
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone. Nothing more can be said there, not even at exit.
        _forget_stdout()
        return 128 + 13
    if isinstance(error, OSError):
        error = system_error(error)
    if not isinstance(error, AmlexecError):
        raise error
    for line in error.lines():
        say(line)
    return error.exit_code


def system_error(error: OSError) -> TargetError:
    """What the operating system refused, with what to do about it."""
    hints = {
        errno.ENOSPC: "the disk is full: make room, and do it again",
        errno.EDQUOT: "your quota is used up: make room, and do it again",
        errno.EROFS: "make it writable, or work on a copy of the project",
        errno.EACCES: "you have no permission for it",
        errno.EMFILE: "too many open files: see `ulimit -n`",
    }
    reason = error.strerror or str(error)
    return TargetError(
        reason[:1].lower() + reason[1:],
        where=str(error.filename or ""),
        hint=hints.get(error.errno or 0, ""),
    )
