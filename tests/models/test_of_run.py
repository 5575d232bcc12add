"""Models that a run's script registers, from its line to the registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

TRAIN = """
import os, pickle, sys
from amlexec.model import register
from amlexec.run import log
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.pkl", "wb") as file:
    pickle.dump({"seed": sys.argv[1]}, file)
log("accuracy", 0.9)
register("iris", "outputs/model.pkl", tags={"seed": sys.argv[1]}, description="of a test")
"""


def versions(project: ProjectFolder) -> list[dict]:
    found = json.loads(project.amlexec("model", "list", "-o", "json").out)
    assert isinstance(found, list)
    return found


def test_a_run_registers_its_model_when_it_has_ended(project: ProjectFolder) -> None:
    project.write("train.py", TRAIN)
    done = project.submit("train.py", "1")
    assert done.code == 0, done.err
    assert "Model: iris:1" in done.out + done.err
    assert project.submit("train.py", "2").code == 0
    # The same seed makes the same file.
    done = project.submit("train.py", "1")
    assert "Model: iris:1" in done.out + done.err
    second, first = versions(project)
    assert (first["id"], first["tags"], first["description"]) == ("iris:1", {"seed": "1"}, "of a test")
    assert second["run"]["metrics"] == {"accuracy": 0.9}
    assert second["run"]["path"] == "outputs/model.pkl"
    assert second["python"]
    assert second["packages"] is not None
    # A later run uses it.
    project.write(
        "use.py", "from amlexec.model import path_of\nprint(len(open(path_of('iris'), 'rb').read()))"
    )
    size = second["bytes"]
    assert f"\n{size}\n" in project.submit("use.py").out


def test_a_model_that_was_changed_later_is_not_registered_and_the_run_completes(
    project: ProjectFolder,
) -> None:
    project.write("train.py", TRAIN + 'open("outputs/model.pkl", "w").write("other")\n')
    done = project.submit("train.py", "1")
    assert done.code == 0, done.err
    printed = done.out + done.err
    assert (
        "iris was not registered: outputs/model.pkl was changed after the script had registered it" in printed
    )
    assert versions(project) == []
    done = project.amlexec("model", "register", "-r", "last")
    assert (done.code, "was changed after" in done.err) == (2, True)
    done = project.amlexec("model", "register", "-r", "last", "-m", "outputs/model.pkl", "-n", "iris")
    assert done.out == "iris:1\n"


def test_a_registry_that_fails_loses_nothing(project: ProjectFolder, tmp_path: Path) -> None:
    project.write("train.py", TRAIN)
    (project.root / ".amlexec").mkdir(exist_ok=True)
    blocked = project.root / ".amlexec/models"
    blocked.write_text("not a folder")
    done = project.submit("train.py", "1")
    assert done.code == 0, done.err
    assert "iris was not registered: the model registry can't be used" in done.out + done.err
    assert "to try again: amlexec model register -r demo_" in done.out + done.err
    blocked.unlink()
    done = project.amlexec("model", "register", "-r", "last")
    assert (done.code, done.out) == (0, "iris:1\n")


def test_ctrl_c_ends_a_registration_that_hangs_and_not_the_run(
    project: ProjectFolder, tmp_path: Path
) -> None:
    project.write("train.py", TRAIN)
    os.mkfifo(tmp_path / "begun")
    # A registry behind an ssh that never answers.
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    version = "case $* in *-V*) echo OpenSSH_9.2p1 >&2; exit;; esac"
    ssh.write_text(f"#!/bin/sh\n{version}\n: >{tmp_path}/begun\nexec sleep 600\n")
    ssh.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{ssh.parent}:{os.environ['PATH']}",
        "AMLEXEC_MODELS": "ssh://far/models",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py", "1"],
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        with (tmp_path / "begun").open() as begun:
            begun.read()
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed
    assert "Status: Completed" in printed
    assert "iris was not registered: amlexec ended before it was registered" in printed
    done = project.amlexec("model", "register", "-r", "last")
    assert (done.code, done.out) == (0, "iris:1\n")


def test_lines_of_a_stranger_register_nothing_else(project: ProjectFolder) -> None:
    lines = [
        {"name": "a", "path": "../../../etc/passwd"},
        {"name": "b", "path": "/etc/passwd"},
        {"name": "../c", "path": "outputs/x"},
        {"name": "d", "path": "outputs/link"},
        {"name": 1, "path": []},
        [],
    ]
    project.write(
        "train.py",
        f"""
import json, os
os.makedirs("outputs", exist_ok=True)
os.symlink("/etc/passwd", "outputs/link")
open("outputs/x", "w").write("x")
with open(os.path.join(os.environ["AMLEXEC_RUN_FOLDER"], "models.jsonl"), "w") as file:
    for line in {lines!r}:
        file.write(json.dumps(line) + "\\n")
    file.write("torn")
""",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert (done.out + done.err).count("was not registered") == 4
    assert versions(project) == []


def test_a_script_outside_of_a_run_registers_at_once(project: ProjectFolder) -> None:
    script = """
from amlexec.model import path_of, register
open("model.pkl", "w").write("x")
print(register("iris", "model.pkl", tags={"by": "hand"}).id)
print(open(path_of("iris:1")).read())
"""
    done = project.call(sys.executable, "-c", script)
    assert done.out == "iris:1\nx\n", done.err
    (version,) = versions(project)
    assert version["tags"] == {"by": "hand"}
    assert version["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert version["packages"]["pytest"]
