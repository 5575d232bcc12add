"""Runs on another machine: what is sent, and that a lost connection loses nothing."""

from __future__ import annotations

import hashlib
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually, until_printed
from tests.docker.test_import_ahead import IMPORTS
from tests.engines.ssh_host import QUIET
from tests.support.places import PLACES, RemoteProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.hosts import Client, Host

REMOTE = next(place for place in PLACES if place.kind == "remote")
COUNTING = (
    "import sys, time\nfor n in range(400):\n    print('line', n, 'x' * 1000)\n"
    "    print(n, file=sys.stderr)\n    if n % 20 == 0:\n        time.sleep(0.2)\n"
)
COUNTED = "".join(f"line {n} {'x' * 1000}\n" for n in range(400)).encode()


def project_on(host: Host, client: Client, shop: Shop, root: Path) -> RemoteProject:
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    return RemoteProject(root, shop, REMOTE, host)


@pytest.fixture
def project(host: Host, client: Client, shop: Shop, tmp_path: Path) -> RemoteProject:
    """A project on the machine that all tests share."""
    return project_on(host, client, shop, tmp_path / "demo")


def tree_there(project: RemoteProject, run_id: str) -> str:
    """Every file of a run's copy, with mode and digest or target."""
    folder = f"/home/{QUIET}/.amlexec/runs/{run_id}/project"
    return project.host.ssh(
        f"cd {folder} && find . -type f -exec sha256sum {{}} + | sort; find . -type l | sort"
    )


