"""What a script wrote into its run's folder on a target, put into the folder of the run here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amlexec.history import tags
from amlexec.history.paths import RunPaths
from amlexec.targets import own_files


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    folder = tmp_path / "project_1521077190506"
    folder.mkdir()
    return RunPaths(folder)


def came(paths: RunPaths, **files: str) -> Path:
    folder = paths.folder / "incoming"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text)
    return folder


def test_metrics_are_replaced_and_tags_are_added(paths: RunPaths) -> None:
    tags.change(paths, {"best": "", "by": "me"})
    paths.metrics.write_text("old\n")
    told = '{"name": "by", "value": "script", "time": 1}\n{"name": "data", "value": "v2", "time": 2}\n'
    for _ in range(2):  # a run may be collected again
        assert own_files.put_in_place(came(paths, metrics="new\n", tags=told), paths, []) == []
        assert paths.metrics.read_text() == "new\n"
        assert tags.read(paths) == {"best": "", "by": "script", "data": "v2"}
        assert len([line for line in paths.tags.read_text().splitlines() if line]) == 4


def test_tags_that_were_set_here_later_are_kept(paths: RunPaths) -> None:
    told = '{"name": "by", "value": "script", "time": 1}\n'
    own_files.put_in_place(came(paths, tags=told), paths, [])
    tags.change(paths, {"by": "me"})
    own_files.put_in_place(came(paths, tags=told), paths, [])
    assert tags.read(paths) == {"by": "me"}


def test_endless_tags_are_named(paths: RunPaths) -> None:
    folder = came(paths, tags="")
    os.truncate(folder / "tags.jsonl", 17 << 20)
    assert [item.path for item in own_files.put_in_place(folder, paths, [])] == ["tags.jsonl"]
