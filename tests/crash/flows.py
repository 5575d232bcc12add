"""The commands that crash, and what is true afterwards whatever they were doing."""

from __future__ import annotations

import json
import os
import re
import shutil
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
BOX = ("remote", "-u", QUIET, "-w", PASSWORD, "-a")
UNSEEN = ("--no-check",)
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
    scene.site.settle()
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


def one_more(scene: Scene) -> None:
    """A run of its own for each crash, with a snapshot of its own."""
    (scene.root / "data.txt").write_text(f"{scene.number} more")
    done = scene.submit()
    assert done.code in {0, 1}, done.err
    new = {*scene.ids()} - {*scene.earlier}
    assert len(new) == 1, new
    scene.earlier = (*scene.earlier, *new)


def after_a_clean_up(scene: Scene) -> None:
    snapshots_are_whole(scene)
    done = scene.amlexec("gc", "--keep-last", "2")
    assert done.code == 0, done.err
    assert tuple(scene.ids()) == scene.earlier[-2:]
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    again = scene.submit()
    assert again.code == 0, again.err


def sweep_goes_on(scene: Scene, _: str) -> None:
    sweeps = [*(scene.root / ".amlexec/sweeps").glob("sweep_*")]
    if not sweeps:
        return
    again = scene.amlexec("experiment", "sweep", "--resume", "last")
    assert again.code == 0, again.err
    started = [run_id for run_id in scene.started if run_id not in scene.earlier]
    assert len(started) == 2 * len(sweeps), f"not each point once: {started}"


def after_a_sweep(scene: Scene) -> None:
    lost_nothing(scene)
    snapshots_are_whole(scene)
    nothing_is_left(scene)


def after_cleaning(scene: Scene) -> None:
    assert tuple(str(run["run_id"]) for run in scene.ended()) == scene.earlier[::-1]
    snapshots_are_whole(scene)
    nothing_is_left(scene)
    assert not [*scene.root.glob(".amlexec/runs/*/project")]


def go_on(scene: Scene, count: int) -> list[str]:
    """Runs that nobody follows."""
    for _ in range(count):
        done = scene.submit("--async")
        assert done.code == 0, done.err
    eventually(lambda: len(scene.started) == count, "the scripts start")
    return scene.started


def end_alone(scene: Scene, count: int) -> list[str]:
    """Runs that end while nobody looks."""
    run_ids = go_on(scene, count)
    eventually(lambda: scene.site.ended(scene) == count, "the runs end")
    return run_ids


def after_collecting(scene: Scene) -> None:
    count = len(scene.started)
    assert len(lost_nothing(scene)) == count
    nothing_is_left(scene)


def wait(scene: Scene, count: int) -> list[str]:
    """Runs that go on for ten minutes."""
    scene.script(waits=True)
    return go_on(scene, count)


def is_canceled(scene: Scene, run_id: str) -> None:
    done = scene.amlexec("experiment", "cancel", "-r", run_id)
    status = scene.json("experiment", "status", "-r", run_id)[0]["status"]
    assert status == "Canceled", (status, done)


def after_a_cancel(scene: Scene) -> None:
    lost_nothing(scene, canceled=True)
    nothing_is_left(scene)


def after_a_checkout(scene: Scene) -> None:
    scene.number += 1
    done = scene.amlexec("history", "checkout", scene.earlier[-1], str(scene.out()))
    assert done.code == 0, done.err
    for out in scene.folder.glob("out-*"):
        assert (out / "data.txt").read_text() == "0" * 1000
        assert (out / "train.py").read_text() == (scene.root / "train.py").read_text()
    nothing_is_left(scene)


def after_a_bundle(scene: Scene) -> None:
    scene.number += 1
    done = scene.amlexec("history", "bundle", scene.earlier[-1], str(scene.out()))
    assert done.code == 0, done.err
    for out in scene.folder.glob("out-*"):
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


def boxes(scene: Scene) -> dict[str, str]:
    """The attached machines, with the handles of their secrets."""
    found = {}
    for path in (scene.root / "aml_config").glob("box*.compute"):
        match = re.search(r"amlexec:[0-9a-f]{32}", path.read_text())
        assert match is not None, path.read_text()
        found[path.stem] = match[0]
    return found


def is_whole(scene: Scene, _: str) -> None:
    """The machine is attached, or it is not; and no process is needed to tell whose a secret is."""
    left = {path.name for path in (scene.root / "aml_config").glob("box*")}
    assert {name for name in left if name.endswith(".runconfig")} <= {
        f"{name}.runconfig" for name in boxes(scene)
    }
    stored = {each.handle for each in stored_secrets()}
    assert {*boxes(scene).values()} <= stored, "a machine has lost its secret"


def was_detached(scene: Scene, _: str) -> None:
    name = f"box{scene.number}"
    if (scene.root / f"aml_config/{name}.compute").exists():
        done = scene.amlexec("computetarget", "detach", name)
        assert done.code == 0, done.err
    assert name not in boxes(scene)
    (scene.root / f"aml_config/{name}.runconfig").unlink(missing_ok=True)


def no_store(_: Scene, count: int) -> list[str]:
    shutil.rmtree(keystore.folder(), ignore_errors=True)
    return [""] * count


