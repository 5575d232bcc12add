"""Faults with runs on another machine: one clear error, the right exit code, nothing lost or incomplete."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually
from tests.engines import places
from tests.engines.ssh_host import QUIET
from tests.support.places import PLACES, RemoteProject, alive
from tests.support.wires import DOWN, UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Done
    from tests.support.hosts import Client, Host
    from tests.support.places import Shop
    from tests.support.wires import Wire

REMOTE = next(place for place in PLACES if place.kind == "remote")
BASE = f"/home/{QUIET}/.amlexec"
WAITING = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"
AMLEXEC = (sys.executable, "-m", "amlexec")


def project_on(host: Host, client: Client, shop: Shop, root: Path, address: str = "") -> RemoteProject:
    """A project on a machine, at `address` if it is given."""
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    project = RemoteProject(root, shop, REMOTE, host)
    if address:
        project.write("aml_config/remote.compute", project.compute().replace(host.address, address))
    return project


@pytest.fixture
def project(host: Host, client: Client, shop: Shop, tmp_path: Path) -> RemoteProject:
    """A project on the machine that all tests share."""
    return project_on(host, client, shop, tmp_path / "demo")


class Wired:
    """A project on the shared machine behind a proxy, with a unique name."""

    def __init__(self, host: Host, client: Client, shop: Shop, wire: Wire, root: Path) -> None:
        self.host, self.client, self.wire = host, client, wire
        self.project = project_on(host, client, shop, root, wire.address)

    def ready(self) -> None:
        """Close all connections, and repair the proxy."""
        self.client.hang_up()
        self.wire.mend()

    def there(self) -> dict[str, list[str]]:
        """The project's files on the machine: its runs, and the files beside its copy."""
        name = self.project.root.name
        runs = self.host.ssh(f"ls {BASE}/runs | grep ^{name}_ || :").split()
        return {"runs": runs, "copy": self.host.ssh(f"ls {BASE}/projects/{name}-* 2>/dev/null || :").split()}


@pytest.fixture
def wired(host: Host, client: Client, shop: Shop, new_wire: Callable[[Host], Wire], tmp_path: Path) -> Wired:
    """See `Wired`."""
    return Wired(host, client, shop, new_wire(host), tmp_path / f"wired{os.urandom(4).hex()}")


def one_error(done: Done, code: int = 2) -> str:
    """The only error of a command."""
    assert done.code == code, done.out + done.err
    assert "Traceback" not in done.err
    errors = [line for line in done.err.splitlines() if "error: " in line]
    assert len(errors) == 1, done.err
    return errors[0]


def only(project: RemoteProject) -> str:
    """The id of the only run."""
    (run_id,) = project.run_ids()
    return run_id


def noise(size: int) -> bytes:
    """Bytes that can't be compressed."""
    return random.Random(size).randbytes(size)


# ---------------------------------------------------------------- logins that are refused


def test_a_firewall_that_drops(project: RemoteProject) -> None:
    if not (shutil.which("ip") and os.geteuid() == 0):
        assert not places.is_required("iproute2"), (
            "nothing may be skipped here: install iproute2, run as root"
        )
        pytest.skip("a network of its own needs root and the command ip: apt install iproute2")
    project.write("train.py", "")
    project.write(
        "aml_config/remote.compute", project.compute().replace(project.host.address, "10.9.9.9:2222")
    )
    # A network in which packets to this address are dropped.
    alone = 'ip link set lo up && ip route add 10.9.9.9 dev lo && exec "$@"'
    command = ("unshare", "-n", "sh", "-c", alone, "sh", *AMLEXEC, "experiment", "submit", "-c", "remote")
    done = project.call(*command, "train.py")
    assert "timed out" in one_error(done)
    assert project.run_ids() == []


