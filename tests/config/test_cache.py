"""Cache entries that were not used for a month are removed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from amlexec.config import cache

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder


def test_an_unused_entry_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for name in ("asked", "forgotten"):
        cache.store(str(tmp_path), name, {})
        os.utime(folder / f"{name}.json", (0, time.time() - 40 * 86_400))
    os.mkfifo(folder / "pipe")
    assert cache.load(str(tmp_path), "asked") == {"entry": "asked"}
    cache.store(str(tmp_path), "new", {})
    assert (folder / "forgotten.json").exists(), "once a day is enough"
    os.utime(folder / ".swept", (0, time.time() - 2 * 86_400))
    cache.store(str(tmp_path), "newer", {})
    assert sorted(path.name for path in folder.iterdir()) == [
        ".swept",
        "asked.json",
        "new.json",
        "newer.json",
        "pipe",
    ]


def test_clean_empties_the_cache(project: ProjectFolder) -> None:
    project.write("train.py", "")
    assert project.submit("train.py").code == 0
    memory = project.root / ".amlexec/cache"
    for path in memory.iterdir():
        os.utime(path, (0, time.time() - 7200))
    assert project.amlexec("experiment", "clean", "--all").code == 0
    assert list(memory.iterdir()) == []
    assert project.submit("train.py").code == 0
