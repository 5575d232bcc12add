"""`amlexec history` on the command line, with records in the format of runs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amlexec.commands import output
from amlexec.commands.output import cell, table
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import Interpreter, Outputs, SnapshotRecord, Source, instant
from amlexec.values import Project
from tests.support import commands
from tests.support.records import RUN

TIMEOUT = 120
START = 1521077190506  # 2018-03-15T01:26:30.506Z

RECORD = RUN._replace(
    status="Completed",
    environment_variables={"SEED": "1"},
    created_utc="",
    start_time_utc="",
    end_time_utc="",
    exit_code=0,
    python=Interpreter("/usr/bin/python3", "3.11.2"),
    snapshot=SnapshotRecord("a" * 40, 3, 1000),
    source=Source("c" * 40, dirty=False),
    metrics={},
    outputs=Outputs(0, 0),
    user_id="ada",
    host="laptop",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path.resolve() / "my project"
    (root / "aml_config").mkdir(parents=True)
    (root / "aml_config" / "local.compute").write_text(f"type: local\npythonLocation: {sys.executable}\n")
    (root / "aml_config" / "local.runconfig").write_text("Target: local\nFramework: Python\n")
    return Project(str(root))


def add(project: Project, later: int, **changes: Any) -> RunPaths:
    """A run that began `later` seconds after the first and took 4.892389 seconds."""
    began = START / 1000 + later
    run_id = f"my-project_{START + later * 1000}"
    paths = RunPaths.of(project, run_id)
    paths.folder.mkdir(parents=True)
    times = {
        "created_utc": instant(began),
        "start_time_utc": instant(began),
        "end_time_utc": instant(began + 4.892389),
    }
    folders.write(paths, RECORD._replace(run_id=run_id, **(times | changes)))
    return paths


def amlexec(project: Project, *arguments: str, code: int = 0) -> tuple[str, str]:
    """The stdout and stderr of `amlexec history ARGUMENTS`."""
    if commands.can_fork(os.environ):
        told = ("history", *arguments)
        ended, out, err = commands.run_forked("amlexec", told, Path(project.root), os.environ, TIMEOUT)
    else:
        fresh = [sys.executable, "-m", "amlexec", "history", *arguments]
        done = subprocess.run(fresh, cwd=project.root, capture_output=True, timeout=TIMEOUT)
        ended, out, err = done.returncode, done.stdout, done.stderr
    stdout, stderr = out.decode(), err.decode()
    assert "Traceback" not in stderr, stderr
    assert ended == code, stderr
    return stdout, stderr


def in_json(project: Project, *arguments: str) -> Any:
    return json.loads(amlexec(project, *arguments, "-o", "json")[0])


def test_list_is_a_table_with_the_newest_first(project: Project) -> None:
    add(project, 0, metrics={"Accuracy": 0.9733333333333334, "loss": [3, 2, 1]})
    add(
        project,
        60,
        script_name="tune.py",
        status="Failed",
        exit_code=1,
        metrics={"Accuracy": 0.5, "Cell": "A"},
    )
    add(project, 30, start_time_utc=None, end_time_utc=None, status="Canceled")
    stdout, stderr = amlexec(project, "list")
    assert stderr == ""
    assert stdout.splitlines() == [
        (
            "Run_id                    Script_name  Target  Status     Start_time_utc        Duration        "
            "Accuracy  Cell  loss"
        ),
        (
            "------------------------  -----------  ------  ---------  --------------------  --------------  "
            "--------  ----  -------------"
        ),
        (
            "my-project_1521077250506  tune.py      local   Failed     2018-03-15T01:27:30Z  0:00:04.892389  "
            "     0.5  A"
        ),
        "my-project_1521077220506  train.py     local   Canceled",
        (
            "my-project_1521077190506  train.py     local   Completed  2018-03-15T01:26:30Z  0:00:04.892389  "
            "0.973333        1 (last of 3)"
        ),
    ]


def test_list_in_json_has_the_keys_of_workbench(project: Project) -> None:
    paths = add(project, 0, metrics={"Accuracy": 0.97, "status": "a metric of this name"})
    paths.stdout.write_text("hello\n")
    paths.outputs.joinpath("plots").mkdir(parents=True)
    paths.outputs.joinpath("plots", "a.png").touch()
    add(project, 60)
    newest, oldest = in_json(project, "list")
    assert [newest["run_number"], oldest["run_number"]] == [2, 1]
    assert oldest == oldest | {
        "run_id": "my-project_1521077190506",
        "status": "Completed",
        "metrics": {"Accuracy": 0.97, "status": "a metric of this name"},
        "attachments": "stdout.log,run.json,outputs/plots/a.png",
        "created_utc": "2018-03-15T01:26:30.506000Z",
        "start_time_utc": "2018-03-15T01:26:30.506000Z",
        "duration": "0:00:04.892389",
        "properties": {"CommitId": "a" * 40},
        "arguments": ["--lr", "0.1"],
        "script_name": "train.py",
        "target": "local",
        "user_id": "ada",
        "experiment_id": "my project",
        "hidden": False,
        "heartbeat_enabled": False,
        "description": None,
        "name": None,
        "parent_run_id": None,
    }
    assert "Accuracy" not in oldest
    flat = in_json(project, "list", "--flat")[1]
    assert flat == oldest | {"Accuracy": 0.97}
    assert [run["run_id"] for run in in_json(project, "list", "--last", "1")] == [newest["run_id"]]


def test_list_without_runs(project: Project) -> None:
    stdout, stderr = amlexec(project, "list")
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert "no runs" in stderr
    assert in_json(project, "list") == []
    assert "no runs" in amlexec(project, "last", code=3)[1]


@pytest.mark.parametrize(
    ("query", "form", "expected"),
    [
        ("[?status=='Completed'].run_id", "json", ["my-project_1521077250506", "my-project_1521077190506"]),
        ("@[?metrics.Accuracy != null] | max_by(@, &metrics.Accuracy).metrics.Accuracy", "table", "0.97\n"),
        ("[?duration] | sort_by(@, &duration)[0].script_name", "table", "train.py\n"),
        ("[].[run_number, status]", "table", "Column1  Column2\n-------  ---------\n      2  Completed\n"),
        ("[].{Id: run_number}", "table", "Id\n--\n 2\n 1\n"),
        ("[0].metrics", "table", "Key       Value\n--------  -----\nAccuracy   0.97\n"),
        ("[].script_name", "table", "train.py\ntrain.py\n"),
        ("[0].nothing", "json", None),
    ],
)
def test_queries(project: Project, query: str, form: str, expected: object) -> None:
    add(project, 0)
    add(project, 60, metrics={"Accuracy": 0.97})
    stdout, stderr = amlexec(project, "list", "--query", query, "-o", form)
    lines = stdout.splitlines()
    if form == "table" and isinstance(expected, str) and expected.startswith("Column1"):
        stdout = "".join(f"{line}\n" for line in lines[:3])
    assert (json.loads(stdout) if form == "json" else stdout) == expected
    assert stderr == ""


def test_a_recipe_of_workbench_works_on_the_flat_view(project: Project) -> None:
    add(project, 0, metrics={"Accuracy": 0.5})
    add(project, 60, metrics={"Accuracy": 0.97})
    add(project, 90)
    query = "@[?Accuracy != null] | max_by(@, &Accuracy).Accuracy"
    assert amlexec(project, "list", "--flat", "--query", query)[0] == "0.97\n"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "[?",
        "[?status=",
        "status ==",
        "a b",
        "'",
        "length(`1`)",
        "nothing(@)",
        "sort_by(@)",
        "✓",
        "sort_by(@, &metrics)",
        "max_by(@, &[exit_code, script_name])",
        "[0].status.status | length(@)",
    ],
)
def test_a_bad_query_says_so(project: Project, query: str) -> None:
    add(project, 0, metrics={"x" * 1000: 1})
    stdout, stderr = amlexec(project, "list", "--query", query, code=3)
    assert stdout == ""
    assert re.match(r"error: --query .*\n  hint: ", stderr), stderr
    assert len(stderr) < 600


def test_damaged_records_and_other_files_are_reported_and_the_rest_listed(project: Project) -> None:
    add(project, 0)
    for later in (30, 60):
        record = add(project, later).record
        record.write_bytes(record.read_bytes()[:100])
    runs = Path(project.state, "runs")
    (runs / "holiday.jpg").write_bytes(b"\xff\xd8")
    (runs / "notes").mkdir()
    (runs / ".DS_Store").touch()
    listed, stderr = in_json(project, "list"), amlexec(project, "list")[1]
    assert stderr == ""
    newest = ["my-project_1521077250506", "my-project_1521077220506", "my-project_1521077190506"]
    assert [run["run_id"] for run in listed] == [*newest, "notes", "holiday.jpg"]
    assert [run["status"] for run in listed] == ["broken", "broken", "Completed", "broken", "broken"]
    assert "can't be read" in listed[0]["reason"] and "not a run id" in listed[4]["reason"]
    assert {tuple(run) for run in listed} == {tuple(listed[0])}
    assert in_json(project, "list", "--status", "completed") == [listed[2]]
    assert in_json(project, "list", "--status", "broken") == listed[:2] + listed[3:]
    assert amlexec(project, "list")[0].count("broken") == 4
    stdout, stderr = amlexec(project, "last", "--query", "run_id")
    assert stdout == "my-project_1521077190506\n"
    assert stderr.count("warning: ") == 1
    _, stderr = amlexec(project, "info", "-r", "my-project_152107722", code=2)
    assert "run.json: error: this record can't be read" in stderr


def test_last_and_info_show_a_run(project: Project) -> None:
    add(project, 0, metrics={"Regularization Rate": 0.01, "loss": list(range(100_000))})
    add(project, 60)
    stdout, _ = amlexec(project, "info", "-r", "my-project_15210771")
    shown = {line[:40].split("  ")[0]: line.split("  ")[-1].strip() for line in stdout.splitlines()[2:]}
    assert shown["run_id"] == "my-project_1521077190506"
    assert shown["metrics.Regularization Rate"] == "0.01"
    assert not {"description", "image_id"} & set(shown)
    assert shown["properties.CommitId"] == "a" * 40
    assert max(map(len, stdout.splitlines())) < 150
    assert in_json(project, "last")["run_id"] == "my-project_1521077250506"
    assert in_json(project, "info", "-r", "last")["run_number"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "-r", "my-project_1521077190507"], "did you mean my-project_1521077190506"),
        (["info", "-r", "my-project_1521077"], "2 runs begin with"),
        (["info", "-r", ""], "there is no run ''"),
        (["info", "-r", "../runs/my-project_1521077190506"], "there is no run"),
        (["compare", "last"], "there is only one run to compare"),
        (["compare", "last", "nobody"], "there is no run 'nobody'"),
        (["list", "--last", "0"], "not a number of runs"),
        (["lsit"], "lsit"),
        (["download", "-r", "last", "--artifact", "outputs/none"], "no artifact"),
    ],
)
def test_invalid_arguments_are_usage_errors(project: Project, arguments: list[str], says: str) -> None:
    add(project, 0)
    add(project, 60)
    stdout, stderr = amlexec(project, *arguments, code=3)
    assert (stdout, says in stderr) == ("", True), stderr


@pytest.fixture
def artifacts(project: Project) -> RunPaths:
    paths = add(project, 0)
    paths.stdout.write_bytes(b"\xff\x00no text\r\n")
    paths.stderr.write_text("careful\n")
    paths.log.write_text("what amlexec did\n")
    for name in ("model.pkl", "report/a b\u2713.txt", "outputs/x", "driver_log"):
        path = paths.outputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return paths


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("driver_log", b"\xff\x00no text\r\n"),
        ("driver_log.txt", b"\xff\x00no text\r\n"),
        ("stdout.log", b"\xff\x00no text\r\n"),
        ("stderr.log", b"careful\n"),
        ("control_log", b"what amlexec did\n"),
        ("outputs/driver_log", b"driver_log"),
        ("outputs/model.pkl", b"model.pkl"),
        ("./outputs//model.pkl", b"model.pkl"),
        ("model.pkl", b"model.pkl"),
        ("report/a b\u2713.txt", "report/a b\u2713.txt".encode()),
        ("outputs/x", b"outputs/x"),
        ("outputs/outputs/x", b"outputs/x"),
    ],
)
def test_an_artifact_is_printed_unchanged(
    project: Project, artifacts: RunPaths, name: str, contents: bytes
) -> None:
    command = [sys.executable, "-m", "amlexec", "history", "info", "-r", "last", "-a", name]
    result = subprocess.run(command, cwd=project.root, capture_output=True, timeout=TIMEOUT)
    assert (result.returncode, result.stdout, result.stderr) == (0, contents, b"")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.pk", "did you mean outputs/model.pkl"),
        ("outputs/report", "did you mean outputs/report/a b\u2713.txt"),
        ("zzz", "it has control.log, stdout.log, stderr.log, run.json, outputs/"),
        ("../my-project_1521077190506/run.json", "no artifact"),
        ("/etc/passwd", "no artifact"),
        ("outputs/../run.json", "no artifact"),
        ("", "no artifact"),
        ("x" * 5000, "no artifact"),
    ],
)
def test_an_unknown_artifact(project: Project, artifacts: RunPaths, name: str, says: str) -> None:
    stdout, stderr = amlexec(project, "info", "-r", "last", "-a", name, code=3)
    assert (stdout, says in stderr) == ("", True), stderr


def test_compare_marks_differences(project: Project) -> None:
    add(project, 0, metrics={"Accuracy": 0.9, "loss": [2, 1]})
    add(project, 60, metrics={"Accuracy": 0.97}, arguments=("--lr", "0.2"), source=None)
    add(
        project, 90, snapshot=SnapshotRecord("b" * 40, 3, 1000), environment_variables={"SEED": "1", "X": "y"}
    )
    names = [f"my-project_{START + later * 1000}" for later in (0, 60, 90)]
    stdout, stderr = amlexec(project, "compare", "--all", *names)
    lines = stdout.splitlines()
    assert lines[0].split() == ["Key", *names]
    marked = {line[2:].split("  ")[0]: line[0] for line in lines[2:]}
    assert {key for key, mark in marked.items() if mark == "*"} == {
        "arguments",
        "params.lr",
        "environment_variables.X",
        "snapshot.tree",
        "source.commit",
        "source.dirty",
        "start_time_utc",
        "metrics.Accuracy",
        "metrics.loss",
    }
    assert {"status", "target", "python.version", "environment_variables.SEED"} <= set(marked)
    assert "image_id" not in marked
    compared = in_json(project, "compare", names[0], names[0])
    assert compared["runs"] == [names[0], names[0]]
    assert not [row for row in compared["rows"] if row["differs"]]
    only = amlexec(project, "compare", *names[:2], "--query", "rows[?key=='arguments'].values[1][1]")[0]
    assert only == "0.2\n"
    assert "no snapshots on this computer" in stderr


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_download_copies_every_artifact(project: Project, artifacts: RunPaths) -> None:
    (artifacts.control).mkdir()
    (artifacts.control / "end").touch()
    (artifacts.outputs / "latest").symlink_to("model.pkl")
    os.mkfifo(artifacts.outputs / "pipe")
    expected = {
        name: contents for name, contents in tree(artifacts.folder).items() if not name.startswith("control/")
    }
    stdout, stderr = amlexec(project, "download", "-r", "last")
    folder = Path(project.root, stdout.removesuffix("\n"))
    assert folder == Path(project.root, "artifacts", "my-project_1521077190506")
    assert tree(folder) == expected
    assert (folder / "outputs" / "latest").is_symlink()
    assert stderr.startswith(f"{len(expected)} files of ")


def test_download_replaces_files_only_with_overwrite(
    project: Project, artifacts: RunPaths, tmp_path: Path
) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (folder / "stderr.log").symlink_to(precious)
    arguments = ["download", "-r", "last", "-d", str(folder)]
    _, stderr = amlexec(project, *arguments, code=3)
    assert "stderr.log already exists" in stderr and "--overwrite" in stderr
    assert [path.name for path in folder.iterdir()] == ["stderr.log"]
    amlexec(project, *arguments, "--overwrite")
    assert (folder / "stderr.log").read_text() == "careful\n"
    assert precious.read_text() == "precious"
    amlexec(project, *arguments, "--overwrite")
    assert tree(folder) == tree(artifacts.folder)
    _, stderr = amlexec(project, *arguments, code=3)
    assert "more already exist" in stderr


def test_download_of_one_artifact(project: Project, artifacts: RunPaths, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    amlexec(project, "download", "-r", "last", "--artifact", "model.pkl", "-d", str(folder))
    assert tree(folder) == {"outputs/model.pkl": b"model.pkl"}


SLOW = """\
import sys
from amlexec.run import log
log("loss", 2)
log("loss", 1)
with open(sys.argv[1], "w") as ready:
    ready.write("ready")
