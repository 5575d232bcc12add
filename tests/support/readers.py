"""A reader of a page about machines: types what its `shellsession` blocks show, in a folder of their own."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE
from tests.test_docs import blocks_of, commands, matches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["read"]


def read(page: Path, folder: Path, enter: Callable[[str, Path], Path] = lambda _, folder: folder) -> None:
    """Execute what a page shows, and hold its output against it.

    At each heading `enter` is called with it, and with the folder; it returns the folder to go on in.
    """
    seen = 0
    for heading, text in re.findall(r"^#+ (.*)\n((?:(?!^#+ ).*\n)*)", page.read_text("utf-8"), re.MULTILINE):
        folder = enter(heading, folder)
        for kind, file, body in blocks_of(text):
            if file:
                (folder / file).write_text(body)
            if kind != "shellsession":
                continue
            for command, wanted in commands(body):
                if command.startswith("cd "):
                    folder /= command[3:]
                    continue
                printed = _typed(command, folder)
                # Said where a machine takes longer than a moment, as one does that is busy with tests.
                lines = [line for line in printed.splitlines() if not line.startswith("connecting to ")]
                assert matches(wanted, lines), f"$ {command}\n{printed}"
                seen += 1
    assert seen


def _typed(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.decode()
