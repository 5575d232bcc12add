"""The record: written atomically, read strictly, found by an id or a prefix of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import jsonschema
import pytest

from amlexec import locks
from amlexec.errors import TargetError, UsageError
from amlexec.history import find, folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import Run
from amlexec.values import Project
from tests.support.records import RUN


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    return Project(str(tmp_path / "demo"))


def test_a_record_is_read_back_unchanged(empty: Project) -> None:
    paths, run, held = folders.create(empty, RUN, 1000)
    assert folders.read(paths) == run == RUN._replace(run_id="demo_1000")
    held.release()


def test_a_record_matches_its_schema(empty: Project) -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas/run.schema.json").read_text())
    paths, _, held = folders.create(empty, RUN, 1000)
    held.release()
    jsonschema.Draft202012Validator(schema).validate(json.loads(paths.record.read_text()))
    assert set(schema["properties"]) == set(Run._fields)


def test_a_new_run_is_locked_from_the_first_moment(empty: Project) -> None:
    paths, _, held = folders.create(empty, RUN, 1000)
    assert locks.take(str(paths.lock)) is None
    held.release()
    again = locks.take(str(paths.lock))
    assert again is not None
    again.release()


def test_two_runs_in_one_millisecond(empty: Project) -> None:
    ids: list[str] = []

    def make() -> None:
        _, run, held = folders.create(empty, RUN, 1000)
        ids.append(run.run_id)
        held.release()

    threads = [threading.Thread(target=make) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == sorted(f"demo_{1000 + n}" for n in range(20))
    assert len(find.runs(empty)[0]) == 20


def test_the_first_submissions_of_a_project_at_once(tmp_path: Path) -> None:
    """One of them makes the folder of runs while the others look whether there is one."""
    wrong: list[Exception] = []

    def make(project: Project, begin: threading.Barrier) -> None:
        begin.wait()
        try:
            folders.create(project, RUN, 1000)[2].release()
        except Exception as error:
            wrong.append(error)

    for number in range(50):
        project, begin = Project(str(tmp_path / str(number))), threading.Barrier(6)
        (tmp_path / str(number)).mkdir()
        threads = [threading.Thread(target=make, args=(project, begin)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize(("name", "beginning"), [("a b/ü", "ü"), ("...", "project"), ("x" * 200, "x" * 60)])
def test_a_run_id_is_made_of_plain_characters(tmp_path: Path, name: str, beginning: str) -> None:
    project = Project(str(tmp_path / name))
    _, run, held = folders.create(project, RUN, 7)
    held.release()
    assert run.run_id == f"{'project' if beginning == 'ü' else beginning}_7"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"run_id": "demo_1000"}', '{"run_id": "other"}', '"text"', "\x00", "[[[["],
)
def test_a_damaged_record_is_one_error(empty: Project, text: str) -> None:
    paths, _, held = folders.create(empty, RUN, 1000)
    held.release()
    paths.record.write_text(text)
    with pytest.raises(TargetError, match="can't be read") as raised:
        folders.read(paths)
    assert raised.value.where == str(paths.record)
    assert raised.value.hint
    assert find.runs(empty)[0] == []
    assert len(find.runs(empty)[1]) == 1


def test_a_failed_write_leaves_the_old_record(empty: Project) -> None:
    paths, run, held = folders.create(empty, RUN, 1000)
    held.release()
    with pytest.raises(TypeError):
        folders.write(paths, run._replace(metrics={"x": object()}))
    assert folders.read(paths) == run
    assert [path.name for path in paths.folder.iterdir() if path.name.startswith(".")] == []


def test_finding_a_run(empty: Project) -> None:
    with pytest.raises(UsageError, match="no runs yet"):
        find.find(empty, "last")
    for number in (999, 1000, 1001):
        folders.create(empty, RUN, number)[2].release()
    assert find.find(empty, "last").folder.name == "demo_1001"
    assert find.find(empty, "demo_1000").folder.name == "demo_1000"
    assert find.find(empty, "demo_9").folder.name == "demo_999"
    with pytest.raises(UsageError, match="2 runs begin with 'demo_1'"):
        find.find(empty, "demo_1")
    with pytest.raises(UsageError, match="there is no run 'dmeo_999'") as raised:
        find.find(empty, "dmeo_999")
    assert "demo_999" in raised.value.hint


def test_a_name_with_a_path_is_not_a_run(empty: Project) -> None:
    folders.create(empty, RUN, 1)[2].release()
    for reference in ("", "..", "../..", "/", "demo_1/../demo_1"):
        with pytest.raises(UsageError):
            find.find(empty, reference)
    assert RunPaths.of(empty, "demo_1").record.exists()
