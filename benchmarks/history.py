"""`amlexec history` in projects with many runs, beside MLflow and a script that reads each record."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from amlexec.history import find, folders
from amlexec.history.record import instant, text_of
from amlexec.values import Project
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, installed, run, script
from tests.engines import mlflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.history.record import Run

__all__ = ["rows"]

_METRICS = 10
_QUERY = ("--where", "m0 > 0.9 and (lr < 0.1 or not exists(depth))", "--sort", "-m1", "--limit", "20")
_PLAIN = """\
import json, os
found = []
for name in os.listdir(".amlexec/runs"):
    with open(f".amlexec/runs/{name}/run.json", encoding="utf-8") as file:
        run = json.load(file)
    arguments = run["arguments"]
    lr = float(arguments[arguments.index("--lr") + 1]) if "--lr" in arguments else 1
    if run["metrics"].get("m0", 0) > 0.9 and (lr < 0.1 or "--depth" not in arguments):
        found.append((run["metrics"]["m1"], name))
for value, name in sorted(found, reverse=True)[:20]:
    print(name, value)
"""


_SIMPLE = ("--where", "m0 > 0.9", "--sort", "-m1", "--limit", "20")
_FILL = """\
import sys
from mlflow.entities import Metric, Param
from mlflow.tracking.client import MlflowClient
for uri in sys.argv[3:]:
    client = MlflowClient(tracking_uri=uri)
    for number in range(int(sys.argv[1])):
        run_id = client.create_run("0", start_time=1_700_000_000_000 + 1000 * number).info.run_id
        values = {f"m{each}": number * (each + 7) % 1000 / 1000 for each in range(int(sys.argv[2]))}
        metrics = [Metric(name, value, 0, 0) for name, value in values.items()]
        client.log_batch(run_id, metrics, [Param("lr", str(10.0 ** -(number % 4)))])
        client.set_terminated(run_id, "FINISHED", 1_700_000_000_500 + 1000 * number)
"""
_SEARCH = """\
import sys
from mlflow.tracking.client import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
for run in client.search_runs(["0"], "metrics.m0 > 0.9", order_by=["metrics.m1 DESC"], max_results=20):
    print(run.info.run_id, run.data.metrics["m1"])
"""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    root = new_project(folder / "project")
    run(Command((script("amlexec"), "experiment", "submit", "-c", "local", "train.py"), root))
    project = Project(str(root.resolve()))
    record = folders.read(find.find(project, "last"))
    nobody = Peer("", None)
    for count in (sizes.runs, sizes.many_runs):
        if count == sizes.many_runs:
            _add(project, record, sizes.reported_runs)
            yield from _beside_mlflow(folder, root, sizes.reported_runs, rounds)
        _add(project, record, count)
        for arguments, wanted in ((("last",), 60.0), (("list", "--last", "20"), 300.0), (("list",), 300.0)):
            command = Command((script("amlexec"), "history", *arguments), root)
            name = f"amlexec history {' '.join(arguments)}, {count} runs"
            yield compared(
                name, command, nobody, Figure("ms", wanted if count == sizes.runs else 300), rounds
            )
    # Only the first command has no index; one that is shared by rounds is in the user's cache.
    command = Command((sys.executable, "-c", _COLD, script("amlexec"), *_QUERY), root)
    plain = Peer("reading every run.json", Command((sys.executable, "-c", _PLAIN), root))
    yield compared(
        f"the same without an index, {sizes.many_runs} runs", command, plain, Figure("ms", 20_000), 1
    )
    command = Command((script("amlexec"), "history", "list", *_QUERY), root)
    name = f"amlexec history list --where … --sort …, {sizes.many_runs} runs"
    yield compared(name, command, plain, Figure("ms", 300), rounds)


def _beside_mlflow(folder: Path, root: Path, count: int, rounds: int) -> Iterator[Row]:
    """The same question about as many runs, which MLflow's client has logged; with the start of both."""
    ours = Command((script("amlexec"), "history", "list", *_SIMPLE), root)
    python = ("env", "MLFLOW_ALLOW_FILE_STORE=true", sys.executable, "-W", "ignore", "-c")
    # Without SQLAlchemy there is only the client: mlflow-skinny.
    needed = {"files": "mlflow", "SQLite": "sqlalchemy"}
    places = {"files": f"file://{folder}/mlruns", "SQLite": f"sqlite:///{folder}/mlflow.db"}
    filled = [kind for kind in places if installed("mlflow") and installed(needed[kind])]
    if filled:
        _copy_empty_database(folder / "mlflow.db")
        uris = (places[kind] for kind in filled)
        run(Command((*python, _FILL, str(count), str(_METRICS), *uris), folder))
    for kind, uri in places.items():
        theirs = Command((*python, _SEARCH, uri), folder) if kind in filled else None
        name = f"amlexec history list --where 'm0 > 0.9' --sort -m1, {count} runs"
        yield compared(name, ours, Peer(f"mlflow search_runs, {kind}", theirs), Figure("ratio", 1), rounds)


def _copy_empty_database(path: Path) -> None:
    """Give MLflow the tests' empty database, if it is of its version: it would take seconds to make one."""
    if mlflow.is_there() and mlflow.VERSION in map(_version, ("mlflow", "mlflow-skinny")):
        shutil.copy(mlflow.database(), path)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


_COLD = """\
import os, subprocess, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    environment = {**os.environ, "AMLEXEC_CACHE": folder}
    sys.exit(subprocess.call([sys.argv[1], "history", "list", *sys.argv[2:]], env=environment))
"""


def _add(project: Project, record: Run, count: int) -> None:
    """Add runs as the first one, each a second older, until there are `count`."""
    newest = int(record.run_id.rpartition("_")[2])
    for number in range(len(find.ids(project)), count):
        milliseconds = newest - 1000 * number
        name = f"{folders.project_part(project)}_{milliseconds}"
        older = record._replace(
            run_id=name,
            created_utc=instant(milliseconds / 1000),
            arguments=("--lr", str(10.0 ** -(number % 4)), *(("--depth", "3") if number % 3 else ())),
            metrics={f"m{metric}": number * (metric + 7) % 1000 / 1000 for metric in range(_METRICS)},
            metric_counts={f"m{metric}": 100 for metric in range(_METRICS)},
        )
        # Not with `folders.create`, which syncs each to the disk.
        folder = f"{project.state}/runs/{name}"
        os.mkdir(folder, 0o700)  # noqa: PTH102 - 100,000 of them
        with open(f"{folder}/run.json", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text_of(older))
