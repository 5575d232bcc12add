"""Print: data to stdout, messages to stderr. Only this module turns errors into text."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

from amlexec import escaping, redaction
from amlexec.errors import INTERRUPTED, AmlexecError, TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = [
    "Console",
    "data",
    "finish",
    "open_streams",
    "say",
    "show",
    "show_one",
    "system_error",
    "write",
    "write_for_files",
]

_CI = ("CI", "TF_BUILD", "JENKINS_URL", "TEAMCITY_VERSION")
"""Variables of build servers. Most set the first; the others are Azure Pipelines, Jenkins and TeamCity."""
_LOST: list[OSError] = []
"""The first error of stdout; later output is lost."""


def open_streams() -> None:
    """Make the standard streams usable. To be called before any file is opened.

    Opens the null device for closed descriptors: otherwise the next file would get the number, and output
    would be written into it. Characters that the encoding of a stream lacks are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Lower descriptors are open, so the new one gets this number.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            how = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, how, encoding="utf-8", closefd=False))  # noqa: SIM115
        change = getattr(getattr(sys, name), "reconfigure", None)
        if name != "stdin" and change is not None:
            change(errors="backslashreplace")


def finish() -> int:
    """Flush the output; returns the exit code for a failed stdout, or 0."""
    with contextlib.suppress(OSError):  # no other place to report it
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return 128 + 13
    except OSError as error:
        _lose(error)
    return TargetError.exit_code if _LOST else 0


def data(text: str) -> None:
    """Print a line of data to stdout.

    Raises:
        BrokenPipeError: the reader has closed the pipe. Other errors don't stop the command: `finish` returns
            their exit code.
    """
    write(_printable(text) + "\n")


def write(content: str | bytes, *, now: bool = False) -> None:
    """Write text or bytes unchanged to stdout; with `now`, flush. Raises as `data` does."""
    if _LOST:
        return
    try:
        _to(sys.stdout, content)
        if now:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _lose(error)


def write_for_files(content: str | bytes) -> None:
    """Write what is meant for a file: unchanged, except on a terminal, which it must not control.

    Raises as `data` does.
    """
    if _is_terminal("stdout"):
        text = content if isinstance(content, str) else content.decode("utf-8", "backslashreplace")
        content = _printable(text)
    write(content)


def _is_terminal(name: str) -> bool:
    try:
        return os.isatty(getattr(sys, name).fileno())
    except (OSError, ValueError, AttributeError):
        return False


def _is_in_log_of_ci(name: str) -> bool:
    """Whether a stream goes to the log of a build server, which is read in a terminal or a browser."""
    if not any(_is_set(variable) for variable in _CI):
        return False
    try:
        return not stat.S_ISREG(os.fstat(getattr(sys, name).fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in {"", "0", "false"}


def _to(stream: TextIO, content: str | bytes) -> None:
    bytewise = getattr(stream, "buffer", None)
    if isinstance(content, str):
        stream.write(content)
    elif bytewise is None:  # `doit -r json` collects text
        stream.write(content.decode("utf-8", "backslashreplace"))
    else:
        stream.flush()
        bytewise.write(content)


def _lose(error: OSError) -> None:
    """Report once why stdout can't be written."""
    if not _LOST:
        _LOST.append(error)
        _forget_stdout()
        _write_message(f"stdout: error: output is lost: {error.strerror or error}")


def _forget_stdout() -> None:
    # The rest of its buffer would fail again at exit.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_message(text: str) -> None:
    with contextlib.suppress(OSError):  # a message that can't be written does not stop the command
        sys.stderr.write(_printable(redaction.hide_known(text)) + "\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """Print a message to stderr, after flushing earlier data, so that both keep their order."""
    with contextlib.suppress(BrokenPipeError):  # raised again when data is written
        write("", now=True)
    _write_message(text)


def _printable(text: str) -> str:
    # A file name need not be UTF-8, and a terminal may not support every character.
    return escaping.visible(text).encode("utf-8", "backslashreplace").decode("utf-8")


class Console:
    """The terminal output of a submit: the script's output, and amlexec's messages."""

    def __init__(self, *, prints_a_file: bool = False) -> None:
        """Look where the streams go. What is printed of a file is for other programs, in CI too."""
        self._unread = False
        self._filters = [
            escaping.OutputFilter()
            if _is_terminal(name) or (not prints_a_file and _is_in_log_of_ci(name))
            else None
            for name in ("stdout", "stderr")
        ]

    def say(self, line: str) -> None:
        """Print a line to stdout, as Workbench did. A closed pipe does not stop the run from starting."""
        try:
            write(self._filtered(0, b"", is_last=True))
            write(_printable(line) + "\n", now=True)
        except BrokenPipeError:
            self._unread = True

    def warn(self, line: str) -> None:
        """Print a line to stderr."""
        has_level = line.startswith("  hint: ") or any(f": {word}: " in line for word in ("warning", "note"))
        say(line if has_level else f"warning: {line}")

    def stdout(self, chunk: bytes) -> None:
        """Write output of the script to stdout, unchanged; it must not control a terminal or a CI log."""
        if self._unread:
            raise BrokenPipeError
        write(self._filtered(0, chunk), now=True)

    def stderr(self, chunk: bytes) -> None:
        """Write error output of the script to stderr. Failures are ignored: the run's log has it all."""
        with contextlib.suppress(OSError):
            _to(sys.stderr, self._filtered(1, chunk))
            sys.stderr.flush()

    def _filtered(self, stream: int, chunk: bytes, *, is_last: bool = False) -> bytes:
        found = self._filters[stream]
        return chunk if found is None else found.feed(chunk, is_last=is_last)


def show(error: BaseException) -> int:
    """Print an error for the user; returns its exit code.

    Unexpected errors are raised again: a bug must not be hidden.
    """
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader of the output is gone. Nothing more can be written, not even at exit.
        _forget_stdout()
        return 128 + 13
    if isinstance(error, OSError):
        error = system_error(error)
    if not isinstance(error, AmlexecError):
        raise error
    for line in error.lines():
        say(line)
    return error.exit_code


def show_one(name: str, error: AmlexecError | OSError) -> None:
    """Print the error of one of several things, whose name is `name`; the others go on."""
    shown = error if isinstance(error, AmlexecError) else system_error(error)
    say(f"{name}: error: {shown.message}")
    if shown.hint:
        say(f"  hint: {shown.hint}")


def system_error(error: OSError) -> TargetError:
    """An error of the operating system as a TargetError with a hint."""
    hints = {
        errno.ENOSPC: "the disk is full: free some space and try again",
        errno.EDQUOT: "your disk quota is exceeded: free some space and try again",
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
