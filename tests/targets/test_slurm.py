"""Runs on a Slurm cluster, where it differs from a machine: the queue, several nodes, and ends by Slurm."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually
from tests.engines.slurm_versions import has_accounting
from tests.engines.ssh_host import QUIET
from tests.support.places import Place, Shop
from tests.support.slurm import SMALL, Lab, SlurmProject

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.hosts import Client
    from tests.support.slurm import SlurmHead

RANKS = """\
import json, os, sys
from azureml.logging import get_azureml_logger
names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR".split()
print(json.dumps([os.uname().nodename, *[os.environ[name] for name in names]]), flush=True)
get_azureml_logger().log("rank", int(os.environ["RANK"]))
os.makedirs("outputs", exist_ok=True)
open("outputs/of-%s.txt" % os.environ["RANK"], "w").close()
"""
FAILING = """\
import time
if os.environ["RANK"] == "3":
    # The others are ended when one fails.
    while len([name for name in os.listdir("outputs") if name.startswith("of-")]) < 4:
        time.sleep(0.05)
    sys.exit("no luck")
"""
MPI = """\
import ctypes, os
mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
def handle(name):
    return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, name)))
mpi.MPI_Init(None, None)
one, total = ctypes.c_int(int(os.environ["RANK"]) + 1), ctypes.c_int()
whole = (ctypes.byref(one), ctypes.byref(total), 1, handle("ompi_mpi_int"), handle("ompi_mpi_op_sum"))
mpi.MPI_Allreduce(*whole, handle("ompi_mpi_comm_world"))
print(os.uname().nodename, total.value, flush=True)
mpi.MPI_Finalize()
"""
IS_ACCOUNTED = has_accounting()
"""Tests themselves do not see the variable."""
ACCOUNTS = [("account: nope", "Invalid account or account/partition combination")] if IS_ACCOUNTED else []
ALL = ("nodeCount: 2", "sbatch: [--exclusive]")
"""Both nodes, alone."""


def test_processes_on_two_nodes(lab: Lab) -> None:
    lab.target("nodeCount: 2", "tasksPerNode: 2", "communicator: Gloo")
    lab.write("train.py", RANKS + FAILING)
    done = lab.run("train.py")
    assert (done.code, "exit code 1" in done.err) == (1, True), done.err
    folder = lab.run_folder(done.run_id)
    others = [(folder / f"outputs/ranks/{rank}.log").read_text() for rank in (1, 2, 3)]
    lines = [(folder / "stdout.log").read_text(), *others]
    for rank, line in enumerate(lines):
        node = rank // 2
        wanted = [f"c{node + 1}", str(rank), str(rank % 2), "4", "2", str(node), "c1"]
        assert re.findall(r'"([^"]*)"', line.splitlines()[0]) == wanted
    assert "no luck" in others[-1]
    assert lab.record(done.run_id)["metrics"] == {"rank": 0}
    assert (folder / "outputs/of-0.txt").exists()


def test_mpi_on_two_nodes(lab: Lab) -> None:
    lab.target("nodeCount: 2", "tasksPerNode: 2", "communicator: OpenMpi")
    lab.write("train.py", MPI)
    done = lab.run("train.py")
    assert done.code == 0, done.err
    folder = lab.run_folder(done.run_id)
    assert (folder / "stdout.log").read_text() == "c1 10\n"
    logs = [(folder / f"outputs/ranks/{rank}.log").read_text() for rank in (1, 2, 3)]
    assert logs == ["c1 10\n", "c2 10\n", "c2 10\n"]


def test_a_run_that_waits_says_why_and_is_canceled_twice(lab: Lab) -> None:
    lab.target("sbatch: ['--begin=now+1hour']")
    run_id = lab.begin(until="PENDING")
    eventually(
        lambda: "Starting  (pending: BeginTime, starts about " in lab.status(run_id), "Slurm says why", 0.2
    )
    assert lab.record(run_id)["reason"] == ""
    first = lab.amlexec("experiment", "cancel", "-r", run_id)
    assert (first.code, "Canceled" in first.out) == (0, True), first.err
    assert "the run had already ended: Canceled" in lab.amlexec("experiment", "cancel", "-r", run_id).err
    assert lab.end(run_id) == ("Canceled", None, "it had not begun")
    assert lab.state(run_id) == "CANCELLED"


def test_the_place_in_the_queue_is_shown_while_a_run_waits(lab: Lab) -> None:
    lab.target(*ALL)
    first = lab.begin()
    second = lab.begin(until="PENDING")
    process = lab.start(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "lab", "wait.py")
    said = _until(process, "1 job before it")
    assert re.search(r"lab: pending: (Resources|Priority)(, starts about [^,]+)?, 1 job before it", said)
    third = next(run for run in lab.run_ids() if run not in {first, second})
    lab.amlexec("experiment", "cancel", "-r", second)
    lab.tell(first)
    assert "running on c[1-2]" in _until(process, "running on")
    lab.head.until(f"grep -q begun {lab.folder_of(third)}/stdout.log")
    lab.tell(third)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert b"begun\n" in out


def _until(process: subprocess.Popen[bytes], text: str) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line.decode()
        if text in said:
            return said
    raise AssertionError(said)


def test_a_job_that_somebody_cancels(lab: Lab) -> None:
    run_id = lab.begin()
    lab.head.ssh(f"scancel {lab.head.job(run_id)}")
    lab.follow(run_id)
    assert lab.end(run_id) == ("Canceled", 143, "somebody canceled its job with scancel")


def test_the_time_limit(lab: Lab) -> None:
    run_id = lab.begin()
    lab.head.ssh(f"scontrol update jobid={lab.head.job(run_id)} EndTime=now+1")
    lab.follow(run_id)
    assert lab.end(run_id) == (
        "Failed",
        143,
        "exit code 143: the time limit was reached (Slurm: TIMEOUT)",
    )


def test_a_preempted_run(lab: Lab) -> None:
    lab.target("partition: low", *ALL)
    run_id = lab.begin()
    urgent = lab.head.ssh(
        "printf '#!/bin/sh\\nsleep 60\\n' | sbatch --parsable -p main -N2 --exclusive -o /dev/null", QUIET
    )
    lab.follow(run_id)
    lab.head.ssh(f"scancel {urgent}")
    assert lab.end(run_id) == (
        "Failed",
        143,
        "exit code 143: it was preempted by another job (Slurm: PREEMPTED)",
    )


def test_a_preempted_run_that_is_requeued(lab: Lab) -> None:
    lab.target("partition: low", "requeue: true", *ALL)
    run_id = lab.begin()
    job = lab.head.job(run_id)
    urgent = lab.head.ssh(
        "printf '#!/bin/sh\\nsleep 60\\n' | sbatch --parsable -p main -N2 --exclusive -o /dev/null", QUIET
    )
    lab.until(run_id, "PENDING")
    assert "Starting" in lab.status(run_id)
    assert lab.record(run_id)["status"] != "Failed"
    lab.head.ssh(f"scancel {urgent}")
    # Slurm waits two minutes before it starts it anew. A node refuses it in the second in which it was ended.
    lab.head.ssh(f"scontrol update jobid={job} StartTime=now+2")
    log = f"{lab.folder_of(run_id)}/stdout.log"
    lab.head.until(f"[ $(grep -c begun {log}) = 2 ]")
    assert lab.head.ssh(f"cat {log}") == "begun\nbegun\n"
    lab.tell(run_id)
    assert lab.follow(run_id).code == 0
    assert lab.end(run_id) == ("Completed", 0, "")


def test_a_node_that_fails(lab: Lab) -> None:
    run_id = lab.begin()
    node = lab.head.ssh(f"squeue -h -j {lab.head.job(run_id)} -o %N").strip()
    lab.head.ssh(f"scontrol update nodename={node} state=down reason=test")
    try:
        lab.follow(run_id)
    finally:
        lab.head.ssh(f"scontrol update nodename={node} state=resume 2>/dev/null || :")
        lab.head.up()
    status, _, reason = lab.end(run_id)
    assert (status in {"Failed", "Lost"}, f"its node {node} failed" in reason) == (True, True), reason


def test_a_job_that_slurm_has_forgotten(lab: Lab) -> None:
    """Its supervisor was killed, and left no exit code. Only accounting may know how it ended."""
    run_id = lab.begin()
    job = lab.head.job(run_id)
    node = lab.head.ssh(f"squeue -h -j {job} -o %N").strip()
    lab.head.on_node(node, f"pkill -KILL -f '[s]upervisor.sh {lab.folder_of(run_id)}'")
    lab.until(run_id, "FAILED")
    if IS_ACCOUNTED:
        lab.head.until(f'[ "$(sacct -X -n -P -j {job} -o State)" = FAILED ]', pause=0.1)
    lab.head.stop_controller()
    lab.head.start_controller("-c")
    lab.tell(run_id)
    # An end that only accounting knows is believed after a minute: the shared folder may show it later.
    eventually(lambda: "Lost" in lab.status(run_id), "it is lost", 0.5)
    why = "Slurm says FAILED" if IS_ACCOUNTED else f"Slurm no longer has the job {job}"
    assert lab.end(run_id) == ("Lost", None, f"{why}, and it left no exit code")


def test_slurm_that_does_not_answer(lab: Lab) -> None:
    run_id = lab.begin()
    lab.head.stop_controller()
    # Each of Slurm's programs would try for 10 s.
    lab.head.ssh("echo MessageTimeout=2 >>/etc/slurm/slurm.conf")
    try:
        # A run is neither ended nor lost as long as Slurm says nothing.
        assert "lab is unreachable; last known status" in lab.status(run_id)
        assert lab.record(run_id)["status"] in {"Starting", "Running"}
        done = lab.run("wait.py")
        assert (done.code, "Unable to contact slurm controller" in done.err) == (2, True)
        # Its own exit code needs no Slurm.
        lab.tell(run_id)
        lab.head.until(f"[ -e {lab.folder_of(run_id)}/control/end ]")
        assert lab.follow(run_id).code == 0
    finally:
        lab.head.ssh("sed -i /^MessageTimeout/d /etc/slurm/slurm.conf")
        lab.head.start_controller()
    assert lab.end(run_id) == ("Completed", 0, "")


def test_a_folder_that_the_nodes_do_not_have(lab: Lab) -> None:
    lab.target("sharedDirectory: /tmp")
    lab.write("train.py", "print('here')\n")
    done = lab.run("train.py")
    status, code, reason = lab.end(done.run_id)
    assert (status, code) == ("Lost", None)
    assert re.fullmatch(r"c\d does not have the folder of the run: sharedDirectory must be shared", reason)
    lab.target("sharedDirectory: /nowhere")
    done = lab.run("train.py")
    assert (done.code, "sharedDirectory /nowhere: there is no such folder" in done.err) == (2, True)


def test_a_shared_folder_that_is_full(lab: Lab) -> None:
    """Before the submission, and when the job begins."""
    lab.target(f"sharedDirectory: {SMALL}", "sbatch: ['--begin=now+1hour']")
    lab.write("train.py", "print('here')\n")
    fill, free = (f"{each} {SMALL}/filling" for each in ("cat /dev/zero >", "rm"))
    run_id = lab.begin("train.py", until="")
    job = lab.head.ssh(f"cat {SMALL}/.amlexec/runs/{run_id}/control/job").strip()
    lab.head.ssh(f"{fill} 2>/dev/null || :", QUIET)
    try:
        refused = lab.run("train.py")
        assert (refused.code, "No space left on device" in refused.err) == (2, True), refused.err
        assert "hint: make room there" in refused.err
        lab.head.ssh(f"scontrol update jobid={job} StartTime=now")
        lab.follow(run_id)
    finally:
        lab.head.ssh(free)
    status, code, reason = lab.end(run_id)
    assert (status, code) == ("Lost", None)
    assert re.fullmatch(r"c\d could not write into the run's folder: is its file system full\?", reason)


def test_a_shared_folder_with_blanks(lab: Lab) -> None:
    shared = "/home/it's $HOME shared"
    lab.head.ssh(f'mkdir -p "{shared}"; chmod 777 "{shared}"'.replace("$", "\\$"))
    lab.target(f'sharedDirectory: "{shared}"')
    lab.write("train.py", "import os\nprint(os.getcwd())\nprint(os.environ['HOME'])\n")
    done = lab.run("train.py", "a b", "$HOME", "it's", "new\nline")
    assert done.code == 0, done.err
    out = (lab.run_folder(done.run_id) / "stdout.log").read_text().splitlines()
    assert out == [f"{shared}/.amlexec/runs/{done.run_id}/project", f"/home/{QUIET}"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("partition: nope", "invalid partition specified: nope; Batch job submission failed"),
        ("constraint: fast", "Invalid feature specification"),
        ("gres: gpu:2", "Invalid generic resource (gres) specification"),
        *ACCOUNTS,
    ],
)
def test_a_job_that_sbatch_refuses(lab: Lab, line: str, said: str) -> None:
    lab.target(line)
    done = lab.run("wait.py")
    assert (done.code, said in done.err) == (2, True), done.err
    assert "hint: amlexec computetarget check lab shows the partitions and limits" in done.err
    (run_id,) = lab.run_ids()
    status, code, reason = lab.end(run_id)
    assert (status, code) == ("Failed", None)
    assert reason.startswith("the script did not begin: the job could not be submitted: sbatch: ")


def test_what_sites_print_and_set(lab: Lab, program: Callable[[str, str], None]) -> None:
    """Banners beside the job's number; variables that would replace our options, as inside another job."""
    program("sbatch", "#!/bin/sh\necho 'Welcome!'\necho '77 users'\nexec /usr/bin/sbatch \"$@\"\n")
    settings = "SBATCH_PARTITION=nope SBATCH_REQUEUE=1 SLURM_JOB_ID=1 SLURM_NTASKS=9 SQUEUE_FORMAT=%i"
    lab.head.ssh("cat >.bashrc", QUIET, input=f"echo hello\nexport {settings}\n".encode())
    try:
        lab.write(
            "train.py", "import os\nprint(os.environ['SLURM_JOB_ID'], os.environ.get('SLURM_NTASKS'))\n"
        )
        done = lab.run("train.py")
        assert done.code == 0, done.err
        number = (lab.run_folder(done.run_id) / "stdout.log").read_text().split()
        assert number[0] != "1"
        assert number[1] != "9"
    finally:
        lab.head.ssh("rm .bashrc", QUIET)


