"""`amlexec history list` with conditions, an order, a limit, and columns of choice."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.commands import run_columns, run_view, run_views
from amlexec.history import folders, listing, tags
from amlexec.history.paths import RunPaths
from amlexec.history.record import instant
from amlexec.values import Project, SweepPoint
from tests.conftest import PATIENCE, ProjectFolder, eventually
from tests.support.records import RUN
from tests.support.terminals import run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 1521077190506


@pytest.fixture
def runs(project: ProjectFolder) -> ProjectFolder:
    for number in range(4):
        paths = RunPaths.of(Project(str(project.root)), f"p_{START + number * 1000}")
        paths.folder.mkdir(parents=True)
        began = START / 1000 + number
        changes: dict[str, Any] = {
            "run_id": paths.folder.name,
            "created_utc": instant(began),
            "start_time_utc": instant(began),
            "end_time_utc": instant(began + 60 * number),
            "status": "Failed" if number == 1 else "Completed",
            "arguments": ("--lr", str(10.0**-number)),
            "metrics": {"accuracy": "NaN" if number == 2 else number / 10},
        }
        folders.write(paths, RUN._replace(**changes))
    tags.change(RunPaths.of(Project(str(project.root)), f"p_{START + 3000}"), {"best": "", "stage": "on"})
    return project


def numbers(project: ProjectFolder, *arguments: str) -> list[int]:
    """The numbers of the listed runs."""
    done = project.amlexec("history", "list", *arguments, "--query", "[].run_id", "-o", "json")
    assert (done.code, done.err) == (0, ""), done.err
    return [(int(name.rpartition("_")[2]) - START) // 1000 for name in json.loads(done.out)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--where", "accuracy >= 0 and not (lr < 0.1 and exists(tags.best))"], [1, 0]),
        (["--where", "accuracy >= 0", "--status", "completed", "--limit", "1"], [3]),
        (["--status", "Failed", "--status", "broken"], [1]),
        (["-c", "local.runconfig", "--target", "local", "--script", "train.py", "--tag", "best"], [3]),
        (["--tag", "stage=on", "--tag", "best"], [3]),
        (["--tag", "stage=true"], []),
        (["--target", "gpu"], []),
        (["--since", "2018-03-15T01:26:32Z", "--until", "2018-03-15T01:26:33Z"], [2]),
        (["--since", "2d"], []),
        (["--sort", "-accuracy"], [3, 1, 0, 2]),
        (["--sort", "accuracy", "--limit", "all"], [0, 1, 3, 2]),
        (["--sort=-duration", "--limit", "2"], [3, 2]),
        (["--sort", "status", "--sort", "lr"], [3, 2, 0, 1]),
        (["--last", "2"], [3, 2]),
    ],
)
def test_runs_are_chosen_and_sorted(runs: ProjectFolder, arguments: list[str], expected: list[int]) -> None:
    if expected:
        assert numbers(runs, *arguments) == expected
    else:
        done = runs.amlexec("history", "list", *arguments)
        assert (done.code, done.out, done.err) == (0, "", "no run meets the conditions\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--where", "accuracy >"],
            "--where: error: expected a value, not the end, at column 11\n  hint: accuracy >\n",
        ),
        (["--where", "acuracy > 1"], "^ did you mean accuracy?"),
        (["--sort", "acuracy"], "--sort: error: no run has"),
        (["--where", "accuracy > 0", "--sort", "acuracy"], "--sort: error: no run has"),
        (["--columns", "run_id,,"], "--columns: error: expected a name"),
        (["--columns", "acuracy"], "--columns: error: no run here has"),
        (["--columns", "run.acuracy"], "--columns: error: a run has no field"),
        (
            ["--status", "Failde"],
            "--status: error: there is no status 'Failde'\n  hint: did you mean Failed?",
        ),
        (["--since", "yesterday"], "--since: error: 'yesterday' is not a time"),
        (["--last", "2", "--sort", "accuracy"], "--last can't be combined with --sort"),
        (["--limit", "-1"], "not a number of runs"),
        (["--from", "local", "--where", "a = 1"], "only the submitting computer knows its runs"),
        (["--from", "local", "--last", "2", "--sort", "a"], "--last can't be combined with --sort"),
    ],
)
def test_invalid_options_are_usage_errors(runs: ProjectFolder, arguments: list[str], says: str) -> None:
    done = runs.amlexec("history", "list", *arguments)
    assert (done.code, done.out, says in done.err) == (3, "", True), done.err


def test_columns_of_choice(runs: ProjectFolder) -> None:
    columns = "number,accuracy,min(accuracy),params.lr,tags.stage,status"
    done = runs.amlexec("history", "list", "--columns", columns, "--last", "2")
    assert [line.split() for line in done.out.splitlines() if "-" not in line] == [
        ["number", "accuracy", "min(accuracy)", "params.lr", "tags.stage", "status"],
        ["4", "0.3", "0.3", "0.001", "on", "Completed"],
        ["3", "NaN", "0.01", "Completed"],
    ]
    done = runs.amlexec("history", "list", "--columns", "run_id,params.lr", "--last", "1", "-o", "json")
    assert json.loads(done.out) == [{"run_id": f"p_{START + 3000}", "params.lr": 0.001}]
    flat = runs.amlexec(
        "history", "list", "--columns", "run_id,params.lr", "--last", "1", "-o", "json", "--flat"
    )
    assert flat == done


def test_the_runs_of_a_sweep(runs: ProjectFolder) -> None:
    for number in (1, 3):
        paths = RunPaths.of(Project(str(runs.root)), f"p_{START + number * 1000}")
        folders.write(paths, folders.read(paths)._replace(sweep=SweepPoint("doit-1", number, {"lr": 1})))
    listed = runs.amlexec("history", "list").out.splitlines()
    assert listed[0].split()[:7] == [
        *("Run_id", "Script_name", "Target", "Status", "Start_time_utc", "Duration", "Sweep")
    ]
    assert ["doit-1" in line for line in listed[2:]] == [True, False, True, False]
    assert numbers(runs, "--sweep", "doit-1") == numbers(runs, "--where", "sweep = doit-1") == [3, 1]
    assert numbers(runs, "--where", "point > 1 or not exists(sweep)", "--sort", "point") == [3, 2, 0]
    done = runs.amlexec("history", "list", "--columns", "point,sweep", "--sweep", "doit-1", "-o", "csv")
    assert done.out == "point,sweep\n3,doit-1\n1,doit-1\n"
    page = runs.root / "page.html"
    assert runs.amlexec("history", "report", "-o", str(page), "--sweep", "doit-1").code == 0
    assert page.read_text().count('"sweep":"doit-1"') == 2
    assert '"sweep":null' not in page.read_text()
    for arguments, said in (
        (("--sweep", "doit-2"), "there are no runs of the sweep 'doit-2'"),
        (("--sweep", "last"), "there are no sweeps"),
        (("--sweep", "doit-1", "--last", "1"), "--sweep can't be combined with RUN or --last"),
    ):
        done = runs.amlexec("history", "report", *arguments)
        assert (done.code, said in done.err) == (3, True), done.err


def test_csv_has_every_value_in_full(runs: ProjectFolder) -> None:
    paths = RunPaths.of(Project(str(runs.root)), f"p_{START}")
    record = folders.read(paths)
    metrics = {"a,b\n\"c'": 1 / 3, "=1+1": [1, {"a": "b"}], "ok": True, "none": None, "big": 2**60}
    folders.write(paths, record._replace(metrics=metrics, metric_counts=dict.fromkeys(metrics, 1)))
    paths.folder.with_name("holiday.jpg").touch()
    done = runs.amlexec("history", "list", "-o", "csv", "--sort", "created")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["run_id"] for row in rows][-1] == "holiday.jpg" and rows[-1]["status"] == "broken"
    first = rows[0]
    assert first["metrics.a,b\n\"c'"] == "0.3333333333333333"
    assert json.loads(first["metrics.=1+1"]) == [1, {"a": "b"}]
    assert (first["metrics.ok"], first["metrics.none"], first["metrics.big"]) == ("true", "", str(2**60))
    assert (rows[3]["tags.stage"], rows[2]["metrics.accuracy"], rows[1]["params.lr"]) == ("on", "NaN", "0.1")
    done = runs.amlexec("history", "list", "-o", "csv", "--columns", "run_id,run_id", "--last", "1")
    assert done.out == f"run_id\np_{START + 3000}\n"


def test_a_long_table_is_cut_and_says_so(runs: ProjectFolder) -> None:
    program = "from amlexec.commands import history_list; history_list.MOST_IN_A_TABLE = 3\n"
    program += "import sys; from amlexec.cli import run; sys.exit(run(['history', 'list', *sys.argv[1:]]))"
    for arguments, note in (([], "newest"), (["--status", "completed"], ""), (["--sort", "lr"], "first")):
        done = runs.call(sys.executable, "-c", program, *arguments)
        assert done.out.count("\n") == 5
        assert done.err == (f"the {note} 3 of 4 runs; --limit all shows all\n" if note else "")
    assert runs.call(sys.executable, "-c", program, "--limit", "all").out.count("\n") == 6


def test_a_run_that_has_ended_meanwhile_is_seen_to_have(project: ProjectFolder, tmp_path: Path) -> None:
    go = tmp_path / "go"
    project.write(
        "train.py",
        "import os, time\nfrom amlexec.run import log\nlog('loss', 2)\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\nlog('loss', 1)\n",
    )
    project.submit("--async", "train.py")
    where = [
        "history",
        "list",
        "--status",
        "running",
        "--where",
        "loss = 2",
        "-o",
        "csv",
        "--columns",
        "loss",
    ]
    eventually(lambda: project.amlexec(*where).out == "loss\n2\n", "the run is listed")
    go.touch()
    where[3], where[5] = "completed", "loss = 1 and duration > 0"
    eventually(lambda: project.amlexec(*where).out == "loss\n1\n", "the run has ended")


@pytest.mark.parametrize("is_late", [True, False])
def test_a_long_reading_is_shown_on_a_terminal(
    runs: ProjectFolder, is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import sys\nfrom amlexec import progress\n"
    program += f"progress.LATE_S = {-1 if is_late else 3600}\n"
    program += "from amlexec.cli import run\n"
    program += (
        "sys.exit(run(['history', 'list', '--where', 'min(accuracy) >= 0.3', '--columns', 'accuracy']))\n"
    )
    found = run_on_terminal(runs, sys.executable, "-c", program, stdout=False)
    assert found.out.split() == ["accuracy", "--------", "0.3"]
    assert (b"reading 4 runs" in found.shown) is is_late
    assert (found.shown == b"") is not is_late
    # Into a file nothing is written, however long it takes.
    monkeypatch.setenv("AMLEXEC_CACHE", str(runs.root.parent / "another cache"))
    assert runs.call(sys.executable, "-c", program) == (0, found.out, "")


class View(dict[str, Any]):
    """A view of a run of which is known whether it is still in memory."""


@pytest.mark.parametrize("columns", [None, "accuracy,lr,status,max(accuracy)"])
def test_a_table_keeps_only_what_it_shows(runs: ProjectFolder, columns: str | None) -> None:
    project = Project(str(runs.root))
    views: list[weakref.ref[View]] = []

    def each() -> Iterator[View]:
        for name in listing.newest(project):
            (shown,) = run_views.of_names(project, [name], files=False, silent={})
            view = View(shown)
            views.append(weakref.ref(view))
            yield view
            del view
            assert sum(view() is not None for view in views) <= 1

    if columns is None:
        table = run_view.listing(each())
    else:
        table = run_columns.table(run_columns.chosen(project, each(), run_columns.parse(columns)))
    assert [[*column.values] for column in table if column.title in {"accuracy", "max(accuracy)"}] == (
        [[0.3, "NaN", 0.1, 0.0]] + ([[0.3, None, 0.1, 0.0]] if columns else [])
    )
    assert not any(view() for view in views)


def test_a_reader_that_closes_the_pipe(runs: ProjectFolder) -> None:
    process = runs.start(sys.executable, "-m", "amlexec", "history", "list", "-o", "csv", stdout=-1)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(PATIENCE) in {0, 141}
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_another_encoding_and_a_small_number_of_files(runs: ProjectFolder) -> None:
    paths = RunPaths.of(Project(str(runs.root)), f"p_{START}")
    folders.write(paths, folders.read(paths)._replace(metrics={"損失\x1b[31m": 1}))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = runs.call(
        "sh", "-c", 'ulimit -n 64; exec "$@"', "sh", sys.executable, "-m", "amlexec", "history", "list",
        "--where", 'metrics."損失\x1b[31m" = 1', env=environment,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "\\u640d\\u5931\\x1b[31m" in done.out
