"""`amlexec gc` in a project with real runs: what goes, what stays and why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import in_use, locks, temporaries
from amlexec.environments import resolved_lock
from amlexec.history import folders, tags
from amlexec.history.paths import RunPaths
from amlexec.snapshots import read
from amlexec.snapshots import take as snapshot
from amlexec.values import Project
from tests.conftest import eventually
from tests.support.records import RUN

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder


def recorded(project: ProjectFolder, number: int, **changes: Any) -> RunPaths:
    """A finished run with a snapshot of its own, without the time that a script takes."""
    place = Project(str(project.root))
    project.write("data.bin", os.urandom(50_000))
    tree = snapshot.take(place)
    created = f"2026-01-{number:02}T12:00:00.000000Z"
    run = RUN._replace(
        status="Completed",
        created_utc=created,
        end_time_utc=created,
        snapshot=RUN.snapshot and RUN.snapshot._replace(tree=tree.tree),
        metrics={"loss": 1 / number},
        metric_counts={"loss": 1},
    )
    paths, _, held = folders.create(place, run._replace(**changes), 1_790_000_000_000 + number)
    held.release()
    return paths


def collected(project: ProjectFolder, *options: str, code: int = 0) -> dict[str, Any]:
    done = project.amlexec("gc", "-o", "json", *options)
    assert done.code == code, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def gone(found: dict[str, Any], kind: str = "run") -> list[str]:
    return [entry["name"] for entry in found["removed"] if entry["kind"] == kind]


def has(project: ProjectFolder, paths: RunPaths) -> bool:
    """Whether a run's snapshot can be checked out."""
    tree = folders.read(paths).snapshot
    assert tree is not None
    read.files(Project(str(project.root)), tree.tree)
    return True


def test_without_rules_only_what_nothing_refers_to_is_removed(project: ProjectFolder) -> None:
    kept = recorded(project, 1)
    snapshot.take(Project(str(project.root)))
    project.write("data.bin", os.urandom(50_000))
    orphan = snapshot.take(Project(str(project.root)))
    project.write("data.bin", os.urandom(50_000))
    snapshot.take(Project(str(project.root)))
    plan = collected(project, "--plan")
    assert (gone(plan), plan["done"]) == ([], False)
    assert gone(plan, "snapshot") == ["objects of no snapshot"]
    assert 50_000 < plan["freed_bytes"] < 60_000
    read.files(Project(str(project.root)), orphan.tree)
    found = collected(project)
    assert found["removed"] == plan["removed"], "it does what the plan says"
    assert has(project, kept)
    with pytest.raises(Exception, match="damaged"):
        read.files(Project(str(project.root)), orphan.tree)
    assert collected(project)["removed"] == []


def test_rules_choose_runs_and_what_only_they_need_goes_with_them(project: ProjectFolder) -> None:
    runs = [recorded(project, number) for number in range(1, 6)]
    tags.change(RunPaths(runs[0].folder), {"paper": ""})
    found = collected(project, "--keep-last", "2", "--plan")
    assert sorted(gone(found)) == [runs[1].folder.name, runs[2].folder.name]
    assert all(paths.folder.exists() for paths in runs)
    found = collected(project, "--keep-last", "1", "--keep-best", "1", "--by", "metrics.loss:max")
    assert sorted(gone(found)) == [paths.folder.name for paths in runs[1:4]]
    assert {entry["name"]: entry["reason"] for entry in found["kept"] if entry["kind"] == "run"} == {
        runs[0].folder.name: "it is tagged",
        runs[4].folder.name: "one of the last 1",
    }
    assert len(gone(found, "snapshot")) == 3
    assert [paths.folder.exists() for paths in runs] == [True, False, False, False, True]
    assert has(project, runs[0])
    assert has(project, runs[4])
    assert not [*(project.root / ".amlexec/trash").iterdir()]


def test_a_resolved_lock_goes_with_the_last_run_that_names_it(project: ProjectFolder) -> None:
    place = Project(str(project.root))
    shared, own, nobodys = (resolved_lock.keep(place, text) for text in ("shared", "own", "nobody's"))
    for number, name in enumerate((shared, own, shared), 1):
        recorded(project, number, environment_lock=name)
    found = collected(project, "--keep-last", "1")
    assert sorted(gone(found, "packages")) == sorted(f"locks/{name[:20]}" for name in (own, nobodys))
    assert resolved_lock.recall(place, shared) == "shared"
    assert [path.name for path in resolved_lock.folder(place).iterdir()] == [f"{shared}.lock"]


def test_older_than_keeps_younger_runs(project: ProjectFolder) -> None:
    old = recorded(project, 1)
    project.write("train.py", "print('x')\n")
    young = project.submit("train.py").run_id
    assert gone(collected(project, "--older-than", "1d")) == [old.folder.name]
    assert project.run_ids() == [young]


