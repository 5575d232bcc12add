"""A scalar that a script logs, beside MLflow's and sacred's; and a million of them, read."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, installed, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

_TIMED = """\
import sys, time
count, folder = int(sys.argv[1]), sys.argv[2]
{}
def main():
    {}
    log("loss", 0.1, 0)
    began = time.perf_counter()
    for step in range(1, count):
        log("loss", 1 / step, step)
    took = time.perf_counter() - began
    with open(folder + "/took", "w") as file:
        file.write(str(took / count))
{}
"""
OURS = _TIMED.format("from amlexec.run import log", "pass", "main()")
MLFLOW = _TIMED.format(
    "import mlflow\nmlflow.set_tracking_uri('file://' + folder + '/mlruns')",
    "log = mlflow.log_metric",
    "with mlflow.start_run(): main()",
)
SACRED = _TIMED.format(
    "from sacred import Experiment\nfrom sacred.observers import FileStorageObserver\n"
    "experiment = Experiment('bench')\nexperiment.observers.append(FileStorageObserver(folder))",
    "log = experiment.log_scalar",
    "experiment.main(main)\nexperiment.run()",
)
READ = """\
import sys
from pathlib import Path
from amlexec.history.series import downsampled, read_series
for series in read_series(Path(sys.argv[1])).values():
    downsampled(series, 500)
"""
PLAIN_READ = """\
import json, sys
values = []
with open(sys.argv[1], "rb") as file:
    for line in file:
        values.append(json.loads(line)["value"])
"""
_SLOWER = 100
"""How many times fewer scalars a peer logs: each takes milliseconds."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Those of logging are for 1,000 scalars, within the script."""
    figure = Figure("ms", 30)
    for name, text in (("mlflow", MLFLOW), ("sacred", SACRED)):
        theirs = _logging(folder / name, name, text, rounds, max(sizes.scalars // _SLOWER, 2))
        ours = _logging(folder / f"ours-{name}", "amlexec", OURS, rounds, sizes.scalars)
        bare = [run(Command((sys.executable, "-c", "pass"), folder)) for _ in range(rounds)]
        value = statistics.median(ours)
        yield Row(
            name="log 1,000 scalars",
            ours=value,
            peer_name=name,
            peer=statistics.median(theirs) if theirs else None,
            value=value,
            wanted=figure,
            unit=statistics.median(bare),
            rounds=rounds,
        )
    path = folder / "metrics.jsonl"
    with path.open("w") as file:
        file.writelines(
            f'{{"name":"loss","value":{step / 7},"step":{step}}}\n' for step in range(sizes.series)
        )
    yield compared(
        f"read a series of {sizes.series:,} points",
        Command((sys.executable, "-c", READ, str(path)), folder),
        Peer("json alone", Command((sys.executable, "-c", PLAIN_READ, str(path)), folder)),
        Figure("ratio", 1),
        rounds,
    )


def _logging(folder: Path, module: str, text: str, rounds: int, count: int) -> list[float]:
    """Milliseconds for 1,000 scalars, for each round; [] without the module."""
    if not installed(module):
        return []
    folder.mkdir()
    script = folder / "bench.py"
    script.write_text(text)
    variables = {"AMLEXEC_RUN_FOLDER": str(folder), "MLFLOW_ALLOW_FILE_STORE": "true"}
    found = []
    for _ in range(rounds):
        words = (sys.executable, str(script), str(count), str(folder))
        run(Command(("env", *(f"{name}={value}" for name, value in variables.items()), *words), folder))
        found.append(float((folder / "took").read_text()) * 1_000_000)
    return found