def test_only_what_changed_is_sent_and_the_copy_is_the_project(project: RemoteProject) -> None:
    project.write("train.py", "raise SystemExit(1)\n")  # a failed run keeps its copy
    project.write("big.bin", b"b" * 3_000_000)
    project.write("name with 'quotes' and \n newline", "x")
    project.write("folder/file", "in a folder")
    (project.root / "link").symlink_to("folder/file")
    first = project.submit("train.py")
    assert first.code == 1, first.err
    mirror = f"/home/{QUIET}/.amlexec/projects"
    inode = project.host.ssh(f"stat -c %i {mirror}/demo-*/tree/big.bin")

    (project.root / "name with 'quotes' and \n newline").unlink()
    (project.root / "folder/file").unlink()
    (project.root / "folder").rmdir()
    project.write("folder", "now a file")
    (project.root / "link").unlink()
    project.write("link/deep", "now a folder")
    project.write("new.txt", "new")
    second = project.submit("train.py")
    assert second.code == 1, second.err
    assert project.host.ssh(f"stat -c %i {mirror}/demo-*/tree/big.bin") == inode, "it was not sent again"
    listed = tree_there(project, second.run_id)
    wanted = {}
    for path in project.root.rglob("*"):
        name = path.relative_to(project.root).as_posix()
        if path.is_file() and not name.startswith((".amlexec", "outputs")):
            wanted[f"./{name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert dict(reversed(line.split("  ")) for line in listed.splitlines()) == wanted


def test_plumbum_is_imported_while_the_machine_answers(project: RemoteProject) -> None:
    project.write("train.py", "print('ok')\n")
    submit = ("experiment", "submit", "-c", "remote", "train.py")
    done = project.call(sys.executable, "-c", IMPORTS, *submit)
    assert done.code == 0, done.err
    said = [line for line in done.err.splitlines() if " is imported " in line]
    assert said == ["plumbum is imported aside"]


def test_an_unknown_remote_copy_is_replaced(project: RemoteProject) -> None:
    project.write("train.py", "print('ok')\n")
    assert project.submit("train.py").code == 0
    project.host.ssh(f"for f in /home/{QUIET}/.amlexec/projects/demo-*/id; do echo {'0' * 64} >$f; done")
    done = project.submit("train.py")
    assert done.code == 0, done.err


def test_the_connection_is_lost_and_restored_while_following(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("train.py", COUNTING)
    with (tmp_path / "out").open("wb") as out:
        command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "remote", "train.py")
        process = project.start(*command, stdout=out)
        until_printed(tmp_path / "out", b"line 20 ")
        for _ in range(3):
            # sshd's processes for this client end; the run is not one of them.
            host.ssh("for p in $(pgrep -u remo sshd); do kill -9 $p; done; true")
            size = (tmp_path / "out").stat().st_size
            eventually(
                lambda size=size: (tmp_path / "out").stat().st_size > size or process.poll() is not None,
                "following goes on",
            )
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    (run_id,) = project.run_ids()
    assert (project.run_folder(run_id) / "stdout.log").read_bytes() == COUNTED
    assert COUNTED in (tmp_path / "out").read_bytes()
    assert b"the connection was lost" in err
    assert project.record(run_id)["status"] == "Completed"


def test_a_machine_that_does_not_answer_changes_no_status(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("train.py", "print('begun', flush=True)\nimport time\ntime.sleep(600)\n")
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    host.kill()
    asked = project.amlexec("experiment", "status", "-r", run_id)
    assert asked.code == 2, asked.out
    assert "Traceback" not in asked.err
    assert project.record(run_id)["status"] not in {"Failed", "Lost", "Completed"}
    host.start()
    found = project.amlexec("experiment", "status", "-r", run_id)
    assert found.code == 0, found.err
    assert "Lost" in found.out, "it was started again, and no end had been written"


def test_a_run_whose_folder_was_removed_is_lost(project: RemoteProject) -> None:
    project.write("train.py", "print('begun', flush=True)\nimport time\ntime.sleep(600)\n")
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    leader = project.host.ssh(f"cut -d' ' -f1 /home/{QUIET}/.amlexec/runs/{run_id}/control/script").strip()
    project.host.ssh(f"rm -rf /home/{QUIET}/.amlexec/runs/{run_id}; kill -9 -{leader}")
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert done.code == 0, done.err
    assert "Lost" in done.out
    assert "no longer on" in project.record(run_id)["reason"]


def test_missing_remote_python(project: RemoteProject) -> None:
    project.write("train.py", "")
    project.write("aml_config/remote.compute", project.compute().replace("python3", "/nowhere/python"))
    done = project.submit("train.py")
    assert done.code == 3
    assert "remote.compute" in done.err
    assert "/nowhere/python" in done.err
    assert project.run_ids() == []


def test_secrets_reach_the_script_and_nothing_else(project: RemoteProject) -> None:
    canary = "canary-7d1f3a"
    project.configure("EnvironmentVariables:", f"  MY_TOKEN: {canary}")
    project.write(
        "train.py",
        "import hashlib, os, time\nprint(hashlib.sha256(os.environ['MY_TOKEN'].encode()).hexdigest())\n"
        "open('outputs.txt', 'w').close()\nraise SystemExit(3)\n",
    )
    done = project.submit("train.py")
    assert hashlib.sha256(canary.encode()).hexdigest() in done.out
    found = project.host.ssh(f"grep -rl {canary} /home/{QUIET}/.amlexec/runs/{done.run_id}/control || true")
    assert found == ""
    for path in project.run_folder(done.run_id).rglob("*"):
        assert not path.is_file() or canary.encode() not in path.read_bytes(), path


def test_only_its_own_project_can_stop_and_remove_a_run(
    project: RemoteProject, host: Host, client: Client, shop: Shop, tmp_path: Path
) -> None:
    project.write("train.py", "print('begun')\nimport time\ntime.sleep(1000)\n")
    run_id = project.submit("--async", "train.py").run_id
    # An untrusted project may contain the same run as its own.
    stranger = project_on(host, client, shop, tmp_path / "stranger")
    shutil.copytree(project.run_folder(run_id), stranger.run_folder(run_id))
    refused = stranger.amlexec("experiment", "cancel", "-r", run_id)
    assert refused.code == 2
    assert f"the run {run_id} on the machine was not submitted from this project" in refused.err
    assert project.amlexec("experiment", "status", "-r", run_id).out.split()[1] == "Running"
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0")
    assert done.code == 0, done.err
    assert done.out.split()[1] == "Canceled"
    there = f"test -d /home/{QUIET}/.amlexec/runs/{run_id} && echo there || echo gone"
    cleaned = stranger.amlexec("experiment", "clean", "-r", run_id)
    assert cleaned.code == 2, cleaned.err
    assert host.ssh(there).strip() == "there"
    assert project.amlexec("experiment", "clean", "-r", run_id).code == 0
    assert host.ssh(there).strip() == "gone"
