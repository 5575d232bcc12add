"""Whatever a command is doing when it ends: no run is lost, none starts twice, and nothing is left for ever.

The suite tries some of the steps; `doit crash` tries all, and prints the counts.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import Flow, Scene, counted, crashed, picked

if TYPE_CHECKING:
    from pathlib import Path

IS_WHOLE = os.environ.get("AMLEXEC_TEST_CRASH") == "all"
MOST = 10**6 if IS_WHOLE else 2
ERRORS = ("KILL", "ENOSPC", "EIO", "EMFILE", "EINTR") if IS_WHOLE else ("KILL", "ENOSPC")
SWEEP = ("experiment", "sweep", "-c", "local", "-j", "1")
SUBMIT = ("experiment", "submit", "-c", "local", "train.py")


def lost_nothing(scene: Scene, before: int) -> list[dict[str, object]]:
    """All runs, after what is true whatever has crashed."""
    runs = scene.ended()
    started = scene.started
    assert len(started) == len({*started}), f"started twice: {started}"
    by_id = {str(run["run_id"]): run for run in runs}
    for run_id in started[before:]:
        assert run_id in by_id, f"{run_id} has run, but there is no record"
        assert by_id[run_id]["status"] == "Completed", by_id[run_id]
        model = scene.root / ".amlexec/runs" / run_id / "outputs/model.txt"
        assert model.read_text() == "a model"
    for run in runs:
        if run["status"] == "Completed":
            assert run["run_id"] in started
    return runs


def snapshots_are_whole(scene: Scene) -> None:
    """The snapshot of every run that is listed can be read, and the repository has no damage."""
    store = scene.root / ".amlexec/snapshots.git"
    if not store.is_dir():
        return
    variables = {**os.environ, "GIT_DIR": str(store)}
    for run in scene.json("history", "list"):
        details = scene.json("history", "info", "-r", str(run["run_id"]))[0]
        snapshot = details["snapshot"]
        if isinstance(snapshot, dict):
            command = ["git", "archive", "--format=tar", str(snapshot["tree"])]
            git = subprocess.run(command, env=variables, capture_output=True, check=False)
            assert git.returncode == 0, git.stderr
    git = subprocess.run(["git", "fsck", "--full"], env=variables, capture_output=True, check=False)
    assert git.returncode == 0, git.stderr


def nothing_is_left(scene: Scene) -> None:
    """The next clean-up finds everything that the crash left behind."""
    done = scene.amlexec("gc")
    assert done.code == 0, done.err
    done = scene.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    assert scene.leftovers() == []


def after_a_submit(scene: Scene) -> None:
    lost_nothing(scene, 1)
    snapshots_are_whole(scene)
    again = scene.amlexec(*SUBMIT)
    assert again.code == 0, again.err
    assert "trained" in again.out
    lost_nothing(scene, 1)
    nothing_is_left(scene)


def after_a_clean_up(scene: Scene) -> None:
    snapshots_are_whole(scene)
    done = scene.amlexec("gc", "--keep-last", "2")
    assert done.code == 0, done.err
    assert sorted(str(run["run_id"]) for run in scene.json("history", "list")) == scene.started[-2:]
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    again = scene.amlexec(*SUBMIT)
    assert again.code == 0, again.err


def after_a_sweep(scene: Scene) -> None:
    lost_nothing(scene, 1)
    snapshots_are_whole(scene)
    if any((scene.root / ".amlexec/sweeps").glob("sweep_*")):
        again = scene.amlexec("experiment", "sweep", "--resume", "last")
        assert again.code == 0, again.err
        lost_nothing(scene, 1)
        assert len(scene.started) == 1 + 2, "each point once"
    nothing_is_left(scene)


def after_cleaning(scene: Scene) -> None:
    assert sorted(str(run["run_id"]) for run in scene.ended()) == scene.started
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    assert not [*scene.root.glob(".amlexec/runs/*/project")]


FLOWS = (
    Flow("submit", SUBMIT, 1, after_a_submit),
    Flow("gc", ("gc", "--keep-last", "2"), 4, after_a_clean_up),
    Flow("sweep", (*SWEEP, "train.py", "--x", "1,2"), 1, after_a_sweep),
    Flow("clean", ("experiment", "clean", "--all"), 2, after_cleaning, fails=True),
)


@pytest.mark.parametrize("how", ERRORS)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_crash_loses_nothing(flow: Flow, how: str, tmp_path: Path) -> None:
    template = Scene.made(tmp_path / "template", flow.runs, fails=flow.fails)
    steps = counted(flow, template.copy(tmp_path / "whole"))
    assert len(steps) > 10
    tried = picked(len(steps), MOST)
    for at in tried:
        scene = template.copy(tmp_path / f"{at}")
        try:
            crashed(flow, scene, at, how)
        except AssertionError as error:
            raise AssertionError(f"{flow.name}, {how} at {steps[at - 1]}: {error}") from error
    print(f"{flow.name}: {how} at {len(tried)} of {len(steps)} steps, nothing lost")
