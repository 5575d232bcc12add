"""What killed commands leave outside the project is found and removed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from amlexec import temporaries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

DIED = "from amlexec import temporaries; print(temporaries.owner())"


def test_gc_removes_what_killed_commands_left_outside(project: ProjectFolder, tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", DIED], check=True, capture_output=True, text=True)
    left = f"{dead.stdout.strip()}-0badcafe"
    lives = f"{temporaries.owner()}-0badcafe"
    other = tmp_path / "mine"
    for name, path in (
        (left, tmp_path / f".out.{left}.new"),
        (lives, tmp_path / f".out.{lives}.new"),
        (f"{left[:-1]}f", other),
    ):
        project.write(f".amlexec/outside/{name}", str(path))
        path.mkdir()
        (path / "file").write_text("x")
    project.write(f".amlexec/outside/.{left}.{dead.stdout.strip()}-1.new", "half a note")
    done = project.amlexec("gc", "--plan")
    assert (done.code, f"leftover {tmp_path}/.out.{left}.new" in done.out) == (0, True), done
    assert "mine" not in done.out
    done = project.amlexec("gc")
    assert done.code == 0, done.err
    assert not (tmp_path / f".out.{left}.new").exists()
    assert (tmp_path / f".out.{lives}.new/file").exists()
    assert (other / "file").exists(), "a note of a stranger can't name any path"
    notes = sorted(path.name for path in (project.root / ".amlexec/outside").iterdir())
    assert notes == [lives]
