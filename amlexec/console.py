"""What amlexec prints: data to stdout, talk to stderr; and the one place where an error becomes text."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, TextIO

from amlexec import escaping, redaction
from amlexec.errors import INTERRUPTED, AmlexecError, ScriptFailedError, TargetError

if TYPE_CHECKING:
    from amlexec.history import Run, RunPaths
    from amlexec.submission import Detached

__all__ = ["Console", "closing", "data", "say", "show", "telling"]


def data(text: str) -> None:
    """A line of what was asked for, to stdout."""
    sys.stdout.write(_printable(text) + "\n")


def say(text: str) -> None:
    """A line about what is being done, to stderr, after the data before it where both go to one place."""
    with contextlib.suppress(BrokenPipeError):  # it is raised again where data is written
        sys.stdout.flush()
    sys.stderr.write(_printable(redaction.hide_known(text)) + "\n")
    sys.stderr.flush()


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
            data(line)
            sys.stdout.flush()
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
        _write(sys.stdout, chunk)

    def stderr(self, chunk: bytes) -> None:
        """Byte for byte."""
        _write(sys.stderr, chunk)


def _write(stream: TextIO, chunk: bytes) -> None:
    bytewise = getattr(stream, "buffer", None)
    if bytewise is None:  # `doit -r json` collects text
        stream.write(chunk.decode("utf-8", "backslashreplace"))
        return
    bytewise.write(chunk)
    bytewise.flush()


def closing(run: Run, paths: RunPaths) -> list[str]:
    """The lines that end the output of a run."""
    lines = ["", "Execution Details", "=================", f"RunId: {run.run_id}"]
    reason = f" ({escaping.on_one_line(run.reason)})" if run.reason else ""
    lines.append(f"Status: {run.status}{reason}")
    if run.outputs is not None and run.outputs.files and run.tracked:
        files = "file" if run.outputs.files == 1 else "files"
        lines.append(f"Outputs: {run.outputs.files} {files} in {paths.outputs}")
    if run.unread:
        lines += [f"Unread: {line}" for line in run.unread]
        lines.append(f"  to try again: amlexec experiment status -r {run.run_id}")
    return lines


def detached(what: Detached) -> list[str]:
    """What to type when a run goes on without us."""
    first = {
        "async": f"RunId: {what.run_id} has been submitted",
        "interrupt": f"stopped following; the run {what.run_id} goes on",
        "pipe": f"nobody reads the output any more; the run {what.run_id} goes on",
    }[what.why]
    return [
        first,
        f"  follow it:  amlexec experiment follow -r {what.run_id}",
        f"  look at it: amlexec experiment status -r {what.run_id}",
        f"  cancel it:  amlexec experiment cancel -r {what.run_id}",
    ]


def telling(run: Run) -> AmlexecError | None:
    """The error that a finished run is to the command that ran it; None if it completed."""
    if run.status == "Completed":
        return None
    if run.status == "Failed" and run.exit_code is not None:
        return ScriptFailedError(
            f"the script failed: {run.reason}",
            where=run.script_name,
            hint=f"its log: amlexec history info -r {run.run_id} -a stderr.log",
        )
    if run.status == "Canceled":
        return ScriptFailedError(f"the run {run.run_id} was canceled")
    return TargetError(f"the run {run.run_id} is {run.status}: {run.reason}")


def show(error: BaseException) -> int:
    """Print an error as a user should see it, and give the exit code that goes with it.

    Anything that is not foreseen is raised again: hiding a mistake of ours would help nobody.
    """
    if isinstance(error, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone. Nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    if isinstance(error, OSError):
        error = system_error(error)
    if not isinstance(error, AmlexecError):
        raise error
    sys.stdout.flush()
    for line in error.lines():
        say(line)
    return error.exit_code


def system_error(error: OSError) -> TargetError:
    """What the operating system refused, with what to do about it."""
    hints = {
        errno.ENOSPC: "the disk is full: make room, and do it again",
        errno.EDQUOT: "your quota is used up: make room, and do it again",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "you have no permission for it",
        errno.EMFILE: "too many open files: see `ulimit -n`",
    }
    reason = error.strerror or str(error)
    return TargetError(
        reason[:1].lower() + reason[1:],
        where=str(error.filename or ""),
        hint=hints.get(error.errno or 0, ""),
    )
