"""The history of a project that nobody may write to."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from amlexec.values import Project
from tests.conftest import ProjectFolder
from tests.support.sample_runs import add_run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_read_only_project_is_read(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ProjectFolder(small_disk / "demo")
    for number in range(3):
        line = {"name": "loss", "value": number, "time": 1.7e9}
        add_run(Project(str(folder.root)), number, [line, {**line, "value": number / 2}])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    query = ("history", "list", "--where", "min(loss) > 0", "--columns", "loss", "-o", "csv")
    # The cache may be there, too.
    for cache in (tmp_path / "cache", small_disk / "cache"):
        monkeypatch.setenv("AMLEXEC_CACHE", str(cache))
        done = folder.amlexec(*query)
        assert (done.code, done.out, done.err) == (0, "loss\n1.0\n0.5\n", "")
    for verb in (("last",), ("show",), ("report", "-o", str(tmp_path / "page.html"))):
        done = folder.amlexec("history", *verb)
        assert (done.code, done.err) == (0, ""), done.err
    state = folder.root / ".amlexec"
    for arguments, place, hint in (
        (("report",), state / "report.html", "-o FILE writes it elsewhere"),
        (("tag", "last", "best"), "tags.jsonl", "make it writable, or work on a copy of the project"),
        (("note", "last", "x"), "/note.txt", "make it writable, or work on a copy of the project"),
    ):
        done = folder.amlexec("history", *arguments)
        assert done.code == 2
        assert f"{place}: error: read-only file system\n  hint: {hint}\n" in done.err
