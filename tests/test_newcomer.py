"""First steps of a new user: a clean git status, JSON on request, messages while waiting."""

from __future__ import annotations

import json
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, ProjectFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "words",
    [
        ("amlexec", "runconfiguration", "list"),
        ("amlexec", "lint"),
        ("doit", "lint"),
        ("amlexec", "experiment", "submit", "-c", "local", "train.py"),
        ("amlexec", "experiment", "prepare", "-c", "local"),
    ],
    ids=" ".join,
)
def test_git_ignores_the_files_of_amlexec(project: ProjectFolder, words: tuple[str, ...]) -> None:
    project.write("train.py", "print('hello')\n")
    for command in (["init", "-q"], ["add", "."]):
        assert project.call("git", *command).code == 0
    assert project.call(sys.executable, "-m", *words).code == 0
    if (project.root / ".amlexec").exists():
        assert (project.root / ".amlexec/.gitignore").read_text().endswith("\n*\n")
        assert (project.root / ".amlexec").stat().st_mode & 0o777 == 0o700
    status = project.call("git", "status", "--porcelain").out.splitlines()
    untracked = [line for line in status if "??" in line]
    # Python compiles dodo.py beside it, whatever it holds: `amlexec init` ignores that.
    assert set(untracked) <= {"?? __pycache__/"}


def test_the_record_as_json(project: ProjectFolder) -> None:
    project.write("train.py", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n")
    done = project.submit("-o", "json", "train.py", "-o", "x")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["status"], told["exit_code"], told["arguments"]) == ("Completed", 0, ["-o", "x"])
    assert f"RunId: {told['run_id']}\n" in done.err
    assert "out\n" in done.err
    assert "err\n" in done.err
    assert json.loads(project.amlexec("history", "last", "-o", "json").out).keys() == told.keys()

    project.write("train.py", "raise SystemExit(9)\n")
    failed = project.submit("--output", "json", "train.py")
    assert failed.code == 1
    assert json.loads(failed.out)["exit_code"] == 9
    assert "the script failed: exit code 9" in failed.err
    untracked = project.submit("-u", "-o", "json", "train.py")
    assert json.loads(untracked.out)["tracked"] is False

    nothing = project.submit("-o", "json", "nope.py")
    assert (nothing.code, nothing.out) == (3, "")


def test_the_record_of_a_detached_run_as_json(project: ProjectFolder) -> None:
    project.write(
        "slow.py", "import time\nprint('begun', file=__import__('sys').stderr, flush=True)\ntime.sleep(600)\n"
    )
    done = project.submit("--async", "-o", "json", "slow.py")
    assert done.code == 0, done.err
    first = json.loads(done.out)
    assert first["status"] in {"Starting", "Running"}
    assert "cancel it: " in done.err
    assert project.amlexec("experiment", "cancel", "-r", first["run_id"], "--grace", "0").code == 0

    process = project.start(
        sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "-o", "json", "slow.py"
    )
    assert process.stderr is not None
    while process.stderr.readline() != b"begun\n":
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    run_id = json.loads(out)["run_id"]
    assert project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0").code == 0


def test_status_with_the_engine_down(
    project: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last known status, marked as unreachable: as for a machine over SSH."""
    project.write("train.py", "print('x')\n")
    run_id = project.submit("train.py").run_id
    record = project.record(run_id)
    project.write("aml_config/docker.compute", "type: docker\n")
    record |= {"status": "Running", "target": "docker", "target_kind": "docker", "end_time_utc": None}
    project.write(f".amlexec/runs/{run_id}/run.json", json.dumps(record))
    project.write(f".amlexec/runs/{run_id}/control/container", "0" * 64)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    done = project.amlexec("experiment", "status", "-r", "last")
    assert done.code == 2
    assert done.out == f"{run_id}  Running  (docker is unreachable; last known status)\n"
    assert "error: no Docker engine answers" in done.err
    as_json = project.amlexec("experiment", "status", "-r", "last", "-o", "json")
    assert (as_json.code, json.loads(as_json.out)["unreachable"]) == (2, True)
    listed = project.amlexec("history", "list", "-o", "json")
    assert (listed.code, json.loads(listed.out)[0]["unreachable"]) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("experiment", "submit", "-c", "gone", "train.py"),
        ("experiment", "prepare", "-c", "gone", "--check"),
        ("computetarget", "check", "gone"),
        ("computetarget", "attach", "remote", "-n", "new", "-u", "ada", "--private-key-file", "key", "-a"),
    ],
    ids=lambda words: words[1],
)
def test_a_machine_that_does_not_answer(project: ProjectFolder, words: tuple[str, ...]) -> None:
    """A port that accepts connections but never answers, as behind some firewalls."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        project.write("train.py", "print('x')\n")
        project.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key")
        project.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
        project.write(
            "aml_config/gone.compute",
            f"type: remote\naddress: {address}\nusername: ada\nuserManagedEnvironment: false\n",
        )
        project.write(
            "aml_config/gone.runconfig",
            "Target: gone\nFramework: Python\nCondaDependenciesFile: aml_config/conda_dependencies.yml\n",
        )
        more = [address] if words[-1] == "-a" else []
        process = project.start(sys.executable, "-m", "amlexec", *words, *more)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        if words[1] != "submit":
            process.kill()  # it is still at it; it would print the error after six seconds, as submit does
        process.communicate(timeout=PATIENCE)
    name = "new" if more else "gone"
    assert said == f"connecting to {name} ...\n"
    assert process.returncode == (2 if words[1] == "submit" else -signal.SIGKILL)