def test_an_account_that_has_expired(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    client.hang_up()
    host.ssh(f"chage -E 1 {QUIET}")
    asked = project.amlexec("experiment", "status", "-r", run_id)
    assert "remote: error: " in one_error(asked)
    assert "unreachable" in asked.out
    assert one_error(project.submit("train.py"))
    assert project.run_ids() == [run_id]
    host.ssh(f"chage -E -1 {QUIET}")
    assert project.amlexec("experiment", "cancel", "-r", run_id).code == 0


# ---------------------------------------------------------------- disks of the machine


def owned(host: Host) -> None:
    """Give a home that was mounted to its user."""
    host.ssh(f"chown {QUIET} /home/{QUIET}")


def fill(host: Host, spare: int) -> None:
    """Fill the user's disk up to so many kB."""
    host.ssh(
        f"cd /home/{QUIET}; cat /dev/zero >filler 2>/dev/null; "
        f"truncate -s $(($(stat -c %s filler) - {spare * 1024})) filler; chmod 666 filler"
    )


@pytest.mark.parametrize("spare", [0, 16, 120, 600])
def test_a_full_disk_while_a_run_is_made_ready(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path, spare: int
) -> None:
    """With `spare` kB left: too few for anything, the runtime, the snapshot, or the run's copy."""
    host = new_host(Tmpfs={f"/home/{QUIET}": "size=6m,mode=755"})
    owned(host)
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("data", noise(400_000))
    project.write("train.py", "print('ok')\n")
    fill(host, spare)
    done = project.submit("train.py")
    message = one_error(done)
    assert "remote: error: " in message
    assert "make room there" in done.err
    assert project.record(only(project))["status"] == "Failed"
    left = host.ssh(f"cd /home/{QUIET}; ls -A .amlexec/runs .amlexec/projects/* 2>/dev/null || :").split()
    assert not [name for name in left if name.startswith("demo_") or name in {"incoming", "run", "lock"}]
    host.ssh(f"rm /home/{QUIET}/filler")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "ok\n" in done.out


def test_a_disk_that_a_script_fills(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host(Tmpfs={f"/home/{QUIET}": "size=6m,mode=755"})
    owned(host)
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write(
        "train.py",
        "import os\nprint('begun', flush=True)\nos.makedirs('outputs', exist_ok=True)\n"
        "with open('outputs/kept', 'wb') as file:\n    file.write(b'k' * 100000)\n"
        "with open('outputs/x', 'wb', 0) as file:\n    while True:\n        file.write(bytes(4096))\n",
    )
    done = project.submit("train.py")
    # The end is written, and all files are collected from a disk that is still full.
    assert one_error(done, 1)
    record = project.record(only(project))
    assert (record["status"], record["exit_code"]) == ("Failed", 1)
    home = project.run_folder(record["run_id"])
    assert (home / "outputs/kept").read_bytes() == b"k" * 100000
    assert (home / "stdout.log").read_bytes() == b"begun\n"
    full = int(host.ssh(f"stat -c %s {BASE}/runs/{record['run_id']}/project/outputs/x"))
    assert (home / "outputs/x").stat().st_size == full
    cleaned = project.amlexec("experiment", "clean", "-r", "last")
    assert cleaned.code == 0, cleaned.err
    assert cleaned.err == "1 copy of the project removed: 1 on remote\n"
    again = project.amlexec("experiment", "clean", "-r", "last")
    assert again.err == "0 copies of the project removed\n"
    project.write("train.py", "print('ok')\n")
    assert project.submit("train.py").code == 0


def test_a_full_local_disk_while_a_run_is_collected(
    host: Host, client: Client, shop: Shop, small_disk: Path
) -> None:
    project = project_on(host, client, shop, small_disk / "demo")
    project.write(
        "train.py",
        "import os\nos.makedirs('outputs', exist_ok=True)\n"
        "open('outputs/x', 'wb').write(b'x' * 3000000)\nprint('done')\n",
    )
    (small_disk / "filler").write_bytes(bytes(2_000_000))
    done = project.submit("train.py")
    assert "could not be recorded" in one_error(done)
    assert project.record(only(project))["status"] not in {"Failed", "Lost"}
    (small_disk / "filler").unlink()
    again = project.amlexec("experiment", "return", "-r", "last")
    assert again.code == 0, again.err
    assert project.record(only(project))["outputs"] == {"files": 1, "bytes": 3_000_000}


def test_a_home_that_is_read_only(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host(Tmpfs={f"/home/{QUIET}": "ro,size=1m"})
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("train.py", "print('ok')\n")
    assert "read-only file system" in one_error(project.submit("train.py")).lower()
    assert project.record(only(project))["status"] == "Failed"


def test_disks_on_which_nothing_can_be_executed(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host(Tmpfs={f"/home/{QUIET}": "size=8m,mode=755,noexec", "/tmp": "size=1m,noexec"})
    owned(host)
    project = project_on(host, client, shop, tmp_path / "demo")
    project.write("train.py", "print('ok')\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err


# ---------------------------------------------------------------- a connection that is cut


def test_a_cut_while_a_target_is_attached(wired: Wired) -> None:
    target = ("computetarget", "attach", "remote", "-n", "box", "-u", QUIET, "-a", wired.wire.address)
    for count in (0, 1000, 3000):
        wired.wire.cut_after(count, DOWN)
        assert "box" in one_error(wired.project.amlexec(*target))
        assert not (wired.project.configuration / "box.compute").exists()
        assert not (wired.project.configuration / "box.runconfig").exists()
    wired.ready()
    done = wired.project.amlexec(*target)
    assert done.code == 0, done.err


def test_a_cut_while_a_project_is_sent(wired: Wired) -> None:
    wired.project.write("data", noise(2_000_000))
    wired.project.write("train.py", "print('ok')\nimport sys\nsys.exit(1)\n")
    wired.wire.cut_after(1_000_000, UP)
    assert "remote: error: " in one_error(wired.project.submit("train.py"))
    assert wired.project.record(only(wired.project))["status"] == "Failed"
    eventually(lambda: set(wired.there()["copy"]) <= {"tree"}, "what was sent by halves is taken away", 0.1)
    assert wired.there()["runs"] == []
    wired.ready()
    done = wired.project.submit("train.py")
    assert done.code == 1, done.err
    copy = wired.host.ssh(f"sha256sum {BASE}/runs/{done.run_id}/project/data").split()[0]
    assert copy == hashlib.sha256(noise(2_000_000)).hexdigest()


def marking(wired: Wired) -> str:
    """Give the project a script that leaves a file on the machine when it runs; the path of that."""
    mark = f"/home/{QUIET}/mark-{wired.project.root.name}"
    wired.project.write("train.py", "import os\nopen(os.environ['MARK'], 'w').close()\nprint('ok')\n")
    wired.project.configure("EnvironmentVariables:", f"  MARK: {mark}")
    return mark


def test_a_cut_while_a_run_is_started(wired: Wired) -> None:
    project, mark = wired.project, marking(wired)
    for _ in range(2):  # from the second time on, all submissions say as much
        project.write("data", os.urandom(30_000))
        wired.ready()
        assert project.submit("--async", "train.py").code == 0
        whole = wired.wire.passed[UP]
        # Its mark must not come later than it is removed.
        assert project.amlexec("experiment", "follow", "-r", "last").code == 0
    seen = set()
    for left in (25_000, 12_000, 4000, 2500, 1500, 900):
        project.write("data", os.urandom(30_000))
        wired.host.ssh(f"rm -f {mark}")
        wired.client.hang_up()
        wired.wire.cut_after(whole - left, UP)
        known = set(project.run_ids())
        assert "remote: error: " in one_error(project.submit("--async", "train.py"))
        wired.ready()
        (run_id,) = set(project.run_ids()) - known
        if project.record(run_id)["status"] == "Starting":
            project.amlexec("experiment", "follow", "-r", run_id)
        status = project.record(run_id)["status"]
        begun = wired.host.ssh(f"ls {mark} 2>/dev/null || :") != ""
        assert status in ({"Completed"} if begun else {"Failed", "Lost"}), left
        seen.add(status)
    assert {"Failed", "Lost"} <= seen


def test_a_cut_when_only_we_do_not_know_that_it_has_begun(wired: Wired) -> None:
    project, mark = wired.project, marking(wired)
    wired.ready()
    wired.wire.delay = 0.1
    process = project.start(*AMLEXEC, "experiment", "submit", "-c", "remote", "train.py")
    folder = project.root / ".amlexec/runs"
    eventually(
        lambda: any('"Starting"' in path.read_text() for path in folder.glob("[!.]*/run.json")),
        "the run is about to start",
    )
    # The answer is on its way for longer than it takes to see that the script has begun.
    wired.wire.delay = 2.0
    wired.host.until(f"[ -e {mark} ]")
    wired.wire.cut()
    _, err = process.communicate(timeout=PATIENCE)
    run_id = only(project)
    assert process.returncode == 2, err
    assert f"it may have begun: amlexec experiment status -r {run_id}" in err.decode()
    assert project.record(run_id)["status"] == "Starting"
    wired.wire.delay = 0
    wired.ready()
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] == "Completed"


def test_a_cut_while_a_run_comes_home(wired: Wired) -> None:
    wired.project.write(
        "train.py",
        "import os\nos.makedirs('outputs', exist_ok=True)\n"
        "open('outputs/x', 'wb').write(__import__('random').Random(1).randbytes(3000000))\nprint('done')\n",
    )
    wired.ready()
    wired.wire.cut_after(1_000_000, DOWN)
    done = wired.project.submit("train.py")
    message = one_error(done)
    assert "the connection was lost" in message, message
    run_id = only(wired.project)
    assert f"amlexec experiment return -r {run_id}" in done.err
    assert wired.project.record(run_id)["status"] not in {"Failed", "Lost", "Completed"}
    assert not (wired.project.run_folder(run_id) / "incoming").exists()
    wired.ready()
    again = wired.project.amlexec("experiment", "return", "-r", run_id)
    assert again.code == 0, again.err
    assert wired.project.record(run_id)["status"] == "Completed"
    came = (wired.project.run_folder(run_id) / "outputs/x").read_bytes()
    assert came == random.Random(1).randbytes(3_000_000)


def test_a_long_wire_with_many_cuts_loses_no_byte(wired: Wired) -> None:
    wired.project.write(
        "train.py",
        "import random, sys, time\nfor n in range(60):\n"
        "    sys.stdout.buffer.write(random.Random(n).randbytes(20000))\n"
        "    sys.stderr.buffer.write(b'%d\\n' % n)\n    sys.stdout.flush()\n    time.sleep(0.1)\n",
    )
    wired.ready()
    wired.wire.delay = 0.025
    shown = wired.project.root.parent / "shown"
    with shown.open("wb") as out:
        command = (*AMLEXEC, "experiment", "submit", "-c", "remote", "train.py")
        process = wired.project.start(*command, stdout=out)
    # Its folder is made beside, and gets its name with its record in it.
    eventually(lambda: any(name[0] != "." for name in wired.project.run_ids()), "the run is recorded")
    log = wired.project.run_folder(only(wired.project)) / "stdout.log"
    for n in range(1, 4):
        eventually(
            lambda n=n: (log.exists() and log.stat().st_size > n * 250_000) or process.poll() is not None,
            "following goes on",
        )
        wired.wire.mend()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    printed = b"".join(random.Random(n).randbytes(20000) for n in range(60))
    assert log.read_bytes() == printed
    assert printed in shown.read_bytes()
    assert (log.parent / "stderr.log").read_bytes() == b"".join(b"%d\n" % n for n in range(60))


def test_two_who_follow_one_run_write_one_log(project: RemoteProject) -> None:
    project.write(
        "train.py", "import time\nfor n in range(3000):\n    print(n, 'x' * 500)\n    time.sleep(0.001)\n"
    )
    run_id = project.submit("--async", "train.py").run_id
    together = [project.start(*AMLEXEC, "experiment", "follow", "-r", run_id) for _ in range(3)]
    printed = "".join(f"{n} {'x' * 500}\n" for n in range(3000)).encode()
    for process in together:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert printed in out
    assert (project.run_folder(run_id) / "stdout.log").read_bytes() == printed


# ---------------------------------------------------------------- a client that is killed


@pytest.mark.parametrize(("phase", "count"), [("transfer", 1_000_000), ("collect", 1_000_000)])
def test_a_client_that_is_killed(wired: Wired, phase: str, count: int) -> None:
    project = wired.project
    project.write("data", noise(2_000_000))
    project.write(
        "train.py",
        "import os, shutil\nos.makedirs('outputs', exist_ok=True)\n"
        "shutil.copy('data', 'outputs')\nprint('ok')\n",
    )
    wired.ready()
    wired.wire.jam_after(count, UP if phase == "transfer" else DOWN)
    process = project.start(*AMLEXEC, "experiment", "submit", "-c", "remote", "train.py")
    assert wired.wire.spent.wait(PATIENCE)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wired.ready()
    run_id = only(project)
    asked = project.amlexec("experiment", "status", "-r", run_id)
    assert asked.code == 0, asked.err
    if phase == "transfer":
        assert asked.out == f"{run_id}  Lost  (amlexec ended before the script began)\n"
        eventually(
            lambda: set(wired.there()["copy"]) <= {"tree"}, "what was sent by halves is taken away", 0.1
        )
        assert wired.there()["runs"] == []
    else:
        assert asked.out == f"{run_id}  Completed\n"
        home = project.run_folder(run_id)
        assert (home / "outputs/data").read_bytes() == noise(2_000_000)
        assert (home / "stdout.log").read_bytes() == b"ok\n"
        assert not (home / "incoming").exists()
    assert project.submit("train.py").code == 0


# ---------------------------------------------------------------- processes of the machine that are killed


@pytest.mark.parametrize(
    ("victim", "status", "reason"),
    [
        ("supervisor", "Lost", "its supervisor ended first"),
        ("script", "Failed", "exit code 137, probably killed by SIGKILL"),
    ],
)
def test_a_process_of_the_run_that_is_killed_there(
    project: RemoteProject, victim: str, status: str, reason: str
) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    control = f"{BASE}/runs/{run_id}/control"
    project.host.ssh(f"kill -9 $(cut -d' ' -f1 {control}/{victim})")
    if victim == "supervisor":
        assert project.amlexec("experiment", "status", "-r", run_id).out == f"{run_id}  Running\n"
        project.host.ssh(f"kill -9 $(cut -d' ' -f1 {control}/script)")
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert one_error(done, 2 if status == "Lost" else 1)
    record = project.record(run_id)
    assert record["status"] == status
    assert reason in record["reason"]
    assert (project.run_folder(run_id) / "stdout.log").read_bytes() == b"begun\n"


@pytest.mark.parametrize("what", ["killed", "restarted", "nameless"])
def test_a_lock_that_somebody_has_left(project: RemoteProject, what: str) -> None:
    project.write("train.py", "print('ok')\n")
    assert project.submit("train.py").code == 0
    folder = project.host.ssh(f"ls -td {BASE}/projects/demo-* | head -n 1").strip()
    said = {"killed": "4194999 1/2", "restarted": "1 12345/another-boot", "nameless": ""}[what]
    name = f"echo {said} >{folder}/lock/pid;" if said else ""
    project.host.ssh(f"mkdir {folder}/lock {folder}/incoming; {name} chown -R {QUIET} {folder}")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert project.host.ssh(f"ls {folder}").split() == ["id", "tree"]


def test_submits_at_once_to_a_machine_that_nobody_has_used(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    projects = [project_on(host, client, shop, tmp_path / name / "demo") for name in ("a", "b")]
    for project in projects:
        project.write("train.py", f"print('of {project.root.parent.name}')\n")
        project.write("data", noise(300_000))
    command = (*AMLEXEC, "experiment", "submit", "-c", "remote", "train.py")
    together = [(project, project.start(*command)) for project in projects for _ in range(2)]
    for project, process in together:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert f"of {project.root.parent.name}\n".encode() in out
    assert host.ssh(f"ls {BASE}/runs; ls -d {BASE}/projects/*/[!it]* 2>/dev/null || :") == "", (
        "nothing is left"
    )


# ---------------------------------------------------------------- odd machines, odd scripts

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, at);
    if (id == CLOCK_REALTIME) at->tv_sec += OFF;
    return code;
}
time_t time(time_t *out) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}
"""


@pytest.mark.parametrize("hours", [-2, 2])
def test_clocks_that_are_two_hours_apart(project: RemoteProject, tmp_path: Path, hours: int) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        assert not places.is_required("gcc"), "nothing may be skipped here: install gcc"
        pytest.skip("another clock needs a C compiler: apt install gcc libc6-dev")
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    command = [compiler, "-shared", "-fPIC", f"-DOFF={hours * 3600}", "-o", str(library), "clock.c", "-ldl"]
    subprocess.run(command, cwd=tmp_path, check=True)
    # It is this side's clock that is wrong, of every program here; the machine's is as it was.
    wrong = {**os.environ, "LD_PRELOAD": str(library)}
    project.write("train.py", "import time\nprint('begun', flush=True)\ntime.sleep(1)\n")
    first = project.submit("train.py", env=wrong)
    assert first.code == 0, first.err
    record = project.record(first.run_id)
    apart = _hours(record["start_time_utc"]) - _hours(record["created_utc"])
    assert abs((apart + hours + 12) % 24 - 12) < 0.1, "the machine's times are the machine's"
    assert record["start_time_utc"] < record["end_time_utc"]
    second = project.submit("--async", "train.py", env=wrong)
    assert project.amlexec("experiment", "follow", "-r", second.run_id, env=wrong).code == 0
    done = project.amlexec("computetarget", "check", "remote", env=wrong)
    assert "120 min" in done.out or "2 h" in done.out or "2.0 h" in done.out, done.out


def _hours(moment: str) -> float:
    return int(moment[11:13]) + int(moment[14:16]) / 60


def test_an_output_that_is_larger_than_the_memory_that_it_may_take(project: RemoteProject) -> None:
    size = 1 << 28
    project.write(
        "train.py",
        "import os\nos.makedirs('outputs', exist_ok=True)\nwith open('outputs/big', 'wb') as file:\n"
        f"    file.truncate({size})\n    file.seek({size - 4})\n    file.write(b'last')\n",
    )
    measured = (
        "import resource, subprocess, sys\ncode = subprocess.run(sys.argv[1:]).returncode\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(code)\n"
    )
    submit = (*AMLEXEC, "experiment", "submit", "-c", "remote", "train.py")
    process = project.start(sys.executable, "-c", measured, *submit)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert int(out.split()[-1]) << 10 < size / 2, "it goes through, not into memory"
    big = project.run_folder(only(project)) / "outputs/big"
    assert big.stat().st_size == size
    with big.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"last"
    big.unlink()


def test_names_and_arguments_with_every_byte(project: RemoteProject) -> None:
    every = bytes(range(1, 256))
    name = every.replace(b"/", b"").replace(b".", b"").decode("utf-8", "surrogateescape")
    project.write(
        "train.py",
        "import os, sys\nsent = os.fsencode(sys.argv[1])\nos.makedirs('outputs', exist_ok=True)\n"
        "open(b'outputs/' + sent.replace(b'/', b''), 'wb').write(sent)\n"
        "[found] = [each for each in os.listdir(b'.') if len(each) > 200]\n"
        "open('outputs/name', 'wb').write(found + b'=' + open(found, 'rb').read())\nsys.exit(1)\n",
    )
    Path(project.root, name).write_bytes(b"of the file")
    argument = every.decode("utf-8", "surrogateescape")
    done = project.submit("train.py", argument, "", "-n", "$(id)", "*")
    assert done.code == 1, done.err
    home = project.run_folder(done.run_id)
    assert (home / "outputs/name").read_bytes() == os.fsencode(name) + b"=of the file"
    written = Path(os.fsdecode(bytes(home / "outputs") + b"/" + every.replace(b"/", b"")))
    assert written.read_bytes() == every
    record = project.amlexec("history", "info", "-r", "last", "-o", "json")
    assert record.code == 0, record.err
    assert project.amlexec("history", "list", "--from", "remote").code == 0


def test_a_script_that_ignores_term_is_ended_from_elsewhere(project: RemoteProject) -> None:
    token = f"602.{os.getpid()}{random.randrange(10**6)}"
    project.write(
        "train.py",
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', sys.argv[1]])\nprint('begun', flush=True)\ntime.sleep(600)\n",
    )
    run_id = project.submit("--async", "train.py", token).run_id
    project.begun(run_id)
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0", "--from", "remote")
    assert done.code == 0, done.err
    assert "Canceled" in done.out
    assert not alive(token)
