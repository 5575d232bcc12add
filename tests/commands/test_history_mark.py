"""`amlexec history tag` and `history note`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.values import Project
from tests.support.records import RUN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

RUN_ID = "p_1521077190506"


@pytest.fixture
def run(project: ProjectFolder) -> RunPaths:
    paths = RunPaths.of(Project(str(project.root)), RUN_ID)
    paths.folder.mkdir(parents=True)
    folders.write(paths, RUN._replace(run_id=RUN_ID, status="Completed"))
    return paths


def test_tags_are_added_shown_and_removed(project: ProjectFolder, run: RunPaths) -> None:
    before = run.record.read_bytes()
    done = project.amlexec("history", "tag", "last", "best", "stage=on", "day=2024-01-01", "a=b=c")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{RUN_ID} is tagged: best, stage=on, day=2024-01-01, a=b=c\n"
    shown = project.amlexec("history", "tag", "last")
    assert [line.split() for line in shown.out.splitlines()[2:]] == [
        ["best"],
        ["stage", "on"],
        ["day", "2024-01-01"],
        ["a", "b=c"],
    ]
    done = project.amlexec("history", "tag", RUN_ID[:8], "stage=no", "--remove", "best", "a")
    assert done.err == f"{RUN_ID} is tagged: stage=no, day=2024-01-01\n"
    assert run.record.read_bytes() == before


def test_a_run_without_tags_or_a_note_says_so(project: ProjectFolder, run: RunPaths) -> None:
    for verb in ("tag", "note"):
        done = project.amlexec("history", verb, "last")
        assert (done.code, done.out) == (0, "")
        assert f"has no {verb}" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tag", "last", "--remove", "best"], "has no tag 'best'\n  hint: it has no tags"),
        (["tag", "last", "=x"], "'' is not a name for a tag"),
        (["tag", "last", "n" * 251], "it has 251 characters"),
        (["tag", "last", "x=" + "v" * 5001], "more than 5000 characters"),
        (["tag", "last", "x", "--remove", "x"], "both added and removed"),
        (["tag", "nobody", "x"], "there is no run 'nobody'"),
        (["note", "last", "x", "--append", "y"], "either replaced, or extended"),
        (["note", "last", "x", "--remove"], "either replaced, or extended"),
        (["note", "last", "x" * 70_000], "the note has 70000 bytes"),
    ],
)
def test_invalid_marks_change_nothing(
    project: ProjectFolder, run: RunPaths, arguments: list[str], says: str
) -> None:
    done = project.amlexec("history", *arguments)
    assert (done.code, says in done.err) == (3, True), done.err
    assert sorted(path.name for path in run.folder.iterdir()) == ["run.json"]


def test_a_note_is_written_extended_shown_and_removed(project: ProjectFolder, run: RunPaths) -> None:
    assert project.amlexec("history", "note", "last", "the best so far\x1b[31m").code == 0
    assert project.amlexec("history", "note", "last", "--append", "überholt ✓").code == 0
    assert run.note.read_text("utf-8") == "the best so far\x1b[31m\nüberholt ✓\n"
    assert project.amlexec("history", "note", "last").out == "the best so far\\x1b[31m\nüberholt ✓\n"
    assert project.amlexec("history", "note", "last", "new").code == 0
    assert project.amlexec("history", "note", "last").out == "new\n"
    assert project.amlexec("history", "note", "last", "--remove").code == 0
    assert not run.note.exists()


def test_a_downloaded_run_has_its_marks(project: ProjectFolder, run: RunPaths, tmp_path: Path) -> None:
    project.amlexec("history", "tag", "last", "best")
    project.amlexec("history", "note", "last", "text")
    copy = tmp_path / "copy"
    assert project.amlexec("history", "download", "-r", "last", "-d", str(copy)).code == 0
    assert sorted(path.name for path in copy.iterdir()) == ["note.txt", "run.json", "tags.jsonl"]
    assert json.loads((copy / "tags.jsonl").read_text())["name"] == "best"


def test_a_file_that_can_not_be_written_is_one_error(project: ProjectFolder, run: RunPaths) -> None:
    run.tags.mkdir()
    done = project.amlexec("history", "tag", "last", "best")
    assert done.code == 2
    assert "tags.jsonl" in done.err and "Traceback" not in done.err