def test_the_answer_of_sbatch_is_lost(lab: Lab, program: Callable[[str, str], None]) -> None:
    """The job was submitted: it is found by its name."""
    failure = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2"
    program("sbatch", f'#!/bin/sh\n/usr/bin/sbatch "$@" >/dev/null\n{failure}\nexit 1\n')
    lab.write("train.py", "print('once')\n")
    done = lab.run("train.py")
    assert done.code == 0, done.err
    assert (lab.run_folder(done.run_id) / "stdout.log").read_text() == "once\n"


def test_one_call_for_all_runs(lab: Lab, program: Callable[[str, str], None]) -> None:
    # Of the runs of other tests, Slurm may have forgotten some.
    lab.head.ssh("rm -rf .amlexec/runs/*", QUIET)
    runs = [lab.begin() for _ in range(2)]
    program("squeue", '#!/bin/sh\necho x >>/tmp/squeue-calls\nexec /usr/bin/squeue "$@"\n')
    lab.head.ssh(": >/tmp/squeue-calls; chmod 666 /tmp/squeue-calls")
    listed = lab.amlexec("history", "list", "--from", "lab")
    assert listed.code == 0, listed.err
    rows = [line for line in listed.out.splitlines() if any(run in line for run in runs)]
    assert len(rows) == 2
    assert all("Running" in row for row in rows)
    assert lab.head.ssh("cat /tmp/squeue-calls") == "x\n"
    # A condition is looked at first, and then the runs that meet it.
    for options, calls in (((), 1), (("--status", "Running"), 2)):
        lab.head.ssh(": >/tmp/squeue-calls")
        listed = lab.amlexec("history", "list", *options)
        assert [line.count("Running") for line in listed.out.splitlines() if "demo_" in line] == [1, 1]
        assert lab.head.ssh("cat /tmp/squeue-calls") == "x\n" * calls
    for run_id in runs:
        lab.tell(run_id)
    assert all(lab.follow(run_id).code == 0 for run_id in runs)


