"""What travels into a run, on another machine: it is whole, or mended; who has to wait for whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
import tracemalloc
from typing import IO, TYPE_CHECKING, cast

import pytest

from amlexec.config import load as config
from amlexec.history.paths import RunPaths
from amlexec.runtime import HERE, SERVING
from amlexec.snapshots import take as snapshot
from amlexec.snapshots import transfer
from amlexec.targets import ssh_send, ssh_verbs
from tests.conftest import PATIENCE, ProjectFolder
from tests.engines.ssh_host import QUIET
from tests.runtime.test_shell import DETACHED, STRANGE, TELL
from tests.support.places import PLACES, RemoteProject, Shop, alive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import Client, Host

REMOTE = next(place for place in PLACES if place.kind == "remote")
BASE = f"/home/{QUIET}/.amlexec"
SUBMIT = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "remote")


@pytest.fixture
def project(host: Host, client: Client, shop: Shop, tmp_path: Path) -> RemoteProject:
    """A project on the machine that all tests share, with a name that no other test has."""
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    return RemoteProject(tmp_path / f"demo{os.urandom(4).hex()}", shop, REMOTE, host)


def test_variables_of_a_script_do_not_change_how_it_is_started(project: RemoteProject) -> None:
    project.write("train.py", f"NAMES = {[*STRANGE, 'AMLEXEC_SET_0']}\n{TELL}")
    lines = [
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in STRANGE.items()
    ]
    project.configure("EnvironmentVariables:", *lines)
    done = project.submit("train.py")
    assert done.code == 0, done.err
    said = json.loads((project.run_folder(done.run_id) / "stdout.log").read_text())
    assert said == {**STRANGE, "AMLEXEC_SET_0": None}


def test_cancel_ends_what_has_left_its_session(project: RemoteProject) -> None:
    token = f"token-{os.getpid()}-{time.monotonic_ns()}"
    project.write("train.py", DETACHED.replace("TOKEN", token))
    run_id = project.submit("--async", "train.py", "wait").run_id
    project.begun(run_id)
    project.host.ssh(f"kill -STOP $(cut -d' ' -f1 {BASE}/runs/{run_id}/control/supervisor)")
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1")
    assert (done.code, done.out) == (0, f"{run_id}  Canceled\n"), done.err
    assert not alive(token)


def test_what_was_changed_on_the_machine_is_not_run(project: RemoteProject) -> None:
    project.write("train.py", "print(open('folder/data').read())\n")
    project.write("folder/data", "of here")
    project.write("empty", "")
    assert project.submit("train.py").code == 0
    name = project.root.name
    mirror = project.host.ssh(f"echo {BASE}/projects/{name}-*/tree").strip()
    # As long as it was, and at its time; another mode; gone; one more; and under another snapshot's name.
    changes = (
        "touch -r folder/data /tmp/at; printf 'altered' >folder/data; touch -r /tmp/at folder/data",
        "touch folder/__init__.py",
        "mv empty other",
        "rm train.py && ln -s folder/data train.py",
    )
    for number, change in enumerate(changes):
        project.host.ssh(f"cd {mirror} && {change}", QUIET)
        if number % 2:
            project.write("empty", str(number))
        done = project.submit("train.py")
        assert (done.code, (project.run_folder(done.run_id) / "stdout.log").read_bytes()) == (0, b"of here\n")
    there = project.host.ssh(f"cd {mirror}; find . | sort; stat -c %A train.py").split()
    assert there[-1] == "-rwx------" or there[-1].startswith("-rw"), there
    assert "./folder/__init__.py" not in there


def test_what_is_missing_of_the_runtime_is_sent_again(project: RemoteProject) -> None:
    project.write("train.py", "import azureml.logging, amlexec.run\nprint('ok')\n")
    assert project.submit("train.py").code == 0
    runtime = f"{BASE}/runtime/{ssh_verbs.runtime_digest()}"
    for damage in (
        f"rm {runtime}/supervisor.sh",
        f"echo 'look() {{ echo; }}' >>{runtime}/host.sh",
        f"rm -r {runtime}/site/azureml; : >{runtime}/site/amlexec/run.py; : >{runtime}/site/amlexec/more.py",
    ):
        project.host.ssh(damage, QUIET)
        before = time.monotonic()
        done = project.submit("train.py")
        assert done.code == 0, (damage, done.err)
        assert time.monotonic() - before < 25
    listing = "find . -name '*.pyc' -o -type f -print | LC_ALL=C sort"
    there = project.host.ssh(f"cd {runtime} && {listing}").split()
    assert there == sorted(
        f"./{path.relative_to(HERE).as_posix()}"
        for suffix in ("sh", "py")
        for path in HERE.rglob(f"*.{suffix}")
        if not path.is_relative_to(SERVING)
    )


def test_many_submits_at_once_wait_for_each_other(project: RemoteProject) -> None:
    for number in range(200):
        project.write(f"data/{number}", str(number))
    project.write("train.py", "import os, sys\nprint(sys.argv[1], len(os.listdir('data')))\n")
    processes = [project.start(*SUBMIT, "train.py", str(number)) for number in range(8)]
    for number, process in enumerate(processes):
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert f"{number} 200\n".encode() in out
    name = project.root.name
    assert project.host.ssh(f"ls {BASE}/projects/{name}-*").split() == ["id", "tree"]


def test_whoever_has_the_lock_is_waited_for_as_long_as_it_lives(project: RemoteProject) -> None:
    project.write("train.py", "print('ok')\n")
    assert project.submit("train.py").code == 0
    folder = project.host.ssh(f"echo {BASE}/projects/{project.root.name}-*").strip()
    runtime = f"{BASE}/runtime/{ssh_verbs.runtime_digest()}"
    project.host.ssh(
        f"mkdir {folder}/lock; (sleep 600 >/dev/null 2>&1 & . {runtime}/identity.sh; identify $!; "
        f"echo $! $identity $(uname -n) >{folder}/lock/pid)",
        QUIET,
    )
    process = project.start(*SUBMIT, "train.py")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line == b"remote: waiting: another submission sends the project\n"
    assert process.poll() is None
    project.host.ssh(f"kill $(cut -d' ' -f1 {folder}/lock/pid)")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


def verb(home: Path, call: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of host.sh with a home on this machine."""
    text = "".join((HERE / name).read_text("utf-8") for name in ("identity.sh", "host.sh"))
    return subprocess.run(
        ["sh", "-c", f"{text}\n{call}"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        input="record=x\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_a_supervisor_that_can_not_begin_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / ".amlexec/runs/demo_1/control").mkdir(parents=True)
    (tmp_path / ".amlexec/runs/demo_1/project").mkdir()
    before = time.monotonic()
    done = verb(tmp_path, f"begin demo_1 none {sys.executable} true")
    assert done.returncode == 2
    assert "its supervisor ended at once" in done.stderr
    assert "supervisor.sh" in done.stderr
    assert time.monotonic() - before < 10


class Sink:
    """Counts what is written."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


def test_a_large_file_is_never_in_memory(project_here: ProjectFolder) -> None:
    size = 96 << 20
    with (project_here.root / "zeros").open("wb") as file:
        file.truncate(size)
    noise = os.urandom(1 << 20) * 24
    project_here.write("noise", noise)
    project_here.write("small", "x")
    found = config.find_project(str(project_here.root))
    tree = snapshot.take(found).tree
    changes = transfer.difference(found, "", tree)
    assert changes is not None
    add = ssh_send.run_of(RunPaths(project_here.write("run/run.json", "{}").parent))
    sink = Sink()
    tracemalloc.start()
    try:
        ssh_send.pack(found, changes, add, cast("IO[bytes]", sink), runtime=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.size > size + len(noise)
    assert peak < 24 << 20
    with (project_here.root.parent / "sent").open("wb") as sent:
        ssh_send.pack(found, changes, add, sent, runtime=False)
    with tarfile.open(project_here.root.parent / "sent") as archive:
        read = archive.extractfile("tree/noise")
        assert read is not None
        assert read.read() == noise


@pytest.fixture
def project_here(tmp_path: Path) -> ProjectFolder:
    """A project with a local target."""
    return ProjectFolder(tmp_path / "demo")