def test_a_limit_removes_the_oldest_runs_or_names_what_prevents_it(project: ProjectFolder) -> None:
    runs = [recorded(project, number) for number in range(1, 5)]
    whole = collected(project, "--plan")["left_bytes"]
    found = collected(project, "--max", str(whole - 50_000))
    assert gone(found) == [runs[0].folder.name]
    assert found["left_bytes"] <= whole - 50_000
    tags.change(runs[1], {"paper": ""})
    found = collected(project, "--max", "1kB", code=2)
    assert sorted(gone(found)) == [paths.folder.name for paths in runs[2:]]
    assert found["excess_bytes"] > 0
    done = project.amlexec("gc", "--max", "1kB")
    assert done.code == 2
    assert "error: --max 1000 bytes does not hold" in done.err
    assert f"run {runs[1].folder.name}" in done.err
    assert "it is tagged" in done.err


def test_runs_that_have_not_ended_are_locked_or_damaged_stay(project: ProjectFolder) -> None:
    project.write("wait.py", "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n")
    done = project.submit("--async", "wait.py")
    running = RunPaths(project.run_folder(done.run_id))
    eventually(lambda: (running.control / "supervisor").exists(), "it runs")
    locked, damaged = recorded(project, 2), recorded(project, 3)
    damaged.record.write_text("{")
    lock = locks.take(str(locked.lock))
    assert lock is not None
    found = collected(project, "--keep-last", "0")
    assert gone(found) == []
    assert {entry["name"]: entry["reason"] for entry in found["kept"] if entry["kind"] == "run"} == {
        running.folder.name: "it is Running",
        locked.folder.name: "another process has its lock",
        damaged.folder.name: "its record can't be read",
    }
    assert has(project, locked)
    assert has(project, running)
    lock.release()
    assert gone(collected(project, "--keep-last", "0")) == [locked.folder.name]
    (running.checkout / "go").touch()
    eventually(lambda: (running.control / "end").exists(), "it has ended")
    assert gone(collected(project, "--keep-last", "0")) == [running.folder.name]


def test_a_run_whose_submission_was_killed_is_no_longer_kept(project: ProjectFolder) -> None:
    killed = recorded(project, 1, status="Preparing", end_time_utc=None)
    assert gone(collected(project)) == []
    assert folders.read(killed).status == "Lost"
    assert gone(collected(project, "--keep-last", "0")) == [killed.folder.name]


def test_the_only_copy_of_outputs_stays(project: ProjectFolder) -> None:
    from amlexec.values import NotCollected

    paths = recorded(project, 1, not_collected=(NotCollected("outputs/a", "the disk is full", True),))
    (paths.checkout / "outputs").mkdir(parents=True)
    found = collected(project, "--keep-last", "0", "--max", "1B", code=2)
    assert gone(found) == gone(found, "copy") == []
    assert paths.checkout.exists()


def test_leftovers_of_killed_processes_are_removed(project: ProjectFolder) -> None:
    recorded(project, 1)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    left = [f".amlexec/runs/.new-{dead.stdout.strip()}-ab/run.json", ".amlexec/trash/demo_1.x/run.json"]
    alive = f".amlexec/runs/.new-{os.getpid()}-ab/run.json"
    for name in (*left, alive):
        project.write(name, "{}")
    found = collected(project)
    assert len(gone(found, "leftover")) == 2
    assert not [name for name in left if (project.root / name).exists()]
    assert (project.root / alive).exists()


def test_while_a_submit_is_in_progress_snapshots_stay(project: ProjectFolder) -> None:
    recorded(project, 1)
    place = Project(str(project.root))
    project.write("data.bin", os.urandom(50_000))
    with in_use.claimed(place):
        unnamed = snapshot.take(place)
        project.write("data.bin", "other")
        snapshot.take(place)
        found = collected(project)
        assert found["snapshots"]["busy"] == "a submit or a prepare is in progress"
        assert found["removed"] == []
        read.files(place, unnamed.tree)
    assert gone(collected(project), "snapshot") == ["objects of no snapshot"]


def test_two_at_once_are_refused(project: ProjectFolder) -> None:
    recorded(project, 1)
    lock = locks.take(str(project.root / ".amlexec/gc.lock"))
    assert lock is not None
    done = project.amlexec("gc")
    assert (done.code, "another amlexec gc of this project is in progress" in done.err) == (2, True)
    assert project.amlexec("gc", "--plan").code == 0
    lock.release()


