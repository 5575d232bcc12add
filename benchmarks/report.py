"""`amlexec history report` for many runs, beside a script that only reads their metrics with `json`."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

from amlexec.values import Project
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, run, script
from tests.engines import browser
from tests.support.browser import open_browser
from tests.support.sample_runs import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

_CURVES, _POINTS = 20, 50
_PLAIN = """\
import json, os
found = {}
for run in os.listdir(".amlexec/runs"):
    with open(f".amlexec/runs/{run}/metrics.jsonl", encoding="utf-8") as file:
        for line in file:
            logged = json.loads(line)
            found.setdefault((run, logged["name"]), []).append((logged["step"], logged["value"]))
"""
_PAINT = """
new Promise((resolve) => {
  const look = () => {
    const entry = performance.getEntriesByName('first-contentful-paint')[0];
    if (entry && document.querySelectorAll('.runs tbody tr').length) resolve(entry.startTime);
    else setTimeout(look, 5);
  };
  look();
})
"""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    root = new_project(folder / "project")
    tuning(Project(str(root.resolve())), sizes.reported_runs, _CURVES, _POINTS)
    page = root / "report.html"
    command = Command((script("amlexec"), "history", "report", "-o", str(page)), root)
    run(command)
    megabytes = page.stat().st_size / 1e6
    what = f"{sizes.reported_runs} runs x {_CURVES} curves x {_POINTS} points"
    plain = Peer("json.loads of each line", Command((sys.executable, "-c", _PLAIN), root))
    yield compared(
        f"amlexec history report, {what}: {megabytes:.1f} MB", command, plain, Figure("ms", 3000), rounds
    )
    if browser.is_there():
        yield _painted(folder, page, rounds)


def _painted(folder: Path, page: Path, rounds: int) -> Row:
    """How long a browser takes from the beginning of the file to the table."""
    bare = Command((sys.executable, "-c", "pass"), folder)
    times, units = [], []
    with open_browser(browser.program(), browser.environment(), folder) as started:
        for _ in range(rounds):
            with started.page(page.as_uri()) as shown:
                times.append(float(shown.run(_PAINT)))
            units.append(run(bare))
    took = statistics.median(times)
    unit = statistics.median(units)
    return Row("first paint of that page", took, "", None, took, Figure("ms", 1000), unit, rounds)
