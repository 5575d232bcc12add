"""The program that is sent to a Python on another machine."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from amlexec.packages import conda_remote

if TYPE_CHECKING:
    from pathlib import Path


def test_it_holds_all_of_ours_that_it_imports(tmp_path: Path) -> None:
    *options, program = conda_remote.arguments()
    # As on the other machine: amlexec can't be imported there.
    without = f"import sys\nsys.modules['amlexec'] = None\n{program}"
    done = subprocess.run(
        [sys.executable, *options, without],
        input=conda_remote.question([], str(tmp_path / "cache")),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"done": []}\n', b"")