def is_attached(scene: Scene) -> None:
    done = scene.amlexec("computetarget", "attach", *BOX, "127.0.0.1:1", "-n", f"box{scene.number}", *UNSEEN)
    assert done.code == 0, done.err


def is_still_attached(scene: Scene, last: str) -> None:
    is_whole(scene, last)
    assert f"box{scene.number}" in boxes(scene)


def after_attaching(scene: Scene) -> None:
    assert scene.amlexec("lint").code == 0
    done = scene.amlexec("gc")
    assert done.code == 0, done.err
    no_more_secrets_than_machines(scene)
    scene.number += 1
    done = scene.amlexec("computetarget", "attach", *BOX, "ADDRESS", "-n", f"box{scene.number}")
    assert done.code == 0, done.err
    no_more_secrets_than_machines(scene)
    done = scene.amlexec("computetarget", "check", f"box{scene.number}")
    assert done.code == 0, done.err
    all_are_detached(scene)


def after_attaching_unseen(scene: Scene) -> None:
    assert scene.amlexec("lint").code == 0
    scene.number += 1
    is_attached(scene)
    no_more_secrets_than_machines(scene)
    all_are_detached(scene)


def no_more_secrets_than_machines(scene: Scene) -> None:
    assert sorted(each.handle for each in stored_secrets()) == sorted(boxes(scene).values())


def all_are_detached(scene: Scene) -> None:
    for name in boxes(scene):
        done = scene.amlexec("computetarget", "detach", name)
        assert done.code == 0, done.err
    assert stored_secrets() == []
    nothing_is_left(scene)
    kept = {"passwords", "keys", "hosts", "pending"}
    left = [path for path in keystore.folder().rglob("*") if path.name not in kept]
    assert [path.name for path in left if path.parent.name != "hosts"] == []


def after_registering(scene: Scene) -> None:
    """The model is a version once, whole; and the next one leaves nothing of a killed writer."""
    last = scene.earlier[-1]
    arguments = [word.replace("LAST", last) for word in REGISTER]
    again = scene.amlexec(*arguments)
    assert (again.code, again.out) == (0, "iris:1\n"), again.err
    (version,) = scene.json("model", "list")
    assert (version["problem"], version["tags"]) == (None, {"data": "a"})
    done = scene.amlexec("model", "download", "iris:1", "-d", str(scene.out()))
    assert done.code == 0, done.err
    assert (scene.out() / "model.txt").read_text() == "a model"
    other = scene.amlexec("model", "register", "-n", "iris", "train.py", "--tag", "data=b")
    assert other.out == "iris:2\n", other.err
    assert scene.leftovers() == []


AT_SITES = (
    Flow("submit", SUBMIT, after_a_submit),
    Flow("collect", ("experiment", "status", "-r", "LAST"), after_collecting, 0, ahead=end_alone),
    Flow(
        *("cancel", ("experiment", "cancel", "-r", "LAST"), after_a_cancel, 0),
        ahead=wait,
        after=is_canceled,
    ),
    Flow("clean", ("experiment", "clean", "--all"), after_cleaning, 0, fails=True, before=one_more),
    Flow("rerun", ("experiment", "rerun", "LAST"), after_a_submit),
    Flow("sweep", SWEEP, after_a_sweep, after=sweep_goes_on),
    Flow("gc", ("gc", "--keep-last", "2"), after_a_clean_up, 2, before=one_more),
)
"""What can be done at every site."""
PREPARE = Flow("prepare", ("experiment", "prepare", "-c", "SITE"), after_preparing, 0, before=is_not_prepared)
"""Where the environment is prepared."""
_ATTACH = ("computetarget", "attach", "-n", "BOX", *BOX)
ATTACH = Flow("attach", (*_ATTACH, "ADDRESS"), after_attaching, 0, ahead=no_store, after=is_whole)
"""Where one can log in."""
_KEY = ("computetarget", "attach", "-n", "BOX", "remote", "-u", QUIET, "-k", "-a")
_SECRETS = (
    Flow(
        *("attach-unseen", (*_ATTACH, "127.0.0.1:1", *UNSEEN), after_attaching_unseen, 0),
        ahead=no_store,
        after=is_whole,
        most=1,
    ),
    Flow(
        *("attach-key", (*_KEY, "127.0.0.1:1", *UNSEEN), after_attaching_unseen, 0),
        ahead=no_store,
        after=is_whole,
        most=1,
    ),
    Flow(
        *("attach-again", (*_ATTACH, "127.0.0.1:1", "--force", *UNSEEN), after_attaching_unseen, 0),
        ahead=no_store,
        before=is_attached,
        after=is_still_attached,
    ),
    Flow(
        *("detach", ("computetarget", "detach", "BOX"), after_attaching_unseen, 0),
        ahead=no_store,
        before=is_attached,
        after=was_detached,
    ),
)
"""Of machines that nobody asks."""
HERE = (
    *AT_SITES,
    Flow("checkout", ("history", "checkout", "LAST", "FOLDER"), after_a_checkout),
    Flow("bundle", ("history", "bundle", "LAST", "FOLDER"), after_a_bundle),
    Flow("register", REGISTER, after_registering, most=1),
    *_SECRETS,
)
"""Also what concerns no site."""
