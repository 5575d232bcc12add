"""What the page shows of each run in its tables."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from amlexec.history.params import parameters, typed
from amlexec.history.record import FINAL

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.report.curves import RunCurves

__all__ = ["broken", "number", "packages_key", "plain", "row"]

_LONGEST = 500
"""Characters of a logged text in a table."""


def row(run: Run, logged: RunCurves) -> dict[str, Any]:
    """A run as the page's tables have it, in types of strict JSON."""
    return {
        "id": run.run_id,
        "status": run.status,
        "reason": run.reason,
        "exit": run.exit_code,
        "script": run.script_name,
        "arguments": list(run.arguments),
        "parameters": {name: plain(typed(text)) for name, text in parameters(run.arguments).items()},
        "configuration": run.run_configuration,
        "target": run.target,
        "kind": run.target_kind,
        "framework": run.framework,
        "created": run.created_utc,
        "started": run.start_time_utc,
        "duration": _seconds(run),
        "user": run.user_id,
        "host": run.host,
        "python": run.python and run.python.version,
        "platform": run.platform,
        "environment": run.environment_digest,
        "image": run.image_id,
        "packages": packages_key(run),
        "variables": run.environment_variables,
        "snapshot": run.snapshot and run.snapshot.tree,
        "commit": run.source and run.source.commit,
        "dirty": bool(run.source and run.source.dirty),
        "sweep": run.sweep and run.sweep.id,
        "point": run.sweep and run.sweep.number,
        "metrics": _metrics(run, logged),
        "final": run.status in FINAL,
    }


def packages_key(run: Run) -> str | None:
    """The same for runs with the same packages; None if they are not known."""
    return run.environment_lock or run.environment_digest


def broken(name: str, reason: str) -> dict[str, Any]:
    """Something among the runs that can't be read as one."""
    return {"id": name, "broken": reason, "final": True}


def _metrics(run: Run, logged: RunCurves) -> dict[str, list[Any]]:
    """Each metric as `[last, lowest, highest, count]`; lowest and highest are null without numbers."""
    found: dict[str, list[Any]] = {}
    for name, statistics in logged.statistics.items():
        last, lowest, highest, count = statistics
        found[name] = [number(last), lowest, highest, count]
    for name, value in logged.others.items():
        if name not in found:
            found[name] = [plain(value), None, None, logged.counts[name]]
    for name, value in run.metrics.items():
        if name not in found:  # its file is gone, or could not be read
            found[name] = [plain(value), None, None, run.metric_counts.get(name, 1)]
    return found


def number(value: float) -> float | str:
    """A number of strict JSON, which has no NaN and no infinities: these are texts."""
    if math.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 1 << 53 else value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def plain(value: object) -> object:
    """A logged value for a cell: a number, a truth value, or a text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        try:
            return number(float(value))
        except OverflowError:
            return str(value)
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _seconds(run: Run) -> float | None:
    """How long the script ran. None if it never ran, or still runs: the page then counts to now."""
    try:
        began, ended = (
            datetime.fromisoformat((text or "").replace("Z", "+00:00"))
            for text in (run.start_time_utc, run.end_time_utc)
        )
    except ValueError:
        return None
    return max(0.0, (ended - began).total_seconds())
