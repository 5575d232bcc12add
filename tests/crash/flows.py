"""The commands that crash, and what is true afterwards whatever they were doing."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

from amlexec.keystore import store as keystore
from tests.conftest import eventually
from tests.crash.harness import Flow
from tests.engines.ssh_host import QUIET
from tests.support.hosts import PASSWORD
from tests.support.stored_secrets import stored_secrets

if TYPE_CHECKING:
    from tests.crash.harness import Scene

__all__ = ["ATTACH", "AT_SITES", "HERE", "PREPARE"]

SUBMIT = ("experiment", "submit", "-c", "SITE", "train.py")
BOX = ("remote", "-n", "box", "-u", QUIET, "-w", PASSWORD, "-a")
REGISTER = ("model", "register", "-n", "iris", "-r", "LAST", "-m", "outputs/model.txt", "--tag", "data=a")
SWEEP = ("experiment", "sweep", "-c", "SITE", "-j", "1", "train.py", "--x", "1,2")


def lost_nothing(scene: Scene, *, canceled: bool = False) -> list[dict[str, object]]:
    """All runs, after what is true whatever has crashed."""
    runs = scene.ended()
    started = scene.started
    assert len(started) == len({*started}), f"started twice: {started}"
    by_id = {str(run["run_id"]): run for run in runs}
    for run_id in started:
        assert run_id in by_id, f"{run_id} has run, but there is no record"
        wanted = {"Completed", "Canceled"} if canceled else {"Completed"}
        assert by_id[run_id]["status"] in wanted, by_id[run_id]
        if by_id[run_id]["status"] == "Completed":
            model = scene.root / ".amlexec/runs" / run_id / "outputs/model.txt"
            assert model.read_text() == "a model"
    for run in runs:
        assert run["status"] != "broken", run
        if run["status"] == "Completed" and run["run_id"] not in scene.earlier:
            assert run["run_id"] in started, f"{run['run_id']} has not run"
    return runs


def snapshots_are_whole(scene: Scene) -> None:
    """The snapshot of every run that is listed can be read, and the repository has no damage."""
    store = scene.root / ".amlexec/snapshots.git"
    if not store.is_dir():
        return
    variables = {**os.environ, "GIT_DIR": str(store)}
    records = [json.loads(path.read_text()) for path in scene.root.glob(".amlexec/runs/[!.]*/run.json")]
    trees = {record["snapshot"]["tree"] for record in records if record["snapshot"]}
    for command in (["rev-list", "--objects", "--quiet", *trees], ["fsck", "--full"]):
        git = subprocess.run(["git", *command], env=variables, capture_output=True, check=False)
        assert git.returncode == 0, git.stderr


def nothing_is_left(scene: Scene) -> None:
    """The next clean-up finds everything that the crash left behind."""
    done = scene.amlexec("gc")
    assert done.code == 0, done.err
    done = scene.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    assert scene.leftovers() == []


def after_a_submit(scene: Scene) -> None:
    lost_nothing(scene)
    snapshots_are_whole(scene)
    again = scene.submit()
    assert again.code == 0, again.err
    assert "trained" in again.out
    lost_nothing(scene)
    nothing_is_left(scene)


def after_a_clean_up(scene: Scene) -> None:
    snapshots_are_whole(scene)
    done = scene.amlexec("gc", "--keep-last", "2")
    assert done.code == 0, done.err
    assert tuple(scene.ids()) == scene.earlier[-2:]
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    again = scene.submit()
    assert again.code == 0, again.err


def after_a_sweep(scene: Scene) -> None:
    lost_nothing(scene)
    snapshots_are_whole(scene)
    if any((scene.root / ".amlexec/sweeps").glob("sweep_*")):
        again = scene.amlexec("experiment", "sweep", "--resume", "last")
        assert again.code == 0, again.err
        lost_nothing(scene)
        assert len(scene.started) == 2, f"not each point once: {scene.started}"
    nothing_is_left(scene)


def after_cleaning(scene: Scene) -> None:
    assert tuple(str(run["run_id"]) for run in scene.ended()) == scene.earlier[::-1]
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    assert not [*scene.root.glob(".amlexec/runs/*/project")]


def goes_on_alone(scene: Scene) -> None:
    done = scene.submit("--async")
    assert done.code == 0, done.err
    eventually(lambda: len(scene.started) == 1, "the script starts")


def has_ended_alone(scene: Scene) -> None:
    """A run ends that nobody follows."""
    goes_on_alone(scene)
    eventually(lambda: scene.site.has_ended(scene), "the run ends")


def after_collecting(scene: Scene) -> None:
    lost_nothing(scene)
    assert len(scene.started) == 1
    nothing_is_left(scene)


def goes_on(scene: Scene) -> None:
    """A run goes on for ten minutes."""
    scene.script(waits=True)
    goes_on_alone(scene)


def after_a_cancel(scene: Scene) -> None:
    (run_id,) = scene.started
    done = scene.amlexec("experiment", "cancel", "-r", run_id)
    status = scene.json("experiment", "status", "-r", run_id)[0]["status"]
    assert status == "Canceled", (status, done)
    lost_nothing(scene, canceled=True)
    nothing_is_left(scene)


def after_a_checkout(scene: Scene) -> None:
    out = scene.folder / "out"
    if not out.exists():
        done = scene.amlexec("history", "checkout", scene.earlier[-1], str(out))
        assert done.code == 0, done.err
    assert (out / "data.txt").read_text() == "0" * 1000
    assert (out / "train.py").read_text() == (scene.root / "train.py").read_text()
    nothing_is_left(scene)


def after_a_bundle(scene: Scene) -> None:
    out = scene.folder / "out"
    if not out.exists():
        done = scene.amlexec("history", "bundle", scene.earlier[-1], str(out))
        assert done.code == 0, done.err
    with tarfile.open(out) as archive:
        assert len(archive.getnames()) > 2
    nothing_is_left(scene)


def is_not_prepared(scene: Scene) -> None:
    scene.site.forget()


def after_preparing(scene: Scene) -> None:
    done = scene.amlexec("experiment", "prepare", "-c", scene.site.name)
    assert done.code == 0, done.err
    again = scene.amlexec("experiment", "prepare", "-c", scene.site.name, "--check")
    assert again.code == 0, again.err
    submitted = scene.submit()
    assert submitted.code == 0, submitted.err
    lost_nothing(scene)
    nothing_is_left(scene)


def knows_no_secret(_: Scene) -> None:
    for stored in stored_secrets():
        (keystore.folder() / "passwords" / stored.handle.removeprefix("amlexec:")).unlink()


def after_attaching(scene: Scene) -> None:
    written = sorted(path.name for path in (scene.root / "aml_config").glob("box.*"))
    assert written in ([], ["box.compute", "box.runconfig"]), written
    assert not written or scene.amlexec("lint").code == 0
    done = scene.amlexec("computetarget", "attach", *BOX, "ADDRESS", "--force")
    assert done.code == 0, done.err
    assert len(stored_secrets()) == 1
    done = scene.amlexec("computetarget", "check", "box")
    assert done.code == 0, done.err
    done = scene.amlexec("computetarget", "detach", "box")
    assert done.code == 0, done.err
    assert stored_secrets() == []
    nothing_is_left(scene)


def after_registering(scene: Scene) -> None:
    """The model is a version once, whole; and the next one leaves nothing of a killed writer."""
    last = scene.earlier[-1]
    arguments = [word.replace("LAST", last) for word in REGISTER]
    again = scene.amlexec(*arguments)
    assert (again.code, again.out) == (0, "iris:1\n"), again.err
    (version,) = scene.json("model", "list")
    assert (version["problem"], version["tags"]) == (None, {"data": "a"})
    done = scene.amlexec("model", "download", "iris:1", "-d", str(scene.folder / "out"))
    assert done.code == 0, done.err
    assert (scene.folder / "out/model.txt").read_text() == "a model"
    other = scene.amlexec("model", "register", "-n", "iris", "train.py", "--tag", "data=b")
    assert other.out == "iris:2\n", other.err
    assert scene.leftovers() == []


AT_SITES = (
    Flow("submit", SUBMIT, after_a_submit),
    Flow("collect", ("experiment", "status", "-r", "LAST"), after_collecting, 0, before=has_ended_alone),
    Flow("cancel", ("experiment", "cancel", "-r", "LAST"), after_a_cancel, 0, before=goes_on),
    Flow("clean", ("experiment", "clean", "--all"), after_cleaning, 2, fails=True),
    Flow("rerun", ("experiment", "rerun", "LAST"), after_a_submit),
    Flow("sweep", SWEEP, after_a_sweep),
    Flow("gc", ("gc", "--keep-last", "2"), after_a_clean_up, 4),
)
"""What can be done at every site."""
HERE = (
    *AT_SITES,
    Flow("checkout", ("history", "checkout", "LAST", "FOLDER"), after_a_checkout),
    Flow("bundle", ("history", "bundle", "LAST", "FOLDER"), after_a_bundle),
    Flow("register", REGISTER, after_registering),
)
"""Also what concerns no site."""
PREPARE = Flow("prepare", ("experiment", "prepare", "-c", "SITE"), after_preparing, 0, before=is_not_prepared)
"""Where the environment is prepared."""
ATTACH = Flow(
    "attach", ("computetarget", "attach", *BOX, "ADDRESS"), after_attaching, 0, before=knows_no_secret
)
"""Where one can log in."""