def test_a_warning_signal_is_passed_on(lab: Lab) -> None:
    """As `sbatch: ["--signal=B:USR2@60"]` asks for one."""
    run_id = lab.begin()
    lab.head.ssh(f"scancel --batch --signal=USR2 {lab.head.job(run_id)}")
    log = f"{lab.folder_of(run_id)}/stdout.log"
    lab.head.until(f"grep -q usr2 {log}")
    lab.tell(run_id)
    assert lab.follow(run_id).code == 0


def test_a_lost_connection(lab: Lab, client: Client) -> None:
    process = lab.start(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "lab", "wait.py")
    assert process.stdout is not None
    for line in process.stdout:
        if line == b"begun\n":
            break
    client.hang_up()
    (run_id,) = lab.run_ids()
    lab.tell(run_id)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert lab.end(run_id) == ("Completed", 0, "")


def test_a_conda_prefix_that_the_nodes_use(slurm_head: SlurmHead, shop: Shop, tmp_path: Path) -> None:
    project = SlurmProject(tmp_path / "demo", shop, Place("slurm-managed", "slurm", mounts=False), slurm_head)
    done = project.prepare()
    assert done.code == 0, done.err
    project.write("train.py", "import os, six, sys\nprint(os.uname().nodename, sys.prefix)\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    node, prefix = (project.run_folder(done.run_id) / "stdout.log").read_text().split()
    assert node in {"c1", "c2"}
    assert prefix.startswith(f"/home/{QUIET}/.amlexec/envs/")
    assert "up to date" in project.prepare().out


def test_a_login_node_without_sbatch(lab: Lab) -> None:
    lab.head.ssh("mv /usr/bin/sbatch /usr/bin/sbatch.away")
    try:
        done = lab.run("wait.py")
        checked = lab.amlexec("computetarget", "check", "lab")
    finally:
        lab.head.ssh("mv /usr/bin/sbatch.away /usr/bin/sbatch")
    assert (done.code, "there is no sbatch on the login node's PATH" in done.err) == (2, True)
    assert (checked.code, "missing: sbatch" in checked.out) == (2, True)
