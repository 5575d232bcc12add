"""Show the progress of a sweep: a table on a terminal, a line for each point in a log or a pipe."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import output, sweep_view
from amlexec.sweeps.sweep import best

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from amlexec.sweeps.sweep import Sweep

__all__ = ["SweepLines", "SweepTable", "for_terminal"]

_REFRESH_S = 0.5
_MOST_ROWS = 12


class SweepLines:
    """A line for each point that has ended."""

    def __init__(self) -> None:
        self._over = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def begin(self, sweep: Sweep) -> None:
        """Called before the first point."""
        self._over = sum(state.is_over for state in sweep.states.values())
        console.say(
            f"sweep {sweep.definition.id}: {sweep.total - self._over} of {sweep.total} points to execute"
        )

    def started(self, sweep: Sweep, number: int) -> None:
        """See `Watch.started`: nothing to show."""

    def ended(self, sweep: Sweep, number: int) -> None:
        """See `Watch.ended`."""
        self._over += 1
        console.say(f"[{self._over}/{sweep.total}] {_line(sweep, number)}")

    def warn(self, line: str) -> None:
        """See `Watch.warn`."""
        console.say(f"warning: {line}")

    def say(self, line: str) -> None:
        """See `Watch.say`."""
        console.say(line)

    def tick(self, sweep: Sweep) -> None:
        """See `Watch.tick`: nothing to show."""


def _line(sweep: Sweep, number: int) -> str:
    state = sweep.states[number]
    status = "Stopped" if state.is_stopped else state.status
    parts = [f"point {number}", sweep_view.words(sweep.point(number)), status]
    if sweep.definition.metric and state.status == "Completed":
        found = (
            "no metric" if state.metric is None else f"{sweep.definition.metric} {output.cell(state.metric)}"
        )
        parts.append(found)
    elif state.reason:
        parts.append(state.reason)
    if state.duration_s is not None:
        parts.append(f"{state.duration_s:.1f} s")
    return output.cell("  ".join(parts))


class SweepTable:
    """A live table on a terminal: the running points, and the last that ended."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live: Any = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._drawn = 0.0
        self._ended: deque[int] = deque(maxlen=_MOST_ROWS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, sweep: Sweep) -> None:
        """Called before the first point."""
        self._live.start()
        self._draw(sweep)

    def started(self, sweep: Sweep, number: int) -> None:
        """See `Watch.started`."""

    def ended(self, sweep: Sweep, number: int) -> None:  # noqa: ARG002 - the table is drawn later
        """See `Watch.ended`."""
        self._ended.append(number)

    def warn(self, line: str) -> None:
        """See `Watch.warn`."""
        self._live.console.print(f"warning: {output.cell(line)}", markup=False, highlight=False)

    def say(self, line: str) -> None:
        """See `Watch.say`."""
        self._live.console.print(output.cell(line), markup=False, highlight=False)

    def tick(self, sweep: Sweep) -> None:
        """See `Watch.tick`."""
        if time.monotonic() - self._drawn > _REFRESH_S:
            self._draw(sweep)

    def _draw(self, sweep: Sweep) -> None:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        self._drawn = time.monotonic()
        running = [
            number for number, state in sweep.states.items() if state.status in {"Starting", "Running"}
        ]
        grid = Grid(box=None, pad_edge=False)
        for title in ("Point", "Parameters", "Status", sweep.definition.metric or "", "Seconds"):
            grid.add_column(output.cell(title), no_wrap=True)
        for number in [*self._ended, *running[:_MOST_ROWS]]:
            state = sweep.states[number]
            seconds = "" if state.duration_s is None else f"{state.duration_s:.1f}"
            status = "Stopped" if state.is_stopped else state.status
            cells = (
                str(number),
                sweep_view.words(sweep.point(number)),
                status,
                output.cell(state.metric),
                seconds,
            )
            grid.add_row(*(Text(output.cell(cell)) for cell in cells))
        by_status = sweep_view.counts(sweep.definition, sweep.states)
        line = ", ".join(f"{number} {status}" for status, number in by_status.items())
        if (found := best(sweep.definition, sweep.states)) is not None:
            line += f"; best {sweep.definition.metric} {output.cell(found.value)} (point {found.number})"
        self._live.update(Group(grid, Text(f"{sweep.definition.id}: {output.cell(line)}")), refresh=True)


def for_terminal() -> SweepLines | SweepTable:
    """A table if stderr is a terminal, else lines."""
    return SweepTable() if sys.stderr.isatty() else SweepLines()
