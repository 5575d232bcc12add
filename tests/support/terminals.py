"""Run a command on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

__all__ = ["OnTerminal", "run_on_terminal"]


class OnTerminal(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    """What it wrote to a pipe; "" if its standard output was the terminal."""
    shown: bytes
    """What the terminal got."""


def run_on_terminal(folder: ProjectFolder, *command: str, stdout: bool) -> OnTerminal:
    """A command whose standard error is a terminal; with `stdout`, also its standard output."""
    ours, theirs = pty.openpty()
    options = {"stdout": theirs} if stdout else {}
    with folder.start(*command, stderr=theirs, **options) as process:
        os.close(theirs)
        out = b"" if process.stdout is None else process.stdout.read()
        shown = b""
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            while piece := os.read(ours, 1 << 16):
                shown += piece
        code = process.wait(PATIENCE)
    os.close(ours)
    return OnTerminal(code, out.decode(), shown)
