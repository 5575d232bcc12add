"""Watch the metric of running points while their scripts log it, and find those to stop early."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING

from amlexec import kinds
from amlexec.errors import AmlexecError
from amlexec.files import open_regular
from amlexec.history import folders
from amlexec.history.metric_lines import NOT_FINITE
from amlexec.history.paths import RunPaths
from amlexec.runs import lifecycle, many
from amlexec.search.early_stop import OF_OPTUNA, Trace, reason_to_stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.optuna_search import OptunaChooser
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["Curve", "EarlyStopMonitor", "bring_metrics"]

_MOST_BYTES = 1 << 22
"""How much of a file is read at once."""


class Curve:
    """The values of one metric that a run has logged so far, read as they are written."""

    def __init__(self, paths: RunPaths, name: str, goal: str) -> None:
        self._paths, self._name = paths, name
        self._position = 0
        self.trace = Trace(goal)
        self.seen = 0
        """How many of them a rule has looked at."""

    def read(self) -> None:
        """Read what was written since the last call. A file that can't be read has no new values."""
        try:
            with open_regular(self._paths.metrics, follow=False) as file:
                file.seek(self._position)
                data = file.read(_MOST_BYTES)
        except OSError:
            return
        # The last line may not be complete yet.
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(entry, dict) or entry.get("name") != self._name:
            return
        value = entry.get("value")
        if isinstance(value, str):
            value = NOT_FINITE.get(value, math.nan)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            value = math.nan
        self.trace.add(float(value))


def bring_metrics(project: Project, running: Sequence[RunPaths]) -> None:
    """Copy the new metrics of running runs here, unless these write them here themselves.

    A target that can't be asked now is asked the next time.
    """
    runs = []
    for paths in running:
        with contextlib.suppress(AmlexecError, OSError):
            runs.append(folders.read(paths))
    known: dict[str, State] = {}
    for group in many.by_target(runs):
        with contextlib.suppress(AmlexecError, OSError):
            known |= many.states(project, group)
    for run in runs:
        with contextlib.suppress(AmlexecError, OSError):
            if run.run_id not in known and not kinds.of(run.target_kind).writes_here:
                lifecycle.refresh(project, run)


class EarlyStopMonitor:
    """The curves of all points of a sweep, and its rule. See `driver.Monitor`."""

    def __init__(
        self,
        project: Project,
        definition: Definition,
        states: dict[int, PointState],
        pruner: OptunaChooser | None = None,
    ) -> None:
        """`states` are the points of earlier processes; the curves of those that ended are read again.

        `pruner` is asked instead of the rule if the rule is one of Optuna's.
        """
        assert definition.early_stop is not None
        self._pruner = pruner
        self._project, self._definition, self._rule = project, definition, definition.early_stop
        self._curves: dict[int, Curve] = {}
        for number, state in states.items():
            if state.is_over:
                self.ended(number, state)

    def unpromising(self, running: dict[int, RunPaths]) -> list[tuple[int, str]]:
        """See `driver.Monitor`."""
        for number, paths in running.items():
            self._curve(number, paths).read()
        reasons = [(number, self._reason(number)) for number in running]
        return [(number, reason) for number, reason in reasons if reason]

    def _curve(self, number: int, paths: RunPaths) -> Curve:
        if number not in self._curves:
            self._curves[number] = Curve(paths, self._definition.metric, self._definition.goal)
        return self._curves[number]

    def _reason(self, number: int) -> str:
        curve = self._curves[number]
        others = [other.trace for point, other in self._curves.items() if point != number]
        while curve.seen < len(curve.trace):
            curve.seen += 1
            if self._rule.rule in OF_OPTUNA:
                if self._reported(number, curve):
                    return f"stopped early after {curve.seen} values by Optuna's {self._rule.rule} pruner"
                continue
            reason = reason_to_stop(self._rule, self._definition.goal, curve.seen, curve.trace, others)
            if reason:
                return reason
        return ""

    def _reported(self, number: int, curve: Curve) -> bool:
        """Report the last seen value to Optuna; whether its pruner stops the point."""
        value = curve.trace.values[curve.seen - 1]
        return self._pruner is not None and self._pruner.report(number, curve.seen, value)

    def ended(self, number: int, state: PointState) -> None:
        """See `driver.Monitor`. A failed point says nothing about others."""
        if state.status != "Completed" and not state.is_stopped:
            self._curves.pop(number, None)
            return
        if state.run_id:
            curve = self._curve(number, RunPaths.of(self._project, state.run_id))
            curve.read()
            if self._rule.rule in OF_OPTUNA:
                while curve.seen < len(curve.trace):
                    curve.seen += 1
                    self._reported(number, curve)
