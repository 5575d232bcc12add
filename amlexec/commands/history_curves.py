"""`amlexec history show`: a run's state and its curves in the terminal; several runs in one chart."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import output, run_views
from amlexec.commands.options import RUN
from amlexec.errors import UsageError
from amlexec.history import find, folders
from amlexec.history.paths import RunPaths
from amlexec.history.series import SCALAR, as_curve, downsampled, read_series

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from amlexec.history.record import Run
    from amlexec.history.series import Series
    from amlexec.values import Project

__all__ = ["add", "run"]

_COLOURS = ("\x1b[34m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[36m", "\x1b[31m")
_HEIGHT = 8
_WIDTH = 80
_MOST_CHARTS = 12
_MOST_RUNS = 8
_POINTS = 2000
"""Of a curve: more than the dots of any terminal."""


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN} (default: last)")
    verb.add_argument(
        "-m",
        "--metric",
        action="append",
        metavar="NAME",
        help="only this metric; may contain * and ?, and may be given several times",
    )
    verb.add_argument("--height", type=int, default=_HEIGHT, metavar="ROWS", help="rows of a chart")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Draw the curves."""
    if not 2 <= arguments.height <= 100:
        raise UsageError(f"--height {arguments.height}: expected 2 to 100 rows")
    wanted = dict.fromkeys(find.find(project, name) for name in arguments.runs or ["last"])
    if len(wanted) > _MOST_RUNS:
        raise UsageError(f"{len(wanted)} runs in one chart can't be told apart; at most {_MOST_RUNS}")
    runs = [run_views.now(project, folders.read(paths)) for paths in wanted]
    series = [
        {name: as_curve(each) for name, each in read_series(RunPaths.of(project, run.run_id).metrics).items()}
        for run in runs
    ]
    chart = _Charts(runs, series, arguments.height)
    names = dict.fromkeys(name for each in series for name in each)
    chosen = [name for name in names if _matches(name, arguments.metric)]
    if arguments.metric and not chosen:
        raise UsageError(
            f"no metric is named {' or '.join(arguments.metric)}",
            hint=f"there are {', '.join(list(names)[:10])}" if names else "the run has logged no metrics",
        )
    chart.heads(project)
    drawn = [name for name in chosen if chart.is_curve(name)]
    for name in drawn[:_MOST_CHARTS]:
        chart.draw(name)
    chart.table([name for name in chosen if name not in drawn])
    if len(drawn) > _MOST_CHARTS:
        console.say(f"{len(drawn) - _MOST_CHARTS} more curves: choose with -m NAME")
    if not chosen:
        console.say("no metrics were logged")


def _matches(name: str, wanted: Sequence[str] | None) -> bool:
    return not wanted or any(name == each or fnmatchcase(name, each) for each in wanted)


class _Charts:
    """The charts of some runs, as wide as the terminal and in its characters."""

    def __init__(self, runs: Sequence[Run], series: Sequence[dict[str, Series]], height: int) -> None:
        self._runs, self._series, self._height = runs, series, height
        self._width = output.terminal_width() or _WIDTH
        is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        has_colours = is_terminal and "NO_COLOR" not in os.environ and len(runs) > 1
        self._colours = _COLOURS if has_colours else ()
        self._ascii_only = not _can_show("⣿│…")

    def heads(self, project: Project) -> None:
        """A line for each run: its mark, id, state and duration, and below it its script and arguments."""
        for number, view in enumerate(run_views.views(project, self._runs, files=False)):
            took = (view["duration"] or "").partition(".")[0]
            parts = [view["run_id"], view["status"], took, view["target"]]
            line = "  ".join(output.cell(part) for part in parts if part)
            console.write(f"{self._mark(number)}{line}\n")
            words = output.cell(" ".join([view["script_name"], *view["arguments"]]))
            indent = "  " if len(self._runs) > 1 else ""
            text = output.cut(words, self._width - len(indent))
            console.write(f"{indent}{text.replace('…', '~') if self._ascii_only else text}\n")
            if view["reason"]:
                console.write(f"{indent}{output.cell(view['reason'])}\n")

    def _mark(self, number: int) -> str:
        if len(self._runs) == 1:
            return ""
        if self._colours:
            return f"{self._colours[number % len(self._colours)]}{'#' if self._ascii_only else '━'}\x1b[0m "
        from amlexec.report.terminal import mark

        return f"{mark(number)} "

    def is_curve(self, name: str) -> bool:
        """Whether a metric is a series of numbers with at least two values in one of the runs."""
        return any(
            each[name].kind == SCALAR and len(each[name].values) > 1 for each in self._series if name in each
        )

    def draw(self, name: str) -> None:
        """The chart of a metric."""
        from amlexec.report.terminal import Line, plot, short

        lines = []
        for number, each in enumerate(self._series):
            found = each.get(name)
            if found is not None and found.kind == SCALAR:
                few = downsampled(found, _POINTS)
                lines.append(Line(few.steps, few.values, number))
        last = [each[name].values[-1] for each in self._series if name in each and each[name].kind == SCALAR]
        values = ", ".join(short(value) for value in last)
        console.write(f"\n{output.cell(name)}: last {values}\n")
        # Without colours the marks tell the runs apart, and these are ASCII.
        plain = self._ascii_only or (len(lines) > 1 and not self._colours)
        for row in plot(lines, self._width, self._height, ascii_only=plain, colours=self._colours):
            console.write(f"{row}\n")

    def table(self, names: Sequence[str]) -> None:
        """The other metrics: their last values."""
        rows = []
        for name in names:
            values = [
                each[name].values[-1] if name in each and each[name].values else None for each in self._series
            ]
            rows.append([name, *(_strict(value) for value in values)])
        if rows:
            titles = [each.run_id for each in self._runs] if len(self._runs) > 1 else ["Value"]
            console.data(f"\n{output.table(rows, ['Metric', *titles])}")


def _strict(value: object) -> object:
    return str(value) if isinstance(value, float) and value - value != 0 else value


def _can_show(signs: str) -> bool:
    try:
        signs.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