with open(sys.argv[2]) as go:
    go.read()
log("Accuracy", 0.97)
"""


def test_a_running_run_is_refreshed(project: Project, tmp_path: Path) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    Path(project.root, "train.py").write_text(SLOW)
    command = [sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "--async"]
    subprocess.run([*command, "train.py", ready, go], cwd=project.root, check=True, timeout=TIMEOUT)
    end = os.open(ready, os.O_RDWR)
    assert select.select([end], [], [], TIMEOUT)[0], "the script has not reached this point"
    os.close(end)
    first, second = in_json(project, "last"), in_json(project, "list")[0]
    assert first["status"] == second["status"] == "Running"
    assert first["metrics"] == {"loss": 1}
    assert first["metric_counts"] == {"loss": 2}
    assert first["exit_code"] is None
    assert "0:00:00.000000" < first["duration"] < second["duration"]
    _, stderr = amlexec(project, "download", "-r", "last", "-d", str(tmp_path / "copy"))
    assert "the run is Running" in stderr
    with go.open("w") as sink:
        sink.write("go")
    until = time.monotonic() + TIMEOUT
    while (last := in_json(project, "list")[0])["status"] == "Running" and time.monotonic() < until:
        time.sleep(0.05)
    assert (last["status"], last["exit_code"]) == ("Completed", 0)
    assert last["metrics"] == {"loss": 1, "Accuracy": 0.97}
    assert in_json(project, "last")["duration"] == last["duration"]


def test_the_hot_path_imports_nothing_heavy(project: Project) -> None:
    add(project, 0, metrics={"Accuracy": 0.97})
    heavy = {"jmespath", "jsonschema", "yaml", "doit", "subprocess", "unicodedata", "amlexec.runs.lifecycle"}
    script = f"import sys\nfrom amlexec.cli import run\nassert run(['history', 'last']) == 0\n\
assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)\n"
    subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, check=True, timeout=TIMEOUT, capture_output=True
    )


def test_a_closed_pipe_is_not_an_error(project: Project) -> None:
    for later in range(30):
        add(project, later, metrics={f"metric {number}": number for number in range(200)})
    process = subprocess.Popen(
        [sys.executable, "-m", "amlexec", "history", "list", "-o", "json"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"[\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(TIMEOUT) == 141


NARROW = {
    80: """\
