"""A stamp is valid only if no file can have changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from amlexec.environments import stat_cache
from amlexec.environments.stat_cache import Stamp
from amlexec.values import Project

if TYPE_CHECKING:
    from pathlib import Path

OLD = 1 << 62
"""A time by which every file was last touched long ago."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / ".amlexec/environments").mkdir(parents=True)
    found = [tmp_path / "a.yml", tmp_path / "b.txt"]
    for path in found:
        path.write_text("one")
    return found


def keep(files: list[Path], began: int = OLD) -> Stamp | None:
    project = Project(str(files[0].parent))
    missing = files[0].parent / "a.lock"
    stat_cache.keep(project, "x", Stamp("docker", "docker", "d" * 64), map(str, [*files, missing]), began)
    return recall(files)


def recall(files: list[Path]) -> Stamp | None:
    return stat_cache.recall(Project(str(files[0].parent)), "x")


def test_valid_while_nothing_is_touched(files: list[Path]) -> None:
    assert keep(files) == Stamp("docker", "docker", "d" * 64)


def test_new_content_of_the_same_size_and_time(files: list[Path]) -> None:
    assert keep(files)
    told = files[1].stat()
    files[1].write_text("two")
    # The file system's clock ticks every few milliseconds; `keep` refuses files younger than two seconds.
    while files[1].stat().st_ctime_ns == told.st_ctime_ns:
        os.utime(files[1], ns=(told.st_atime_ns, told.st_mtime_ns))
    os.utime(files[1], ns=(told.st_atime_ns, told.st_mtime_ns))
    assert recall(files) is None


def test_another_file_in_its_place(files: list[Path]) -> None:
    assert keep(files)
    other = files[1].with_name("new")
    other.write_text("one")
    other.replace(files[1])
    assert recall(files) is None


def test_a_new_file(files: list[Path]) -> None:
    assert keep(files)
    (files[0].parent / "a.lock").touch()
    assert recall(files) is None


def test_a_removed_file(files: list[Path]) -> None:
    assert keep(files)
    files[0].unlink()
    assert recall(files) is None


def test_another_home(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep(files)
    monkeypatch.setenv("HOME", "/elsewhere")
    assert recall(files) is None


def test_a_truncated_stamp(files: list[Path]) -> None:
    assert keep(files)
    path = files[0].parent / ".amlexec/environments/x.stamp"
    for size in range(len(path.read_text()) - 1):
        path.write_text(path.read_text()[:size] if size else "")
        assert recall(files) is None
        keep(files)


def test_what_is_not_kept(files: list[Path]) -> None:
    project = Project(str(files[0].parent))
    assert keep(files, stat_cache.clock(project)) is None, "touched a moment ago"
    files[0].write_text("-r ${WHERE}/x.txt")
    assert keep(files) is None, "its variables may change"
    assert keep([files[1], files[1].parent / ".amlexec"]) is None, "a folder"
