"""Tags of a run, in its `tags.jsonl`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from amlexec.history import tags
from amlexec.history.paths import RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def test_a_run_without_the_file_has_no_tags(paths: RunPaths) -> None:
    assert tags.read(paths) == {}


def test_the_last_change_of_a_name_counts_whatever_the_clock_says(paths: RunPaths) -> None:
    tags.change(paths, {"best": "", "stage": "test"})
    lines = paths.tags.read_text()
    for later in (
        '{"name": "stage", "value": "live", "time": 1}',
        '{"name": "best", "value": null, "time": 2}',
    ):
        lines += later + "\n"
    paths.tags.write_text(lines)
    assert tags.read(paths) == {"stage": "live"}
    tags.change(paths, {"best": "again", "nothing": None})
    assert tags.read(paths) == {"stage": "live", "best": "again"}


@pytest.mark.parametrize("value", ["on", "no", "1e3", "2024-01-01", "", "null", "ünï\ud800\n", '"'])
def test_values_are_text_and_stay_as_they_are(paths: RunPaths, value: str) -> None:
    tags.change(paths, {f"n={value}": value})
    assert tags.read(paths) == {f"n={value}": value}
    json.loads(paths.tags.read_text())


def test_values_that_a_script_wrote_as_numbers_are_text(paths: RunPaths) -> None:
    paths.tags.write_text('{"name": "a", "value": 0.5, "time": 0}\n{"name": "b", "value": true, "time": 0}\n')
    assert tags.read(paths) == {"a": "0.5", "b": "true"}


def test_lines_that_are_not_tags_are_passed_over_and_a_torn_one_is_not_continued(paths: RunPaths) -> None:
    foreign = ["", "[]", "{}", '{"name": 1, "value": ""}', '{"name": "", "value": ""}', "\x00", "[" * 9999]
    foreign += ['{"name": "a", "value": {}}', json.dumps({"name": "n" * 251, "value": ""})]
    paths.tags.write_text("\n".join([*foreign, '{"name": "torn", "val']))
    tags.change(paths, {"a": "1"})
    assert tags.read(paths) == {"a": "1"}


def test_twenty_processes_add_twenty_tags(paths: RunPaths) -> None:
    program = (
        "import sys; from pathlib import Path; from amlexec.history import paths, tags\n"
        "sys.stdin.read()\n"
        "tags.change(paths.RunPaths(Path(sys.argv[1])), {sys.argv[2]: 'x'})"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(paths.folder), f"tag{number}"], stdin=subprocess.PIPE
        )
        for number in range(20)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 20
    assert sorted(tags.read(paths)) == sorted(f"tag{number}" for number in range(20))
    assert paths.tags.read_bytes().count(b"\n") == 20


def test_a_link_or_a_folder_is_not_read_or_written(paths: RunPaths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    paths.tags.symlink_to(elsewhere)
    with pytest.raises(OSError, match="link"):
        tags.read(paths)
    with pytest.raises(OSError):
        tags.change(paths, {"a": ""})
    assert elsewhere.read_text() == ""
