"""Which runs a query selects, whatever happens to the index."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.errors import UsageError
from amlexec.history import (
    folders,
    index,
    index_changes,
    index_file,
    index_readers,
    live_outputs,
    notes,
    query,
    tags,
)
from amlexec.history.paths import RunPaths
from amlexec.history.record import instant
from amlexec.history.series import read_series
from amlexec.values import Project
from tests.support import event_files
from tests.support.records import RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = 1521077190506


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("AMLEXEC_CACHE", str(tmp_path / "cache"))
    root = tmp_path.resolve() / "p"
    root.mkdir()
    return Project(str(root))


def add(project: Project, number: int, **changes: Any) -> RunPaths:
    """The run `p_…` of that number, a second after the one before it."""
    paths = RunPaths.of(project, f"p_{START + number * 1000}")
    paths.folder.mkdir(parents=True, exist_ok=True)
    times = {"created_utc": instant((START + number * 1000) / 1000), "run_id": paths.folder.name}
    values: dict[str, Any] = {"status": "Completed", "metrics": {}, "arguments": ()}
    folders.write(paths, RUN._replace(**(values | times | changes)))
    return paths


def selected(project: Project, where: str | None, *sort: str, limit: int | None = None) -> list[int]:
    """The numbers of the runs."""
    keys = [query.parse_sort(text) for text in sort]
    found = index.select(project, query.parse(where) if where else None, keys, limit)
    return [(int(name.rpartition("_")[2]) - START) // 1000 for name in found.names]


@pytest.fixture
def runs(project: Project) -> Project:
    """Runs with metrics of every kind."""
    add(
        project,
        0,
        metrics={"acc": 0.9, "loss": 3},
        metric_counts={"acc": 1, "loss": 4},
        arguments=("--lr", "1e-3"),
    )
    add(project, 1, metrics={"acc": "NaN", "a b": 1}, arguments=("--lr", "10", "--fp16"), status="Failed")
    add(project, 2, metrics={"acc": "Infinity", "ok": True}, arguments=("--lr=2e-3",), exit_code=1)
    add(
        project,
        3,
        metrics={"acc": None, "list": [1, 2], "text": "a%b"},
        metric_counts={"list": 1},
        arguments=("--opt", "adam"),
    )
    add(
        project, 4, metrics={"acc": 2**60 + 1, "\ud800": 1}, target="gpu", environment_variables={"SEED": "7"}
    )
    paths = add(project, 5, start_time_utc=instant(0), end_time_utc=instant(90), script_name="b c.py")
    tags.change(paths, {"best": "", "stage": "on", "day": "2024-01-01"})
    notes.write(paths, "the best one")
    lines = [json.dumps({"name": "loss", "value": value, "time": 0}) for value in (5, 1, "NaN", 3)]
    RunPaths.of(project, f"p_{START}").metrics.write_text("\n".join(lines) + "\n")
    return project


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("acc > 0.5", [4, 2, 0]),
        ("acc != 0.9", [4, 2]),
        ("not acc > 0.5", [5, 3, 1]),
        ("acc < 1 or acc >= 1", [4, 2, 0]),
        ("exists(acc)", [4, 3, 2, 1, 0]),
        ("not exists(acc)", [5]),
        ("acc = 1152921504606846977", [4]),
        ("acc = 1152921504606846976", []),
        ("lr < 0.01", [2, 0]),
        ("params.lr = '1e-3'", [0]),
        ("lr in (10, 0.002)", [2, 1]),
        ("fp16 = true or ok = true", [2, 1]),
        ("fp16 = 1", []),
        ("opt = adam and not lr > 0", [3]),
        ("opt != sgd", [3]),
        ("opt != 5", [3]),
        ("opt > 5", []),
        ('"a b" = 1', [1]),
        ("list contains '2'", [3]),
        ("text like 'A\\%%'", []),
        ("text like 'A%B'", [3]),
        ("text contains '%'", [3]),
        ("text not contains 'a'", [5, 4, 2, 1, 0]),
        ("tags.stage = on", [5]),
        ("tags.day >= 2024-01-01 and exists(tags.best)", [5]),
        ("tags.nothing = 1", []),
        ("env.SEED = 7 and SEED < 8", [4]),
        ("status = failed", [1]),
        ("status in (Failed, Canceled) or exit_code = 1", [2, 1]),
        ("target != local", [4]),
        ("script = 'b c.py' and script_name like 'b%'", [5]),
        ("duration = 90 and duration < 2m", [5]),
        ("duration > 2m", []),
        ("note contains best", [5]),
        ("run_id like '%506'", [5, 4, 3, 2, 1, 0]),
        ("created >= 2018-03-15T01:26:34Z and created < '2018-03-15T01:26:35Z'", [4]),
        ("age < 1d", []),
        ("dirty = false", [5, 4, 3, 2, 1, 0]),
        ("metrics.loss > params.lr", [0]),
        ("loss < max(loss)", [0]),
        ("min(loss) = 1 and max(loss) = 5 and first(loss) = 5 and count(loss) = 4", [0]),
        ("min(acc) > 0.5", [4, 2, 0]),
        ("0.5 < acc", [4, 2, 0]),
        ("metrics.acc = 0.9 and not (metrics.acc = 0.9 and target = gpu)", [0]),
    ],
)
def test_a_query_selects_runs(runs: Project, where: str, numbers: list[int]) -> None:
    assert selected(runs, where) == numbers
    assert selected(runs, where) == numbers


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        ("lr", [0, 2, 1, 5, 4, 3]),
        ("-lr", [1, 2, 0, 5, 4, 3]),
        ("-acc", [2, 4, 0, 5, 3, 1]),
        ("acc", [0, 4, 2, 5, 3, 1]),
        ("created", [0, 1, 2, 3, 4, 5]),
        ("-duration", [5, 4, 3, 2, 1, 0]),
        ("tags.stage", [5, 4, 3, 2, 1, 0]),
        ("-min(loss)", [0, 5, 4, 3, 2, 1]),
    ],
)
def test_runs_are_sorted_by_numbers_and_those_without_come_last(
    runs: Project, key: str, numbers: list[int]
) -> None:
    assert selected(runs, None, key) == numbers
    assert selected(runs, None, key, limit=2) == numbers[:2]


def test_a_bare_name_has_to_have_one_meaning(runs: Project) -> None:
    add(runs, 6, metrics={"lr": 5, "status": 1}, arguments=("--only", "1"))
    for text, says in (
        ("lr > 1", "'lr' means several things, at column 1"),
        ("acc > 0 and status = 1", "'status' means several things, at column 13"),
        ("acuracy > 1", "no run has a metric, parameter, tag or variable 'acuracy'"),
        ("run.lr > 1", "a run has no field 'lr'"),
        ("duration = a", "duration is a number of seconds"),
        ("created > 5", "created is a time"),
        ("exit_code like 'a'", "like is for text, not for a number"),
        (f"acc like '{'x' * 300}'", "a pattern has at most 200"),
        ("dirty = 1", "dirty is true or false"),
    ):
        with pytest.raises(UsageError, match=r"\w") as caught:
            selected(runs, text)
        assert says in caught.value.message
    assert selected(runs, "params.lr > 1 or metrics.lr > 1") == [6, 1]
    assert selected(runs, "run.status = failed or metrics.status = 1") == [6, 1]
    # A name that only removed runs had means nothing any more.
    assert selected(runs, "only = 1") == [6]
    shutil.rmtree(RunPaths.of(runs, f"p_{START + 6000}").folder)
    assert selected(runs, "lr = 10") == [1]
    with pytest.raises(UsageError, match="no run has"):
        selected(runs, "only = 1")


def test_text_that_looks_like_sql_is_a_value(runs: Project) -> None:
    evil = "x'; DROP TABLE run; --"
    tags.change(RunPaths.of(runs, f"p_{START}"), {evil: evil})
    quoted = evil.replace("'", "''")
    assert selected(runs, f"tags.\"{evil}\" = '{quoted}'") == [0]
    assert selected(runs, f"\"{evil}\" contains '{quoted}'") == [0]


def test_broken_runs_are_rows(runs: Project) -> None:
    record = RunPaths.of(runs, f"p_{START + 2000}").record
    whole = record.read_bytes()
    record.write_bytes(whole[:100])
    Path(runs.state, "runs", "holiday\udcff.jpg").write_text("")
    Path(runs.state, "runs", "p_1").symlink_to("/")
    found = index.select(runs, query.parse("status = broken"))
    assert found.names == [f"p_{START + 2000}", "p_1", "holiday\udcff.jpg"]
    record.write_bytes(whole.replace(b'"status": "Completed"', b'"status": "Exploded"'))
    assert len(index.select(runs, query.parse("status = broken and reason contains Exploded")).names) == 1
    record.write_bytes(whole)
    assert selected(runs, "status = broken and reason contains 'a link'") == [(1 - START) // 1000]


# ---------------------------------------------------------------- changes


CHANGES: dict[str, Callable[[RunPaths], object]] = {
    "replaced": lambda paths: folders.write(paths, folders.read(paths)._replace(metrics={"new": 1})),
    "edited": lambda paths: paths.record.write_text(
        paths.record.read_text().replace('"metrics": {', '"metrics": {"new": 1, ', 1)
    ),
    "tagged": lambda paths: tags.change(paths, {"new": "1"}),
    "tagged by hand": lambda paths: paths.tags.write_text('{"name": "new", "value": 1}\n'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_run_is_noticed(runs: Project, change: str) -> None:
    """Also soon after it was indexed, when the times of its files may stay the same."""
    for number in range(6):
        assert selected(runs, "exists(tags.new) or exists(metrics.new)") == list(range(number))[::-1]
        CHANGES[change](RunPaths.of(runs, f"p_{START + number * 1000}"))


@pytest.mark.parametrize("change", ["replaced", "tagged"])
def test_a_change_by_amlexec_is_noticed_among_many_runs(
    runs: Project, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(index_changes, "FEW", 0)
    monkeypatch.setattr(index_changes, "_SETTLING_S", 0)
    assert selected(runs, "exists(tags.new) or exists(metrics.new)") == []
    CHANGES[change](RunPaths.of(runs, f"p_{START + 3000}"))
    assert selected(runs, "exists(tags.new) or exists(metrics.new)") == [3]


def test_a_change_on_another_machine_is_noticed_among_many_runs(
    runs: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_changes, "FEW", 0)
    monkeypatch.setattr(index_changes, "_SETTLING_S", 0)
    assert selected(runs, "exists(tags.new)") == []
    with monkeypatch.context() as elsewhere:
        machine = os.uname_result(("Linux", "elsewhere", *os.uname()[2:]))
        elsewhere.setattr(os, "uname", lambda: machine)
        tags.change(RunPaths.of(runs, f"p_{START}"), {"new": "1"})
    assert Path(runs.state, "changed", "elsewhere").read_text() == f"p_{START}\n"
    assert selected(runs, "exists(tags.new)") == [0]
    # A file that was cut: everything is looked at.
    tags_file = RunPaths.of(runs, f"p_{START + 1000}").tags
    tags_file.write_text('{"name": "new", "value": ""}\n')
    Path(runs.state, "changed", "elsewhere").write_text("")
    assert selected(runs, "exists(tags.new)") == [1, 0]


def test_a_run_that_goes_on_is_current(project: Project) -> None:
    paths = add(project, 0, status="Running", start_time_utc=instant(START / 1000))
    paths.metrics.write_text('{"name": "loss", "value": 3, "time": 0}\n')
    assert selected(project, "loss = 3 and duration > 1d and status = running") == [0]
    with paths.metrics.open("a") as file:
        file.write('{"name": "loss", "value": 2, "time": 0}\n')
    assert selected(project, "loss = 2 and count(loss) = 2 and max(loss) = 3") == [0]
    assert index.unfinished(project) == [paths.folder.name]


def test_a_run_copied_from_another_machine_and_a_removed_one(runs: Project, tmp_path: Path) -> None:
    assert selected(runs, "lr > 5") == [1]
    folder = RunPaths.of(runs, f"p_{START + 1000}").folder
    folder.rename(tmp_path / folder.name)
    assert selected(runs, "lr > 0") == [2, 0]
    shutil.copytree(tmp_path / folder.name, folder)
    assert selected(runs, "lr > 5") == [1]
    folder.rename(folder.with_name("other_1"))
    assert selected(runs, "status = broken") == [(1 - START) // 1000]


# ---------------------------------------------------------------- damage


def files(project: Project) -> tuple[Path, Path, Path]:
    """The index, its stamp and its lock."""
    folder = index_file.folder()
    (database,) = folder.glob("*.sqlite")
    return database, database.with_suffix(".json"), database.with_suffix(".lock")


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        for at in range(0, path.stat().st_size, 512):
            file.seek(at)
            file.write(os.urandom(64))


def scribble_unseen(path: Path) -> None:
    """As `scribble`, but the stamp says that all is well: of a bad disk."""
    scribble(path)
    status, stamp = path.stat(), path.with_suffix(".json")
    noted = json.loads(stamp.read_text())
    noted["file"] = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    stamp.write_text(json.dumps(noted))


def be_newer(path: Path) -> None:
    stamp = path.with_suffix(".json")
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "version": 99}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "random": scribble,
    "random, unseen": scribble_unseen,
    "of a newer version": be_newer,
    "without its stamp": lambda path: path.with_suffix(".json").unlink(),
    "with a stamp of no sense": lambda path: path.with_suffix(".json").write_text("[" * 9999),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder of a lock": lambda path: (
        path.with_suffix(".lock").unlink(),
        path.with_suffix(".lock").mkdir(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_changes_no_answer(runs: Project, damage: str) -> None:
    assert selected(runs, "acc > 0.5", "-acc") == [2, 4, 0]
    DAMAGES[damage](files(runs)[0])
    assert selected(runs, "acc > 0.5", "-acc") == [2, 4, 0]
    add(runs, 7, metrics={"acc": 0.7})
    assert selected(runs, "acc > 0.5", "-acc") == [2, 4, 0, 7]


def test_no_index_can_be_made(runs: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AMLEXEC_CACHE", str(tmp_path / "file"))
    assert selected(runs, "acc > 0.5", "-acc") == [2, 4, 0]


HOLDER = (
    "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(runs: Project) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock of the index."""
    selected(runs, "acc > 0.5")
    command = [sys.executable, "-c", HOLDER, str(files(runs)[2])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        yield process
        process.kill()


def test_a_lock_whose_holder_was_killed_is_free(runs: Project, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with files(runs)[2].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert selected(runs, "acc > 0.5") == [4, 2, 0]


def test_a_lock_that_is_not_released_is_not_waited_for_long(
    runs: Project, holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "LOCK_TIMEOUT_S", 0.05)
    add(runs, 7, metrics={"acc": 0.7})
    assert selected(runs, "acc > 0.5") == [7, 4, 2, 0]


def test_a_writer_that_was_killed_leaves_no_half_index(runs: Project) -> None:
    program = (
        "import os, sys; from amlexec.history import index, index_rows; from amlexec.values import Project\n"
        "index_rows.Rows.commit = lambda self: os.kill(os.getpid(), 9)\n"
        "index.select(Project(sys.argv[1]))"
    )
    selected(runs, "acc > 0.5")
    add(runs, 7, metrics={"acc": 0.7})
    killed = subprocess.run([sys.executable, "-c", program, runs.root], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert selected(runs, "acc > 0.5") == [7, 4, 2, 0]


def test_many_readers_and_writers_at_once(runs: Project) -> None:
    program = (
        "import sys; from amlexec.history import index, query; from amlexec.values import Project\n"
        "sys.stdin.read()\n"
        "assert len(index.select(Project(sys.argv[1]), query.parse('acc > 0.5')).names) >= 3"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, runs.root], stdin=subprocess.PIPE) for _ in range(8)
    ]
    for number, process in enumerate(processes):
        assert process.stdin is not None
        process.stdin.close()
        add(runs, 10 + number, metrics={"acc": 0.7})
    assert [process.wait(120) for process in processes] == [0] * 8
    assert len(selected(runs, "acc > 0.5")) == 11


def test_the_index_is_private_and_not_in_the_project(runs: Project) -> None:
    before = sorted(path.name for path in Path(runs.state).iterdir())
    selected(runs, "acc > 0.5")
    assert sorted(path.name for path in Path(runs.state).iterdir()) == before
    assert [path.stat().st_mode & 0o077 for path in (index_file.folder(), *files(runs))] == [0] * 4


@pytest.mark.parametrize("fails", [False, True])
def test_many_records_are_read_by_several_processes(
    runs: Project, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    monkeypatch.setattr(index_readers, "_MANY", 1)
    monkeypatch.setattr(index_readers, "_PIECE", 2)
    if fails:  # in the other processes: this one does not send anything
        monkeypatch.setattr(index_readers.marshal, "dump", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    before = _children()  # the server that forks commands for other tests may be one
    assert selected(runs, "acc > 0.5", "-acc") == [2, 4, 0]
    assert selected(runs, "tags.stage = on") == [5]
    assert _children() == before


def _children() -> set[str]:
    """The processes that this one has started, also those that have ended and were not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}


def test_a_record_of_a_newer_version_says_so(runs: Project) -> None:
    record = RunPaths.of(runs, f"p_{START}").record
    text = record.read_text().replace('"amlexec": "0.1.0"', '"amlexec": "99.1.0"')
    record.write_text(text)
    assert selected(runs, "status = broken") == []
    record.write_text(text.replace('"status": "Completed"', '"status": "Paused"'))
    assert selected(runs, "status = broken and reason contains 'amlexec 99.1.0 wrote it'") == [0]


def test_queries_leave_no_open_file(runs: Project) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    selected(runs, "acc > 0.5", "min(acc)")
    before = count()
    for _ in range(50):
        selected(runs, "acc > 0.5", "min(acc)")
        with pytest.raises(UsageError):
            selected(runs, "nothing > 0.5")
    assert count() == before


def test_a_clock_that_is_set_back_or_ahead(runs: Project) -> None:
    assert selected(runs, "acc > 0.5") == [4, 2, 0]
    for moment in (0, 2**33):
        paths = add(runs, 3, metrics={"acc": 0.7})
        os.utime(paths.record, (moment, moment))
        assert selected(runs, "acc = 0.7") == [3]
        add(runs, 3, metrics={"acc": 0.1})
        assert selected(runs, "acc = 0.7") == []
    early = add(runs, 9, start_time_utc=instant(START / 1000), end_time_utc=instant(START / 1000 - 60))
    assert selected(runs, "duration = 0 and created > 2018-03-15") == [9]
    assert early.folder.is_dir()


def test_an_empty_and_a_missing_project(project: Project) -> None:
    assert selected(project, None, "-created") == []
    assert index.unfinished(project) == []
    with pytest.raises(UsageError, match="no run has"):
        selected(project, "acc > 1")


def test_what_other_loggers_write_while_a_run_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = add(project, 0, status="Running")
    outputs = paths.checkout / "outputs"
    assert selected(project, "exists(metrics.loss)") == []
    (outputs / "logs").mkdir(parents=True)
    events = outputs / "logs/events.out.tfevents.1"
    event_files.write(events, event_files.scalar("loss", 0, 0.5))
    assert selected(project, "loss = 0.5") == [0]
    with events.open("ab") as file:
        file.write(event_files.scalar("loss", 1, 0.25))
    assert selected(project, "loss = 0.25 and count(loss) = 2 and max(loss) = 0.5") == [0]
    add(project, 0, status="Completed", metrics={"loss": 0.25}, metric_counts={"loss": 3})
    with events.open("ab") as file:
        file.write(event_files.scalar("loss", 2, math.nan) + event_files.scalar("loss", 3, 0.125))
    paths.checkout.rename(paths.folder / "kept")
    (paths.folder / "kept/outputs").rename(paths.outputs)
    assert selected(project, "min(loss) = 0.125 and max(loss) = 0.5 and first(loss) = 0.5") == [0]
    paths.outputs.rename(paths.folder / "kept/outputs")
    (paths.folder / "kept").rename(paths.checkout)
    add(project, 0, status="Running")
    assert selected(project, "loss = 0.125") == [0]
    # Nothing is read again, as nothing has changed.
    with monkeypatch.context() as patched:
        patched.setattr(index, "rows_of", None)
        assert selected(project, "loss = 0.125") == [0]
    # Not if it would take long.
    monkeypatch.setattr(live_outputs, "LARGEST", events.stat().st_size - 1)
    os.utime(events, (0, 0))
    assert selected(project, "exists(metrics.loss)") == []
    assert read_series(paths.metrics)["loss"].logged == 4


def test_the_cache_may_be_in_any_folder(
    runs: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "a b?c#d%25\u00fc\udcff"
    monkeypatch.setenv("AMLEXEC_CACHE", str(cache))
    for _ in range(2):
        assert selected(runs, "lr = 10") == [1]
    monkeypatch.setattr(index_file, "private", None)
    assert selected(runs, "lr = 10") == [1]
    assert len([*cache.glob("history/*.sqlite")]) == 1
