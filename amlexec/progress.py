"""Show the progress of long steps: lines in a log or a pipe, a bar on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from amlexec.console import say
from amlexec.escaping import on_one_line

if TYPE_CHECKING:
    from collections.abc import Sized
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

__all__ = ["Bars", "Late", "Lines", "Progress", "counted", "for_terminal"]

_LINE_INTERVAL_S = 10.0
"""How often a long step prints a line in a log."""
LATE_S = 1.0
"""After this, a step that is usually short is shown."""


class Progress(Protocol):
    """The interface for reporting progress."""

    def step(self, text: str) -> None:
        """Begin a step; the one before is over."""

    def at(self, done: int, total: int) -> None:
        """Report how far the step is; `total` is 0 if unknown."""

    def close(self) -> None:
        """End the last step."""


class Lines:
    """A line per step, and for a long step one every ten seconds: for pipes, files and CI."""

    def __init__(self) -> None:
        self._text = ""
        self._printed = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self, text: str) -> None:
        """See `Progress.step`."""
        self._text, self._printed = text, time.monotonic()
        say(text)

    def at(self, done: int, total: int) -> None:
        """See `Progress.at`."""
        now = time.monotonic()
        if now - self._printed > _LINE_INTERVAL_S:
            self._printed = now
            say(f"{self._text}: {_amount(done, total)}")

    def close(self) -> None:
        """See `Progress.close`."""


class Bars:
    """A live line per step on a terminal, with a bar if the total is known."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bars: Any = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self, text: str) -> None:
        """See `Progress.step`."""
        self._bars.start()
        self._finish()
        self._task = self._bars.add_task(on_one_line(text), total=None)

    def at(self, done: int, total: int) -> None:
        """See `Progress.at`."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None)

    def close(self) -> None:
        """See `Progress.close`."""
        self._finish()
        self._task = None
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1, total=1)


class Late:
    """A step that is usually short: a bar on a terminal if it takes longer than `LATE_S`, else nothing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._due = time.monotonic() + LATE_S
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.close()

    def at(self, done: int, total: int) -> None:
        """See `Progress.at`."""
        if self._bars is None:
            if time.monotonic() < self._due or not sys.stderr.isatty():
                return
            self._bars = Bars()
            self._bars.step(self._text)
        self._bars.at(done, total)


def for_terminal() -> Lines | Bars:
    """Bars if stderr is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()


def _amount(done: int, total: int) -> str:
    return f"{done * 100 // total} %" if total else f"{done}"


def counted(packages: Sized) -> str:
    """The number of conda packages, for a message."""
    return f"{len(packages)} conda package{'' if len(packages) == 1 else 's'}"
