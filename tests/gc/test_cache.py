"""`amlexec gc` and the user's cache of packages, which all projects share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from amlexec.packages import scratch
from tests.gc.test_gc import collected, gone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an old and a young package, an installer and the channels' indexes."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AMLEXEC_CACHE", str(folder))
    for name in ("packages/old-1.0-0", "packages/young-1.0-0", "installers/python.tar.gz", "channels/a"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10_000)
        if "young" not in name:
            os.utime(path, (1, 1))
    os.utime(folder / "channels", (1, 1))
    return folder


def test_without_a_rule_the_cache_stays(project: ProjectFolder, cache: Path) -> None:
    assert collected(project)["removed"] == []
    assert (cache / "packages/old-1.0-0").exists()


def test_what_was_not_used_for_that_long_goes(project: ProjectFolder, cache: Path) -> None:
    found = collected(project, "--older-than", "1d")
    assert [name.removeprefix(f"{cache}/") for name in gone(found, "cache")] == [
        "packages/old-1.0-0",
        "installers/python.tar.gz",
        "channels",
    ]
    assert sorted(path.name for path in cache.rglob("*-1.0-0")) == ["young-1.0-0"]
    assert [path.name for path in (cache / "staging").iterdir()] == ["lock"]


def test_a_limit_takes_the_cache_first(project: ProjectFolder, cache: Path) -> None:
    project.write("train.py", "raise SystemExit(1)\n")
    run_id = project.submit("train.py").run_id
    whole = collected(project, "--plan", "--max", "1GB")["left_bytes"]
    found = collected(project, "--max", str(whole - 5000))
    assert len(gone(found, "cache")) == 1
    assert gone(found) == gone(found, "copy") == []
    bare = collected(project, "--plan")["left_bytes"]
    found = collected(project, "--max", str(bare))
    assert (len(gone(found, "cache")), gone(found, "copy")) == (3, [])
    found = collected(project, "--max", str(bare - 1))
    assert (gone(found, "copy"), gone(found)) == ([run_id], [])


def test_a_cache_in_use_stays(project: ProjectFolder, cache: Path) -> None:
    with scratch.room(cache):
        found = collected(project, "--older-than", "1d")
        assert gone(found, "cache") == []
        assert {entry["reason"] for entry in found["kept"] if entry["kind"] == "cache"} == {
            "a prepare is using the cache"
        }
    assert (cache / "packages/old-1.0-0").exists()
    assert len(gone(collected(project, "--older-than", "1d"), "cache")) == 3
