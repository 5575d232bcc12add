"""Scripts in an image on the nodes of a Slurm cluster: the command lines, and what lint says of the keys."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.runtime import HERE
from amlexec.targets.slurm_container import Mounts, node_python, words
from amlexec.values import ComputeTarget, Place
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

MOUNTS = Mounts("/home/a b/.amlexec/runs/r", "/home/a b/.amlexec/runtime/d", "/scratch/shared")


def made(container: str, image: str, gres: str = "", shared: str = MOUNTS.shared) -> list[str]:
    target = ComputeTarget(
        "lab", "slurm", Place("lab.compute", 1, 1), container=container, container_image=image, gres=gres
    )
    mounts = MOUNTS._replace(shared=shared)
    found = words(target, mounts, ["PYTHONPATH", "TOKEN", "RANK", "TOKEN"])
    return [word for word in found if not word.startswith("--env=")]


def test_podman() -> None:
    options = ["--rm", "--init", "--cgroups=disabled", "--network=host", "--ipc=host"]
    outer, inner = (["sh", f"{MOUNTS.runtime}/contained.sh", side, MOUNTS.run] for side in ("outer", "inner"))
    run = [*outer, "podman", "--cgroup-manager=cgroupfs", "run", *options, "--security-opt=label=disable"]
    folder, runtime = MOUNTS.run, MOUNTS.runtime
    mounts = [
        f"--workdir={folder}/project",
        f"--volume={folder}:{folder}",
        f"--volume={runtime}:{runtime}:ro",
    ]
    shared = "--volume=/scratch/shared:/scratch/shared"
    assert made("podman", "iris:1") == [*run, *mounts, shared, "iris:1", *inner]
    assert made("podman", "iris:1", shared="") == [*run, *mounts, "iris:1", *inner]
    assert made("podman", "iris:1", "gpu:a100:2")[-6:-4] == ["--device=nvidia.com/gpu=all", "iris:1"]


def test_variables_are_named_once_and_without_their_values() -> None:
    target = ComputeTarget("lab", "slurm", Place("f", 1, 1), container="podman", container_image="iris:1")
    found = words(target, MOUNTS, ["TOKEN", "RANK", "TOKEN"])
    names = [word.removeprefix("--env=") for word in found if word.startswith("--env=")]
    assert names[:3] == ["TOKEN", "RANK", "WORLD_SIZE"]
    assert len(names) == len(set(names))
    assert "SLURM_*" in names
    assert not any("=" in name for name in names)


def test_apptainer() -> None:
    folder, runtime = MOUNTS.run, MOUNTS.runtime
    binds = [f"--bind={folder}", f"--bind={runtime}:{runtime}:ro", "--bind=/scratch/shared"]
    where = f"--pwd={folder}/project"
    assert made("apptainer", "iris:1") == ["apptainer", "exec", *binds, where, "docker://iris:1"]
    assert made("apptainer", "/images/iris.sif")[-1] == "/images/iris.sif"
    assert made("apptainer", "oras://host/iris:1")[-1] == "oras://host/iris:1"
    assert made("apptainer", "iris:1", "license:1,gpu:1")[:3] == ["apptainer", "exec", "--nv"]


def test_enroot() -> None:
    folder, runtime = MOUNTS.run, MOUNTS.runtime
    found = made("enroot", "/images/iris.sqsh", shared="")
    start = ["enroot", "start", "--mount", f"{folder}:{folder}", "--mount", f"{runtime}:{runtime}"]
    assert found[: len(start)] == start
    change = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", f"{folder}/project"]
    assert found[-len(change) - 1 :] == ["/images/iris.sqsh", *change]
    assert found[len(start) : len(start) + 4] == ["--env", "PYTHONPATH", "--env", "TOKEN"]
    assert not any(word.endswith("*") for word in found)


def test_without_a_container() -> None:
    assert made("", "") == []
    target = ComputeTarget("lab", "slurm", Place("f", 1, 1))
    assert node_python(target, "/opt/python") == "/opt/python"
    assert node_python(target._replace(container="podman"), "/opt/python") == "python3"


FAKE = """\
import os, signal, subprocess, sys

# As podman: its client may end before the command does, and then knows no exit code.
code = sys.argv[1]
assert "AMLEXEC_RUN_ID" not in os.environ
done = subprocess.Popen(sys.argv[2:], start_new_session=True)
if code == "early":
    sys.exit(0)
signal.signal(signal.SIGTERM, lambda *_: done.terminate())
sys.exit(done.wait() or int(code))
"""


def contained(folder: Path, podman: str, *command: str) -> subprocess.Popen[bytes]:
    (folder / "control").mkdir(exist_ok=True)
    text = str(HERE / "contained.sh")
    fake = (sys.executable, "-c", FAKE, podman)
    words = ("sh", text, "outer", str(folder), *fake, "sh", text, "inner", str(folder), *command)
    variables = {**os.environ, "AMLEXEC_RUN_ID": "r", "AMLEXEC_RUN_FOLDER": str(folder)}
    return subprocess.Popen(words, env=variables, stdout=subprocess.PIPE)


@pytest.mark.parametrize(("podman", "wanted"), [("0", 7), ("125", 7), ("early", 7)])
def test_the_exit_code_is_that_of_the_command(tmp_path: Path, podman: str, wanted: int) -> None:
    process = contained(tmp_path, podman, "sh", "-c", 'sleep 0.3; echo "$AMLEXEC_RUN_ID"; exit 7')
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (wanted, b"r\n")


def test_a_container_that_can_not_start(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    words = ("sh", str(HERE / "contained.sh"), "outer", str(tmp_path), "sh", "-c", "exit 125")
    assert subprocess.run(words, check=False).returncode == 125


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    process = contained(
        tmp_path, "0", "sh", "-c", "trap 'exit 9' TERM; echo begun; while :; do sleep 0.1; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    # Of what is outside, only podman's client gets it.
    client = next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/status")
        if f"\nPPid:\t{process.pid}\n" in path.read_text()
    )
    os.kill(client, signal.SIGTERM)
    assert process.wait(PATIENCE) == 9
    process.stdout.close()


MANAGED = "userManagedEnvironment: true\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"container: podman\n{MANAGED}", ":4:12: error: container needs containerImage"),
        (f"containerImage: iris:1\n{MANAGED}", ":4:17: error: containerImage needs container"),
        ("container: podman\ncontainerImage: iris:1\n", "container needs userManagedEnvironment: true"),
        (f"container: docker\ncontainerImage: iris:1\n{MANAGED}", "container is 'docker'"),
        (f"container: enroot\ncontainerImage: iris:1\n{MANAGED}", "enroot starts the path of a .sqsh file"),
        (f"container: podman\ncontainerImage: --privileged\n{MANAGED}", "containerImage is '--privileged'"),
    ],
)
def test_keys_that_do_not_fit(project: ProjectFolder, text: str, said: str) -> None:
    project.write("aml_config/lab.compute", f"type: slurm\naddress: login\nusername: ada\n{text}")
    done = project.amlexec("lint", "aml_config/lab.compute")
    assert (done.code, said in done.out) == (3, True), done.out


def test_keys_that_fit(project: ProjectFolder) -> None:
    text = f"type: slurm\naddress: login\nusername: ada\ncontainer: podman\ncontainerImage: iris:1\n{MANAGED}"
    project.write("aml_config/lab.compute", text)
    done = project.amlexec("lint", "aml_config/lab.compute")
    assert done.code == 0, done.out
