"""After a power loss no run is lost that has begun, its snapshot is whole, and the next command works.

The suite tries a few moments of a submit; `doit crash` tries all of every flow, and prints the counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.crash.flows import AT_SITES
from tests.crash.harness import Flow, Scene, picked
from tests.crash.power_loss import LOSSES, Disk, recorded
from tests.crash.sites import Site
from tests.crash.test_crash import IS_WHOLE, tell
from tests.engines import strace
from tests.engines.fixtures import need

if TYPE_CHECKING:
    from pathlib import Path

FLOWS = {flow.name: flow for flow in AT_SITES}
FLOWS["first"] = FLOWS["submit"]._replace(runs=0)
MOST = 10**6 if IS_WHOLE else 2


def opens(scene: Scene, started: list[str], told: list[str], *, is_over: bool) -> None:
    """What must be true of what is left, whatever was lost."""
    done = scene.amlexec("history", "list", "-o", "json")
    assert done.code == 0, done.err
    runs = {str(run["run_id"]): run for run in json.loads(done.out)}
    broken = [run for run in runs.values() if run["status"] == "broken"]
    assert not broken, broken
    for run_id in started:
        assert run_id in runs, f"{run_id} has begun, and there is no record: {list(runs)}"
    for run_id in told if is_over else ():
        assert runs[run_id]["status"] == "Completed", runs[run_id]
    store = scene.root / ".amlexec/snapshots.git"
    variables = {**os.environ, "GIT_DIR": str(store)}
    records = [json.loads(path.read_text()) for path in scene.root.glob(".amlexec/runs/[!.]*/run.json")]
    trees = {record["snapshot"]["tree"] for record in records if record["snapshot"]}
    if trees:
        command = ["git", "rev-list", "--objects", "--quiet", *trees]
        git = subprocess.run(command, env=variables, capture_output=True, check=False)
        assert git.returncode == 0, git.stderr
    again = scene.submit()
    assert again.code == 0, again.err
    git = subprocess.run(["git", "fsck", "--full"], env=variables, capture_output=True, check=False)
    assert git.returncode == 0, git.stderr


@pytest.mark.parametrize(
    "name", ["submit", "first", "sweep", "rerun", "gc", "clean"] if IS_WHOLE else ["submit"]
)
def test_a_power_loss_loses_no_run(name: str, tmp_path: Path) -> None:
    need("strace", "strace", strace.is_there)
    flow: Flow = FLOWS[name]
    template = Scene.made(Site(), tmp_path / "template", flow)
    scene = template.copy(tmp_path / "run")
    if flow.before is not None:
        flow.before(scene)
    disk = Disk(scene.folder)
    # Not in the folder: it would be recorded, too.
    command = [sys.executable, "-m", "amlexec", *scene.words(flow)]
    calls = recorded(command, scene.root, scene.environment, tmp_path / "trace")
    assert len(calls) > 50
    failed: list[str] = []
    tried = {*picked(len(calls), MOST), len(calls)}
    seen: set[int] = set()
    points = 0
    for number, call in enumerate(calls, 1):
        disk.apply(call)
        if number not in tried:
            continue
        marks = disk.names.get(f"{scene.folder}/share/{scene.root.name}/marks")
        started = bytes(marks.data).decode().split() if marks else []
        for loss in LOSSES:
            left = disk.after(loss)
            mark = hash(tuple(left.items()))
            if mark in seen:
                continue
            seen.add(mark)
            points += 1
            folder = tmp_path / "lost"
            disk.write(left, folder)
            after = Scene(scene.site, folder, scene.earlier)
            try:
                opens(after, started, scene.started, is_over=number == len(calls))
            except AssertionError as error:
                failed.append(
                    f"{name}: {loss} lost after {number} {call.name} {call.path} {call.other}: {error}"
                )
                tell(f"FAILED {failed[-1]}")
            shutil.rmtree(folder)
    tell(
        f"power loss in {name}: {points} disks after {len(tried)} of {len(calls)} calls, {len(failed)} failed"
    )
    assert not failed, "\n\n".join(failed[:20])
