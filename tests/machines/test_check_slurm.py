"""Attach and check a Slurm cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.local_machine import Answer
from amlexec.machines.check_slurm import _findings
from amlexec.targets import slurm_script
from amlexec.values import ComputeTarget, Place
from tests.conftest import ProjectFolder
from tests.engines.ssh_host import QUIET

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.machines.check_results import Finding
    from tests.support.slurm import SlurmHead

ROW = "main|up|1:00:00|2|16|4000|gpu:a100:4"


def found(output: str, **fields: object) -> dict[str, Finding]:
    """The findings of what `slurm_check.sh` has printed."""
    target = ComputeTarget("lab", "slurm", Place("aml_config/lab.compute"), partition="main")
    target = target._replace(**fields)  # type: ignore[arg-type]
    return {each.check: each for each in _findings(target, Answer(0, output, ""))}


def test_attach_and_check(slurm_head: SlurmHead, tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "demo")
    done = project.amlexec(
        *("computetarget", "attach", "slurm", "-n", "lab", "-a", slurm_head.address, "-u", QUIET),
        *("--partition", "main", "--time", "30", "--shared-directory", f"/home/{QUIET}"),
    )
    assert done.code == 0, done.err
    text = (project.configuration / "lab.compute").read_text()
    for line in ("type: slurm", "partition: main", "time: '30'", f"sharedDirectory: /home/{QUIET}"):
        assert line in text.splitlines()
    assert (project.configuration / "lab.runconfig").exists()
    assert project.amlexec("lint", "aml_config/lab.compute").code == 0
    done = project.amlexec("computetarget", "check", "lab", "-o", "json")
    assert done.code == 0, done.out
    checks = {check["check"]: check for check in json.loads(done.out)["checks"]}
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert checks["partitions"]["message"] == "main: 2 nodes with 16 CPUs and 4000 MB, up to 1:00:00"
    assert checks["shared folder"]["message"].startswith("the login node and c")
    assert slurm_head.ssh("squeue -h -n amlexec-check") == ""
    project.write("aml_config/lab.compute", text.replace(f"/home/{QUIET}", "/tmp"))
    done = project.amlexec("computetarget", "check", "lab")
    assert (done.code, "does not have /tmp of the login node" in done.out) == (2, True), done.out
    project.write("aml_config/lab.compute", text.replace("main", "nope"))
    done = project.amlexec("computetarget", "check", "lab")
    assert done.code == 2
    assert "there is no partition 'nope'" in done.out
    assert "write one of these into aml_config/lab.compute: low, main" in done.out
    assert "sbatch refuses it: invalid partition specified: nope" in done.out


def test_options_are_checked(project: ProjectFolder) -> None:
    attach = ("computetarget", "attach", "slurm", "-n", "lab", "-a", "h", "-u", "ada", "--no-check")
    done = project.amlexec(*attach, "--time", "soon")
    assert (done.code, "--time is 'soon', which is not valid" in done.err) == (3, True)
    done = project.amlexec(*attach, "--shared-directory", "scratch")
    assert done.code == 3
    other = ("computetarget", "attach", "remote", *attach[3:])
    done = project.amlexec(*other, "--partition", "x")
    assert "--partition does not apply to a target of type remote" in done.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("time: soon", "time is 'soon'; expected minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS"),
        ("memory: 4 GB", "memory is '4 GB'; expected a number with K, M, G or T, without a blank"),
        ("sharedDirectory: here", "sharedDirectory is 'here'"),
        ("nodeCount: 0", "nodeCount is '0'"),
        ("communicator: Mpi", "communicator is 'Mpi'"),
        ("partition: a b", "partition is 'a b'"),
        ("sbatch: [exclusive]", "sbatch[0] is 'exclusive'"),
        ("sbatch: ['--array=1-9']", "sbatch[0] is '--array=1-9', which amlexec sets itself"),
        ("sbatch: ['--output=x']", "sbatch[0] is '--output=x', which amlexec sets itself"),
        ("sbatch: [--exclusive, '-D /tmp']", "sbatch[1] is '-D /tmp', which amlexec sets itself"),
        ("partiton: x", "did you mean partition?"),
    ],
)
def test_lint(project: ProjectFolder, line: str, said: str) -> None:
    project.write("aml_config/lab.compute", f"type: slurm\naddress: h\nusername: ada\n{line}\n")
    done = project.amlexec("lint")
    assert said in done.err + done.out
    assert "aml_config/lab.compute:4:" in done.err + done.out


def test_what_a_cluster_may_say() -> None:
    assert found("missing sbatch squeue\n")["Slurm"].message == "missing: sbatch squeue"
    assert found("")["Slurm"].status == "failed"
    down = found(
        "missing \nversion slurm 22.05\nfailure slurm_load_partitions: Zero Bytes were transmitted\n"
    )
    assert down["Slurm"].message == (
        "slurmctld does not answer: slurm_load_partitions: Zero Bytes were transmitted"
    )
    assert "munge" in down["Slurm"].hint
    start = f"missing \nversion slurm 22.05.8\npartition {ROW}\n"
    assert found(start)["partitions"].message == (
        "main: 2 nodes with 16 CPUs and 4000 MB, up to 1:00:00, gpu:a100:4"
    )
    assert found(start, node_count=3)["partitions"].message == "nodeCount is 3, but it has 2 nodes"
    assert "more than the limit" in found(start, time="1-0")["partitions"].message
    assert found(start.replace("|up|", "|down|"))["partitions"].status == "warning"
    refused = found(f"{start}refused Invalid account or account/partition combination specified\n")
    assert refused["job"].message == (
        "sbatch refuses it: Invalid account or account/partition combination specified"
    )
    busy = found(f"{start}srun 1\nsrun: error: Unable to allocate resources: Requested nodes are busy\n")
    assert (busy["compute node"].status, busy["compute node"].message) == (
        "warning",
        "none was free within 30 s",
    )
    assert found(f"{start}srun 0\nnode c1\n")["shared folder"].status == "failed"
    read_only = found(f"{start}srun 0\nnode c1\nseen yes\n")
    assert read_only["shared folder"].message == "c1 can't write to it"
    here = f"{start}srun 0\nnode c1\nseen yes\nwritten yes\n"
    assert found(here, user_managed_environment=True)["Python of the nodes"].status == "failed"
    assert found(here, communicator="OpenMpi")["MPI"].message == "c1 has no mpirun"
    assert found(f"{here}runtime apptainer\n")["container runtime"].message == "apptainer"
    wanted = found(f"{here}runtime apptainer\n", container="podman", user_managed_environment=True)
    assert wanted["container runtime"].message == "c1 has no podman; it has apptainer"
    assert "Python of the nodes" not in wanted
    there = found(f"{here}runtime podman\n", container="podman", user_managed_environment=True)
    assert there["container runtime"].status == "ok"


def test_a_batch_ai_file_names_the_lines_to_change(project: ProjectFolder) -> None:
    project.write("aml_config/old.compute", "type: batchai\nnodeCount: 2\n")
    project.write("aml_config/old.runconfig", "Target: old\nFramework: Python\n")
    project.write("train.py", "")
    for words in (("experiment", "submit", "-c", "old", "train.py"), ("experiment", "prepare", "-c", "old")):
        done = project.amlexec(*words)
        assert done.code == 3
        assert "compute target 'old' is of type batchai, which this version can't run" in done.err
        assert "`type: slurm`, and `address: HOST` and `username: USER` of its login node" in done.err
    project.write("aml_config/old.compute", "type: slurm\naddress: login\nusername: ada\nnodeCount: 2\n")
    shown = json.loads(project.amlexec("computetarget", "show", "old", "-o", "json").out)
    assert (shown["type"], shown["nodeCount"]) == ("slurm", 2)


def test_keys_of_azureml_core_for_nodes(project: ProjectFolder) -> None:
    """A run configuration of azureml-core for Batch AI: its nodes and processes are those of the job."""
    project.write("aml_config/lab.compute", "type: slurm\naddress: login\nusername: ada\n")
    lines = ["script: train.py", "target: lab", "communicator: OpenMpi", "mpi:", "  processCountPerNode: '4'"]
    lines += ["batchai:", "  nodeCount: 2"]
    project.write("aml_config/conda_dependencies.yml", "dependencies: []\n")
    project.write("aml_config/mpi.runconfig", "\n".join(lines) + "\n")
    found = config.load(config.find_project(project.root), "mpi").compute_target
    assert (found.node_count, found.tasks_per_node, found.communicator) == (2, 4, "OpenMpi")
    assert slurm_script.lines(found)[:2] == ["--nodes=2", "--ntasks-per-node=4"]
    told = project.amlexec("lint", "aml_config/mpi.runconfig").out
    assert "communicator is accepted and ignored, except on slurm targets" in told
