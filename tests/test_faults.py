"""Wrong input and failures: one clear error, the right exit code, nothing lost and nothing unfinished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, ProjectFolder, eventually, until_begun, until_printed

if TYPE_CHECKING:
    from pathlib import Path

WAITING = (
    "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists(os.environ['GO']):\n"
    "    time.sleep(0.02)\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').write('x')\n"
)


def test_no_project(tmp_path: Path, project: ProjectFolder) -> None:
    done = project.amlexec("experiment", "submit", "-c", "local", "x.py", cwd=tmp_path)
    assert done.code == 3
    assert "aml_config" in done.err
    assert "amlexec init" in done.err


def test_an_unknown_run_configuration_suggests_a_similar_name(project: ProjectFolder) -> None:
    project.write("train.py", "")
    done = project.amlexec("experiment", "submit", "-c", "locla", "train.py")
    assert done.code == 3
    assert "locla" in done.err
    assert "did you mean local?" in done.err
    assert project.run_ids() == []


def test_a_missing_target(project: ProjectFolder) -> None:
    project.write("train.py", "")
    project.write("aml_config/local.runconfig", "Target: nowhere\nFramework: Python\n")
    done = project.submit("train.py")
    assert done.code == 3
    assert "aml_config/local.runconfig:1:" in done.err
    assert "nowhere" in done.err
    project.write("aml_config/local.runconfig", "Framework: Python\n")
    done = project.submit("train.py")
    assert done.code == 3
    assert "Must specify a target" in done.err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("trian.py", "did you mean train.py?"),
        ("../outside.py", "outside the project"),
        ("aml_config", "is a folder"),
        ("", "there is no script"),
    ],
)
def test_an_invalid_script(project: ProjectFolder, script: str, said: str) -> None:
    project.write("train.py", "")
    project.write("../outside.py", "")
    done = project.submit(script)
    assert done.code == 3
    assert said in done.err
    assert project.run_ids() == []


def test_a_script_that_is_ignored(project: ProjectFolder) -> None:
    project.write("train.py", "")
    project.write(".amlignore", "*.py\n")
    done = project.submit("train.py")
    assert done.code == 3
    assert "ignore rule" in done.err
    assert project.run_ids() == []


@pytest.mark.parametrize(
    ("location", "said"),
    [("/nowhere/python", "no such program"), ("no-such-python-here", "no such program")],
)
def test_a_missing_interpreter(project: ProjectFolder, location: str, said: str) -> None:
    project.write("train.py", "")
    project.write("aml_config/local.compute", f"type: local\npythonLocation: {location}\n")
    done = project.submit("train.py")
    assert done.code == 3
    assert "local.compute" in done.err
    assert said in done.err
    assert project.run_ids() == []


def test_a_program_that_is_not_python(project: ProjectFolder) -> None:
    project.write("train.py", "")
    project.write("aml_config/local.compute", "type: local\npythonLocation: /bin/false\n")
    done = project.submit("train.py")
    assert done.code == 2
    assert "/bin/false does not work as a Python" in done.err


def test_a_target_of_an_unsupported_kind(project: ProjectFolder) -> None:
    project.write("train.py", "")
    project.write("aml_config/box.compute", "type: batchai\n")
    project.write("aml_config/conda_dependencies.yml", "dependencies: [python]\n")
    done = project.submit("-t", "box", "train.py")
    assert done.code == 3
    assert "box.compute" in done.err
    assert "batchai" in done.err
    assert project.run_ids() == []


def test_killing_the_client_leaves_the_run_alone(project: ProjectFolder) -> None:
    project.write("train.py", WAITING)
    go = project.root.parent / "go"
    process = project.start(
        *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py"),
        env={**os.environ, "GO": str(go)},
    )
    until_begun(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.kill()
    process.wait(PATIENCE)
    process.stdout.close()
    process.stderr.close()
    (run_id,) = project.run_ids()
    assert "Running" in project.amlexec("experiment", "status", "-r", run_id).out
    go.touch()
    end = project.run_folder(run_id) / "control/end"
    eventually(end.exists, "the supervisor writes the end")
    assert "Completed" in project.amlexec("experiment", "status", "-r", run_id).out
    record = project.record(run_id)
    assert (record["status"], record["outputs"]) == ("Completed", {"files": 1, "bytes": 1})


def test_killing_the_client_before_the_script_begins(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    # 2,000 files to copy: the copying lasts long enough to be killed in it.
    for number in range(2000):
        project.write(f"data/{number}", str(number))
    process = project.start(
        *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py")
    )
    eventually(lambda: bool([name for name in project.run_ids() if name[0] != "."]), "the record is there")
    process.kill()
    process.communicate(timeout=PATIENCE)
    run_id = next(name for name in project.run_ids() if name[0] != ".")
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert done.code == 0, done.err
    record = project.record(run_id)
    assert record["status"] in {"Lost", "Completed"}
    if record["status"] == "Lost":
        assert "before the script began" in record["reason"]
    assert project.submit("train.py").code == 0, "the unfinished files do not matter"


def test_killing_script_and_supervisor_is_recorded_as_lost(project: ProjectFolder) -> None:
    project.write("train.py", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    run_id = project.submit("--async", "train.py").run_id
    folder = project.run_folder(run_id)
    log = folder / "stdout.log"
    until_printed(log, b"\n")
    supervisor = int((folder / "control/supervisor").read_text().split()[0])
    os.kill(supervisor, signal.SIGKILL)
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert "Running" in done.out, "the script is still there"
    os.kill(int(log.read_text()), signal.SIGKILL)
    eventually(lambda: "Lost" in project.amlexec("experiment", "status", "-r", run_id).out, "both are gone")
    record = project.record(run_id)
    assert (record["status"], record["exit_code"], record["end_time_utc"]) == ("Lost", None, None)


def test_canceling_a_run_whose_supervisor_has_ended(project: ProjectFolder) -> None:
    project.write("train.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    run_id = project.submit("--async", "train.py").run_id
    folder = project.run_folder(run_id)
    log = folder / "stdout.log"
    until_printed(log, b"begun\n")
    os.kill(int((folder / "control/supervisor").read_text().split()[0]), signal.SIGKILL)
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1")
    assert done.code == 0, done.err
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Canceled", None)


def test_a_run_from_before_a_restart_of_the_machine(project: ProjectFolder) -> None:
    project.write("train.py", "import time\nprint('x', flush=True)\ntime.sleep(600)\n")
    run_id = project.submit("--async", "train.py").run_id
    control = project.run_folder(run_id) / "control"
    until_printed(project.run_folder(run_id) / "stdout.log", b"x\n")
    said = {}
    # The same process ids, after a restart of the machine.
    for name in ("supervisor", "script"):
        pid, start, *rest = (control / name).read_text().split()
        said[name] = int(pid)
        (control / name).write_text(" ".join([pid, start.partition("/")[0] + "/another-boot", *rest]) + "\n")
    try:
        assert "Lost" in project.amlexec("experiment", "status", "-r", run_id).out
        os.kill(said["script"], 0)  # and the other process with that id was left alone
    finally:
        os.killpg(said["script"], signal.SIGKILL)


def test_a_status_right_after_submit_is_never_lost(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    code = (
        "import pathlib, sys\nfrom amlexec import plan\nfrom amlexec.runs import lifecycle, submit\n"
        "from amlexec.history.folders import read\nfrom amlexec.history.paths import RunPaths\n"
        "from amlexec.config import load as config\n"
        "from amlexec.console import Console\nproject = config.find_project(pathlib.Path.cwd())\n"
        "for _ in range(20):\n"
        "    planned = plan.plan(config.load(project, 'local'), 'train.py')\n"
        "    run_id = submit.submit(planned, Console(), detach=True).run_id\n"
        "    paths = RunPaths.of(project, run_id)\n"
        "    status = lifecycle.refresh(project, read(paths)).status\n"
        "    assert status in {'Starting', 'Running', 'Completed'}, status\n"
    )
    done = project.call(sys.executable, "-c", code)
    assert done.code == 0, done.err


def test_200_megabytes_of_output(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import sys\nfor _ in range(200):\n    sys.stdout.buffer.write(bytes(1 << 20))\n",
    )
    with (project.root.parent / "out").open("wb") as out:
        process = project.start(
            *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py"), stdout=out
        )
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    (run_id,) = project.run_ids()
    assert (project.run_folder(run_id) / "stdout.log").stat().st_size == 200 << 20
    assert (project.root.parent / "out").read_bytes().count(b"\0") >= 200 << 20


def test_bytes_that_are_not_utf8(project: ProjectFolder) -> None:
    project.write("train.py", "import sys\nsys.stdout.buffer.write(bytes(range(256)))\n")
    process = project.start(
        *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py")
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert bytes(range(256)) in out


def test_10000_output_files(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import os\nos.makedirs('outputs', exist_ok=True)\n"
        "for n in range(10000):\n    open('outputs/%d' % n, 'w')\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert len(os.listdir(project.run_folder(done.run_id) / "outputs")) == 10000  # noqa: PTH208
    assert project.record(done.run_id)["outputs"]["files"] == 10000


def test_a_script_that_forks_and_exits(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(5)\n    os._exit(0)\n"
        "print('gone')\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "gone" in done.out


def test_a_closed_output(project: ProjectFolder) -> None:
    project.write("train.py", "for n in range(100000):\n    print('line', n)\n")
    process = project.start(
        *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py")
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(PATIENCE) == 141, err
    assert "Traceback" not in err
    (run_id,) = project.run_ids()
    eventually(
        lambda: "Completed" in project.amlexec("experiment", "status", "-r", run_id).out, "the run goes on"
    )


def test_a_truncated_record_hides_no_other(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    broken, whole = project.submit("train.py").run_id, project.submit("train.py").run_id
    record = project.run_folder(broken) / "run.json"
    record.write_text(record.read_text()[:100])
    done = project.amlexec("history", "list")
    assert done.code == 0, done.err
    assert whole in done.out
    (row,) = [line for line in done.out.splitlines() if line.startswith(broken)]
    assert "broken" in row
    done = project.amlexec("experiment", "status", "-r", broken)
    assert done.code == 2
    assert "can't be read" in done.err
    assert (project.run_folder(broken) / "stdout.log").read_text() == "x\n"


def test_other_files_in_the_runs_folder(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    project.write(".amlexec/runs/mine/notes.txt", "mine")
    project.write(".amlexec/runs/file.txt", "mine too")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    listed = project.amlexec("history", "list")
    assert listed.code == 0, listed.err
    assert done.run_id in listed.out
    (row,) = [line for line in listed.out.splitlines() if line.startswith("mine")]
    assert "not a run" in row
    assert project.amlexec("history", "last").code == 0
    assert (project.root / ".amlexec/runs/mine/notes.txt").read_text() == "mine"
    assert (project.root / ".amlexec/runs/file.txt").read_text() == "mine too"


def test_a_damaged_doit_database(project: ProjectFolder) -> None:
    project.write(".amlexec/doit.db", b"\0garbage" * 1000)
    done = project.doit("lint")
    assert done.code == 0, done.err
    assert "doit's state was damaged" in done.err
    assert (project.root / ".amlexec/doit.db.damaged").read_bytes() == b"\0garbage" * 1000
    again = project.doit("lint")
    assert again.code == 0
    assert "damaged" not in again.err


@pytest.mark.parametrize("spare", [0, 40, 120, 400])
def test_a_full_disk_in_each_phase(small_disk: Path, spare: int) -> None:
    """With `spare` kB left: too little for the record, the snapshot, the copy, or the outputs."""
    project = ProjectFolder(small_disk / "demo")
    project.write(
        "train.py",
        "import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'wb').write(bytes(3000000))\n",
    )
    project.write("data", os.urandom(100_000))
    assert project.amlexec("lint").code == 0
    _fill(small_disk, spare * 1024)
    done = project.submit("train.py")
    assert done.code in {1, 2}, done.err
    assert "/amlexec/runs/submit.py" not in done.err, "no traceback of ours"
    (small_disk / "filler").unlink()
    project.write("train.py", "print('ok')\n")
    for run_id in project.run_ids():
        if not run_id.startswith("."):
            project.amlexec("experiment", "status", "-r", run_id)
            assert project.record(run_id)["status"] in {"Failed", "Lost"}
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert project.amlexec("history", "list").code == 0


def _fill(folder: Path, spare: int) -> None:
    block = bytes(4096)
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            pass
        size = file.tell()
        file.truncate(max(0, size - spare))


def test_a_read_only_disk(small_disk: Path) -> None:
    project = ProjectFolder(small_disk / "demo")
    project.write("train.py", "print('x')\n")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = project.submit("train.py")
    assert done.code == 2, done.err
    assert "read-only" in done.err.lower()
    assert "Traceback" not in done.err
