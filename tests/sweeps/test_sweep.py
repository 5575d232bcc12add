"""Sweeps from the command line, with real runs on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import cli
from tests.conftest import PATIENCE, Done, ProjectFolder

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
import json, os, sys
from amlexec.run import log

words = sys.argv[1:]
with open({seen!r}, "a") as file:
    file.write(json.dumps([os.environ["AMLEXEC_TRIAL_NUMBER"], words]) + "\\n")
given = dict(zip(words[::2], words[1::2]))
if given.get("--lr") == "bad":
    sys.exit("this value is bad")
if given.get("--lr") == "silent":
    sys.exit()
while given.get("--wait") and not os.path.exists(given["--wait"]):
    pass
log("accuracy", float(given.get("--lr", "0")) * 2)
"""


class Swept(ProjectFolder):
    """A project with a script that writes down how it was called."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.seen = root.parent / f"seen-{root.name}"
        self.write("train.py", SCRIPT.format(seen=str(self.seen)))

    def sweep(self, *arguments: str) -> Done:
        return self.amlexec("experiment", "sweep", "-c", "local", *arguments)

    def calls(self) -> list[tuple[int, list[str]]]:
        """Point and arguments of every execution of the script, by the point."""
        lines = self.seen.read_text().splitlines() if self.seen.exists() else []
        return sorted((int(number), words) for number, words in map(json.loads, lines))

    def status_or_none(self) -> dict[str, Any] | None:
        """The newest sweep; None if there is none."""
        return self.status() if self.amlexec("sweep", "list").out else None

    def status(self, sweep: str = "last") -> dict[str, Any]:
        done = self.amlexec("sweep", "status", sweep, "-o", "json")
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)
        return found


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    return Swept(tmp_path / "iris")


def test_every_point_is_a_run(swept: Swept) -> None:
    done = swept.sweep("-j", "2", "train.py", "--lr", "0.1,1e-2", "--depth=2..3", "--name", "it's,'a,b'")
    assert done.code == 0, done.err
    expected = [
        ["--lr", lr, f"--depth={depth}", "--name", name]
        for lr in ("0.1", "1e-2")
        for depth in ("2", "3")
        for name in ("it's", "a,b")
    ]
    assert swept.calls() == [*enumerate(expected, 1)]
    records = [swept.record(run) for run in swept.run_ids()]
    assert sorted(record["sweep"]["number"] for record in records) == [*range(1, 9)]
    assert {record["sweep"]["id"] for record in records} == {swept.status()["sweep_id"]}
    first = next(record for record in records if record["sweep"]["number"] == 1)
    assert first["sweep"]["parameters"] == {"lr": 0.1, "depth": 2, "name": "it's"}
    assert first["arguments"] == expected[0]
    assert len({record["snapshot"]["tree"] for record in records}) == 1
    assert first["environment_variables"]["AZUREML_SWEEP_lr"] == "0.1"
    assert len([line for line in done.err.splitlines() if "Completed" in line]) == 8
    assert swept.status()["state"] == "finished"


def test_options_of_amlexec_after_the_name_of_the_script(swept: Swept) -> None:
    """They belong to the script, which may have such options; a sweep of many points may be a surprise."""
    done = swept.sweep("--dry-run", "train.py", "--lr", "1,2", "-j", "2", "--dry-run=x")
    assert done.code == 0
    for word in ("-j", "--dry-run=x"):
        assert f"warning: {word} stands after the script's name, so the script gets it" in done.err
    assert "warning" not in swept.sweep("--dry-run", "-j", "2", "train.py", "--lr", "1,2").err


def test_a_dry_run_lists_the_points_in_order(swept: Swept) -> None:
    done = swept.sweep("--dry-run", "train.py", "--lr", "0.1,0.01", "--text", "a b,c\n")
    assert done.code == 0
    assert done.out.splitlines() == [
        "1  lr=0.1 text='a b'",
        "2  lr=0.1 text='c\\n'",
        "3  lr=0.01 text='a b'",
        "4  lr=0.01 text='c\\n'",
    ]
    assert "4 points" in done.err
    assert not (swept.root / ".amlexec" / "sweeps").exists()


def test_what_is_listed_again_is_executed_once(swept: Swept) -> None:
    done = swept.sweep("--dry-run", "train.py", "--lr", "2,1,2,1.0", "--depth", "3..4")
    assert [line.split()[1:] for line in done.out.splitlines()] == [
        [f"lr={lr}", f"depth={depth}"] for lr in ("2", "1", "1.0") for depth in (3, 4)
    ]
    assert "1 of 4 values of lr are listed again: each is tried once" in done.err
    swept.write("points.csv", "lr\n2\n1\n2\n")
    done = swept.sweep("--dry-run", "--list", "points.csv", "train.py")
    assert done.out == "1  lr=2\n2  lr=1\n"
    assert "1 of 3 points are listed again: each is executed once" in done.err


def test_any_text_reaches_the_script(swept: Swept) -> None:
    done = swept.sweep("train.py", "--text", 'a b,\'c,\nd\',"e",f"g,[1,2],  ')
    assert done.code == 0, done.err
    assert [words[1] for _, words in swept.calls()] == ["a b", "c,\nd", "e", 'f"g', "[1,2]", "  "]


def test_one_failure_does_not_stop_the_others(swept: Swept) -> None:
    done = swept.sweep(
        "--metric", "accuracy", "--goal", "maximize", "train.py", "--lr", "0.1,bad,0.3,silent,nan,0.2"
    )
    assert done.code == 1
    assert "1 of 6 points failed" in done.err
    assert "Best: point 3, accuracy 0.6: lr=0.3" in done.out
    assert "No metric: 1 completed" in done.out
    assert "Not a number: 1 completed" in done.out
    found = swept.status()
    assert [point["status"] for point in found["points"]] == ["Completed", "Failed", *["Completed"] * 4]
    assert [point["metric"] for point in found["points"]] == [0.2, None, 0.6, None, "NaN", 0.4]
    assert found["best"]["number"] == 3
    # Failed points can be tried again, the others are not.
    again = swept.amlexec("experiment", "sweep", "--resume", "last", "--retry")
    assert again.code == 1
    assert [number for number, _ in swept.calls()] == [1, 2, 2, 3, 4, 5, 6]


def test_a_smaller_metric_can_be_better(swept: Swept) -> None:
    done = swept.sweep(
        "--metric", "accuracy", "--goal", "minimize", "-o", "json", "train.py", "--lr", "3,1,2"
    )
    found = json.loads(done.out)
    assert (found["best"]["number"], found["best"]["metric"]) == (2, 2.0)
    assert swept.record(found["best"]["run_id"])["arguments"] == ["--lr", "1"]


def test_fail_fast(swept: Swept) -> None:
    done = swept.sweep("--fail-fast", "train.py", "--lr", "1,bad,2,3")
    assert done.code == 1
    assert "the sweep was stopped: point 2 is Failed: exit code 1: this value is bad" in done.err
    assert [number for number, _ in swept.calls()] == [1, 2]
    assert swept.status()["state"] == "stopped"
    assert swept.amlexec("experiment", "sweep", "--resume", "last").code == 1
    assert [number for number, _ in swept.calls()] == [1, 2, 3, 4]


def test_failures_from_the_start_stop_the_sweep(swept: Swept) -> None:
    done = swept.sweep("-j", "2", "train.py", "--lr", "bad", "--depth", "1..50")
    assert done.code == 1
    assert "the first 10 points failed; point" in done.err
    assert 10 <= len(swept.calls()) <= 12


def test_points_of_files(swept: Swept) -> None:
    swept.write("points.csv", 'lr,text\n0.1,"a,b"\n1e-2,"c\nd"\n')
    swept.write("points.jsonl", '{"lr": 0.1, "on": true}\n\n{"lr": 2, "text": null, "list": [1]}\n')
    swept.write("points.yaml", "- {lr: 0.1, text: x}\n- {lr: 3}\n")
    assert swept.sweep("--list", str(swept.root / "points.csv"), "train.py").code == 0
    assert [words for _, words in swept.calls()] == [
        ["--lr", "0.1", "--text", "a,b"],
        ["--lr", "1e-2", "--text", "c\nd"],
    ]
    done = swept.sweep("--list", str(swept.root / "points.jsonl"), "--dry-run", "-o", "json", "train.py")
    assert [point["parameters"] for point in json.loads(done.out)] == [
        {"lr": 0.1, "on": True},
        {"lr": 2, "text": None, "list": [1]},
    ]
    done = swept.sweep("--list", str(swept.root / "points.yaml"), "--dry-run", "train.py")
    assert done.out.splitlines() == ["1  lr=0.1 text=x", "2  lr=3"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "lr,lr\n1,2\n", "a.csv:1: error: two columns have the same name"),
        ("a.csv", 'lr,b\n"x\ny",2\n3\n', "a.csv:4: error: the row has 1 values, and there are 2 columns"),
        ("a.csv", "lr\n", "a.csv: error: the file lists no points"),
        ("a.jsonl", '{"lr": 1}\n{"lr": }\n', "a.jsonl:2:8: error: this is not JSON"),
        ("a.jsonl", "3\n", "a.jsonl:1: error: a point is 3, not a map of parameters"),
        ("a.jsonl", '{"l r": 1}\n', "a.jsonl:1: error: 'l r' can't be the name of a parameter"),
        ("a.yaml", "- {lr: 1\n", "a.yaml:2:1: error: this is not YAML"),
        ("a.yaml", "lr: 1\n", "a.yaml: error: this is not a list of points"),
        ("a.txt", "lr: 1\n", "a.txt: error: points are read from .csv, .json, .jsonl and .yaml files"),
    ],
)
def test_a_wrong_file_of_points(swept: Swept, name: str, text: str, message: str) -> None:
    swept.write(name, text)
    done = swept.sweep("--list", name, "--dry-run", "train.py")
    assert done.code == 3
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py", "--lr", "0.1"], "there is nothing to search"),
        (["train.py", "--lr", "0.1,,1"], "there is an empty value in '0.1,,1'"),
        (["train.py", "--lr", "0.0..1.0"], "lr has no steps"),
        (["train.py", "--lr", "1,2", "--lr", "3,4"], "two arguments are called lr"),
        (["--metric", "a", "train.py", "--lr", "1,2"], "the metric a has no goal"),
        (["--retry", "train.py", "--lr", "1,2"], "--retry needs --resume"),
        (["--resume", "last", "train.py"], "a sweep that is continued keeps its definition"),
        (["trian.py", "--lr", "1,2"], "there is no script 'trian.py'"),
        (["train.py", "--lr", "1,2", "${{search_space.x}}"], "there is no parameter x"),
        (["-j", "0", "train.py", "--lr", "1,2"], "'0' is not a whole number"),
    ],
)
def test_wrong_usage(swept: Swept, arguments: list[str], message: str) -> None:
    done = swept.sweep(*arguments)
    assert done.code == 3
    assert message in done.err
    assert swept.run_ids() == []
    assert not (swept.root / ".amlexec" / "sweeps").exists()


def test_random_points_are_the_same_for_a_seed(swept: Swept) -> None:
    arguments = ("--random", "4", "--dry-run", "train.py", "--lr", "1e-4..1:log", "--depth", "1..9")
    first = swept.sweep("--seed", "3", *arguments)
    assert first.code == 0
    assert (
        first.out == swept.sweep("--seed", "3", *arguments).out != swept.sweep("--seed", "4", *arguments).out
    )
    assert len(first.out.splitlines()) == 4
    done = swept.sweep("--random", "9", "train.py", "--lr", "1,2,3")
    assert sorted(words[1] for _, words in swept.calls()) == ["1", "2", "3"], done.err


def test_the_argument_vector_can_mention_parameters(swept: Swept) -> None:
    swept.write(
        "aml_config/local.runconfig",
        "Target: local\nFramework: Python\n"
        "ArgumentVector: [train.py, --lr, '${{search_space.lr}}', 'x=${{search_space.lr}}']\n",
    )
    swept.write("points.jsonl", '{"lr": 0.5, "depth": 2}\n')
    assert swept.sweep("--list", "points.jsonl").code == 0
    assert swept.calls() == [(1, ["--lr", "0.5", "x=0.5", "--depth", "2"])]


def waiting(swept: Swept, *arguments: str) -> Any:
    """A sweep as a process of its own group, whose scripts wait for the file `go`."""
    process = swept.start(
        sys.executable,
        "-m",
        "amlexec",
        "experiment",
        "sweep",
        "-c",
        "local",
        *arguments,
        start_new_session=True,
    )
    until = time.monotonic() + PATIENCE
    while not swept.seen.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def test_an_interrupted_sweep_continues_and_nothing_is_done_twice(swept: Swept) -> None:
    go = str(swept.root.parent / "go")
    process = waiting(swept, "-j", "2", "train.py", "--lr", "1..7", "--wait", go)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert b"go on" in err
    assert b"--resume" in err
    assert swept.status()["state"] == "stopped"
    begun = swept.calls()
    assert 1 <= len(begun) <= 2
    (swept.root.parent / "go").touch()
    done = swept.amlexec("experiment", "sweep", "--resume", "last", "-j", "3")
    assert done.code == 0, done.err
    assert [number for number, _ in swept.calls()] == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(swept.record(run)["sweep"]["number"] for run in swept.run_ids()) == [1, 2, 3, 4, 5, 6, 7]
    # A sweep that has ended does nothing more.
    journal = next((swept.root / ".amlexec" / "sweeps").glob("*/journal.jsonl"))
    lines = journal.read_text().splitlines()
    assert swept.amlexec("experiment", "sweep", "--resume", "last").code == 0
    added = [json.loads(line)["event"] for line in journal.read_text().splitlines()[len(lines) :]]
    assert added == ["open", "close"]


def test_one_process_executes_a_sweep(swept: Swept) -> None:
    go = swept.root.parent / "go"
    process = waiting(swept, "train.py", "--lr", "1,2", "--wait", str(go))
    assert swept.status()["state"] == "running"
    second = swept.amlexec("experiment", "sweep", "--resume", "last")
    assert second.code == 3
    assert f"is running, in process {process.pid}" in second.err
    # Another sweep of the project is no problem.
    assert swept.sweep("train.py", "--lr", "3,4").code == 0
    go.touch()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert [number for number, _ in swept.calls()] == [1, 1, 2, 2]
    listed = json.loads(swept.amlexec("sweep", "list", "-o", "json").out)
    assert [one["counts"] for one in listed] == [{"Completed": 2}, {"Completed": 2}]
    for one in listed:
        runs = json.loads(swept.amlexec("history", "list", "--sweep", one["sweep_id"], "-o", "json").out)
        assert {run["sweep"]["id"] for run in runs} == {one["sweep_id"]}
        assert len(runs) == 2
    assert "there is no sweep 'sweep_0'" in swept.amlexec("history", "list", "--sweep", "sweep_0").err


def test_stop_lets_runs_end_and_cancel_does_not(swept: Swept) -> None:
    go = swept.root.parent / "go"
    process = waiting(swept, "train.py", "--lr", "1..3", "--wait", str(go))
    assert "starts no more runs" in swept.amlexec("sweep", "stop").out
    go.touch()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert b"it was asked to stop" in err
    assert swept.status()["counts"] == {"Completed": 1, "Pending": 2}
    go.unlink()
    swept.seen.unlink()
    process = waiting(swept, "train.py", "--lr", "1..3", "--wait", str(go))
    canceled = swept.amlexec("sweep", "cancel")
    assert "1 were canceled" in canceled.out
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    found = swept.status()
    assert found["counts"] == {"Canceled": 1, "Pending": 2}
    record = swept.record(found["points"][0]["run_id"])
    assert (record["status"], record["reason"]) == ("Canceled", f"the sweep {found['sweep_id']} was canceled")


def test_points_are_shared_among_targets(swept: Swept) -> None:
    swept.write("aml_config/other.compute", "type: local\n")
    swept.write("aml_config/other.runconfig", "Target: other\nFramework: Python\n")
    done = swept.sweep("-c", "other", "-j", "2", "train.py", "--lr", "1..12")
    assert done.code == 0, done.err
    assert [number for number, _ in swept.calls()] == [*range(1, 13)]
    used = {point["run_configuration"] for point in swept.status()["points"]}
    assert used == {"local", "other"}


def test_a_target_that_vanishes_leaves_its_points_to_others(swept: Swept) -> None:
    swept.write("aml_config/other.compute", f"type: local\npythonLocation: {swept.root.parent}/python\n")
    swept.write(
        "aml_config/other.runconfig",
        "Target: other\nFramework: Python\nEnvironmentVariables: {OTHER: 1}\n",
    )
    python = swept.root.parent / "python"
    python.symlink_to(sys.executable)
    # The first script that runs on the other target removes its interpreter.
    swept.write("train.py", f"import os\nif 'OTHER' in os.environ:\n    os.unlink({str(python)!r})\n")
    done = swept.sweep("-c", "other", "train.py", "--lr", "1..6")
    found = swept.status()
    assert found["counts"] == {"Completed": 6}, done.err
    assert "no more runs are started with other: pythonLocation is" in done.err
    assert [point["run_configuration"] for point in found["points"]].count("other") == 1
    assert len(swept.run_ids()) == 6


def test_the_options_with_values_are_known() -> None:
    verb = cli.parser("experiment", "sweep")
    for name in ("experiment", "sweep"):
        groups = next(action for action in verb._actions if action.dest in {"group", "verb"})
        assert groups.choices is not None
        verb = dict(groups.choices)[name]  # type: ignore[call-overload]
    with_values = {
        option for action in verb._actions if action.nargs != 0 for option in action.option_strings
    }
    assert with_values == cli._VALUED["sweep"]


def test_a_table_on_a_terminal(swept: Swept) -> None:
    ours, theirs = pty.openpty()
    try:
        command = (sys.executable, "-m", "amlexec", "experiment", "sweep", "-c", "local")
        options = ("--metric", "accuracy", "--goal", "maximize")
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        words = ("train.py", "--lr", "1,2,3")
        process = swept.start(*command, *options, *words, stderr=theirs, env=environment)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 1 << 16):
                shown += piece
        out = process.communicate(timeout=PATIENCE)[0]
    finally:
        os.close(ours)
    assert process.returncode == 0
    assert b"Parameters" in shown
    assert b"3 Pending" in shown
    assert b"Best: point 3" in out
    assert b"\x1b" not in out


def test_many_at_once(swept: Swept) -> None:
    done = swept.sweep("-j", "8", "train.py", "--lr", "1..24")
    assert done.code == 0, done.err
    assert swept.calls() == [(number, ["--lr", str(number)]) for number in range(1, 25)]
    records = [swept.record(run) for run in swept.run_ids()]
    assert sorted(record["sweep"]["number"] for record in records) == [*range(1, 25)]
    assert {point["status"] for point in swept.status()["points"]} == {"Completed"}


def test_ten_thousand_points_continue_with_the_last_one(swept: Swept) -> None:
    assert swept.sweep("--dry-run", "train.py", "--lr", "1..9999,bad").out.count("\n") == 10_000
    done = swept.sweep("-j", "1", "--fail-fast", "train.py", "--lr", "bad,1..9999")
    assert done.code == 1, done.err
    (journal,) = swept.root.glob(".amlexec/sweeps/sweep_*/journal.jsonl")
    ended = [
        {"event": event, "time": "2026-01-01T00:00:00.000000Z", "point": number, **more}
        for number in range(2, 10_000)
        for event, more in (
            ("claim", {"with": "local"}),
            ("end", {"run": f"iris_{number}", "status": "Completed"}),
        )
    ]
    with journal.open("a") as file:
        file.writelines(f"{json.dumps(entry)}\n" for entry in ended)
    done = swept.amlexec("experiment", "sweep", "--resume", "last")
    assert done.code == 1, "the first point has failed"
    assert swept.calls() == [(1, ["--lr", "bad"]), (10_000, ["--lr", "9999"])]
    assert swept.status()["counts"] == {"Completed": 9_999, "Failed": 1}


def test_a_parameter_that_looks_like_a_secret_is_hidden_in_records(swept: Swept) -> None:
    done = swept.sweep("train.py", "--api_key", "hunter2,hunter3", "--max_tokens", "1024,2048")
    assert done.code == 0, done.err
    assert "api_key looks like a secret" in done.err
    assert "max_tokens looks" not in done.err
    texts = [(swept.run_folder(run) / "run.json").read_text() for run in swept.run_ids()]
    assert not any("hunter" in text for text in texts)
    assert [json.loads(text)["sweep"]["parameters"]["max_tokens"] for text in texts] == [1024, 2048] * 2
    assert swept.calls()[3][1] == ["--api_key", "hunter3", "--max_tokens", "2048"]


def test_a_failed_submit_with_several_values_hints_at_a_sweep(swept: Swept) -> None:
    swept.write("train.py", "raise SystemExit(2)\n")
    for words in (["--lr", "0.1,0.01"], ["lr=1..3"]):
        assert "amlexec experiment sweep" in swept.submit("train.py", *words).err
    for words in (["--names", "a,b"], ["--lr", "0.1"], ["--path", "../x,../y"]):
        assert "amlexec experiment sweep" not in swept.submit("train.py", *words).err