Run_id                    Status     Start_time_utc     lr   точность  損失の値
------------------------  ---------  -----------------  ---  --------  --------
my-project_1521077310506  Failed     2018-03-15T01:28Z  0.1       0.7       0.5
my-project_1521077250506  Completed  2018-03-15T01:27Z  0.2       0.6      0.25
my-project_1521077190506  Completed  2018-03-15T01:26Z  0.1       0.5     0.125
the same in all: Script_name train.py, Target local, Duration 0:00:04.892389,
  seed 7
left out for lack of room (-o json has all): a/long name of a metric, notes
""",
    110: """\
Run_id                    Status     Start_time_utc     lr   точность  損失の値  a/long …metric  notes
------------------------  ---------  -----------------  ---  --------  --------  --------------  -------------
my-project_1521077310506  Failed     2018-03-15T01:28Z  0.1       0.7       0.5               3  what w…2 日本
my-project_1521077250506  Completed  2018-03-15T01:27Z  0.2       0.6      0.25               2  what w…1 日本
my-project_1521077190506  Completed  2018-03-15T01:26Z  0.1       0.5     0.125               1
the same in all: Script_name train.py, Target local, Duration 0:00:04.892389, seed 7
""",
}


def test_a_list_of_numbers_is_shown_as_a_series(project: Project) -> None:
    metrics = {"layers": [64, 32, 10], "Accuracy": 0.9, "empty": [], "names": ["a", "b"]}
    add(project, 0, metrics=metrics, metric_counts=dict.fromkeys(metrics, 1))
    shown = amlexec(project, "list")[0].splitlines()
    assert shown[0].split()[-4:] == ["layers", "Accuracy", "empty", "names"]
    assert shown[2].endswith('10 (last of 3)       0.9  []     ["a", "b"]')
    assert in_json(project, "list")[0]["metrics"]["layers"] == [64, 32, 10]


@pytest.mark.parametrize("columns", NARROW)
def test_a_list_on_a_narrow_terminal(project: Project, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    for number in range(3):
        metrics = {
            "lr": ["0.1", "0.2"][number % 2],
            "точность": [0.1, 0.5 + number / 10],
            "損失の値": 0.125 * 2**number,
            "a/long name of a metric": number + 1,
            "seed": 7,
        }
        if number:
            metrics["notes"] = f"what was found {number} 日本"
        add(project, 60 * number, metrics=metrics, status="Failed" if number == 2 else "Completed")
    whole = amlexec(project, "list")[0]
    assert "0.7 (last of 2)" in whole
    for other in ("0", "wide", "-80", ""):
        monkeypatch.setenv("COLUMNS", other)
        assert amlexec(project, "list")[0] == whole
    monkeypatch.setenv("COLUMNS", str(columns))
    assert amlexec(project, "list")[0] == NARROW[columns]
    assert len(in_json(project, "list")) == 3


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        *(("abcdef", 6, "abcdef"), ("abcdef", 5, "ab…ef"), ("abcdef", 4, "ab…f"), ("abcdef", 1, "…")),
        *(
            ("日本語日本", 9, "日本…日本"),
            ("日本語日本", 8, "日本…本"),
            ("e\u0301abcd", 4, "e\u0301a…d"),
            ("", 0, ""),
        ),
    ],
)
def test_a_cut_text_keeps_both_ends(text: str, limit: int, shown: str) -> None:
    assert output.cut(text, limit) == shown
    assert output.width(shown) <= limit


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    yield ours, theirs
    os.close(ours)


def test_a_table_fits_the_terminal(project: Project, terminal: tuple[int, int]) -> None:
    add(project, 0, script_name="a/very/long/path/to/a/script.py", metrics={"Accuracy": 0.97})
    ours, theirs = terminal
    command = [sys.executable, "-m", "amlexec", "history", "list"]
    with subprocess.Popen(command, cwd=project.root, stdout=theirs) as process:
        os.close(theirs)
        assert process.wait(TIMEOUT) == 0
    lines = os.read(ours, 1 << 16).decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[3:] == ["left out for lack of room (-o json has all): Start_time_utc"]
    assert lines[2].startswith("my-project_1521077190506  ")
    assert "\u2026" in lines[2]


def test_cells_of_any_script_stay_aligned() -> None:
    rows = [["\u65e5\u672c\u8a9e", "x"], ["e\u0301t\u00e9", "x"], ["abc", "x"]]
    lines = table(rows, ["Name", "Value"]).splitlines()
    assert lines == [
        "Name    Value",
        "------  -----",
        "\u65e5\u672c\u8a9e  x",
        "e\u0301t\u00e9     x",
        "abc     x",
    ]


def test_a_column_of_numbers_stays_one_with_nan() -> None:
    assert table([[1.5, "NaN"], ["NaN", "a"], [None, "NaN"], [10, "Infinity"]], ["n", "t"]).splitlines() == [
        "  n  t",
        "---  --------",
        "1.5  NaN",
        "NaN  a",
        "     NaN",
        " 10  Infinity",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (3, "3"),
        (0.1, "0.1"),
        (1 / 3, "0.333333"),
        (1e-12, "1e-12"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ([1, "\u2713"], '[1, "\u2713"]'),
        (
            list(range(1000)),
            "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \u2026",
        ),
    ],
)
def test_a_cell_is_one_line_without_control_characters(value: object, text: str) -> None:
    if isinstance(value, list) and len(value) > 10:
        assert len(cell(value)) == 80 and text.startswith(cell(value)[:-1])
    else:
        assert cell(value) == text