def test_runs_and_clean_ups_at_the_same_time_lose_nothing(project: ProjectFolder) -> None:
    """Real processes: submits, each with new content, and clean-ups that keep two runs, side by side."""
    project.write("train.py", "print(open('data.bin', 'rb').read()[:4])\n")
    program = (sys.executable, "-m", "amlexec")
    collecting = project.start(
        "sh", "-c", f"while [ ! -e stop ]; do {' '.join(program)} gc --keep-last 2 -o json || exit 9; done"
    )
    submitted = []
    for number in range(8):
        project.write("data.bin", f"{number}" * 10_000)
        done = project.submit("train.py")
        assert done.code == 0, done.err
        assert str(number) * 4 in done.out
        submitted.append(done.run_id)
    project.write("stop", "")
    _, err = collecting.communicate(timeout=60)
    assert collecting.returncode == 0, err
    assert collected(project, "--keep-last", "2")["problems"] == []
    assert project.run_ids() == submitted[-2:]
    for run_id in submitted[-2:]:
        assert has(project, RunPaths(project.run_folder(run_id)))


def test_a_sweep_keeps_its_runs_while_it_goes_on_and_its_snapshot_while_it_can_be_resumed(
    project: ProjectFolder,
) -> None:
    project.write("train.py", "print('of the sweep')\n")
    program = f"{sys.executable} -m amlexec"
    collecting = project.start(
        "sh", "-c", f"while [ ! -e stop ]; do {program} gc --keep-last 0 -o json >>log || exit 9; done"
    )
    done = project.amlexec("experiment", "sweep", "-c", "local", "train.py", "--x", "1,2,3,4", "-j", "1")
    project.write("stop", "")
    _, err = collecting.communicate(timeout=60)
    assert (collecting.returncode, done.code) == (0, 0), err.decode() + done.err
    (journal,) = (project.root / ".amlexec/sweeps").glob("*/journal.jsonl")
    whole = journal.read_text()
    assert whole.count('"status": "Completed"') == 4
    # As if it had been killed before its third point; then the project changes.
    lines = whole.splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"point": 3' not in line))
    project.write("train.py", "print('another')\n")
    project.submit("train.py")
    assert gone(collected(project, "--keep-last", "0"), "sweep") == []
    done = project.amlexec("experiment", "sweep", "--resume", "last")
    assert done.code == 0, done.err
    assert "of the sweep" in (project.run_folder(project.run_ids()[-1]) / "stdout.log").read_text()
    assert gone(collected(project, "--older-than", "0h"), "sweep") == [journal.parent.name]


@pytest.mark.parametrize("wait", [0.0, 0.15, 0.3, 0.45])
def test_a_killed_clean_up_is_continued_by_the_next(project: ProjectFolder, wait: float) -> None:
    runs = [recorded(project, number) for number in range(1, 6)]
    process = project.start(sys.executable, "-m", "amlexec", "gc", "--keep-last", "1", start_new_session=True)
    eventually(
        lambda: (project.root / ".amlexec/gc.lock").exists() or process.poll() is not None, "it has begun"
    )
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert has(project, runs[4])
    for paths in runs[:4]:
        assert not paths.folder.exists() or has(project, paths), "a run that is still listed is whole"
    collected(project, "--keep-last", "1")
    assert project.run_ids() == [runs[4].folder.name]
    assert not [*(project.root / ".amlexec/trash").iterdir()]
    assert not (project.root / ".amlexec/snapshots.git/packing").exists()
    assert has(project, runs[4])


def test_wrong_options_are_refused_before_anything_happens(project: ProjectFolder) -> None:
    for options, message in (
        (("--max", "much"), "'much' is not a size such as 20GB"),
        (("--older-than", "yesterday"), "'yesterday' is not an age such as 12h"),
        (("--keep-best", "3"), "--keep-best needs --by"),
        (("--by", "metrics.loss:min"), "--by needs --keep-best"),
        (("--keep-best", "3", "--by", "loss"), "is not a metric and a direction"),
        (("-t", "nowhere"), "nowhere"),
    ):
        done = project.amlexec("gc", *options)
        assert (done.code, message in done.err) == (3, True), done.err
    assert not (project.root / ".amlexec").exists()
    assert temporaries.owner()


def test_a_plan_changes_nothing(project: ProjectFolder) -> None:
    assert project.amlexec("gc", "--plan").code == 0
    assert not Path(project.root, ".amlexec/snapshots.git").exists()


def test_runs_that_models_were_made_from_stay(project: ProjectFolder) -> None:
    old, young = recorded(project, 1), recorded(project, 2)
    old.outputs.mkdir()
    (old.outputs / "model.pkl").write_text("x")
    done = project.amlexec(
        "model", "register", "-n", "iris", "-r", old.folder.name, "-m", "outputs/model.pkl"
    )
    assert done.out == "iris:1\n"
    assert gone(collected(project, "--keep-last", "0")) == [young.folder.name]
    assert has(project, old)
    # A registry that can't be read may need any run.
    record = project.root / ".amlexec/models/names/iris/versions/1.json"
    record.parents[3].rename(project.root / "moved")
    (project.root / ".amlexec/models").write_text("")
    assert gone(collected(project, "--keep-last", "0", code=2)) == []
    (project.root / ".amlexec/models").unlink()
    assert gone(collected(project, "--keep-last", "0")) == [old.folder.name]
