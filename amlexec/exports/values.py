"""A run in MLflow's terms: status, times, parameters, tags, metrics. Nothing of MLflow is imported."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from amlexec.exports.keys import key_of, tag_key_of
from amlexec.history.metric_lines import NOT_FINITE, SCALAR, Numbers, blocks
from amlexec.history.params import parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from amlexec.history.record import Run

__all__ = ["Point", "milliseconds", "parameters_of", "points", "status_of", "tags_of"]

_LONGEST_PARAMETER = 6000
_LONGEST_TAG = 5000
_STATUSES = {
    "Preparing": "SCHEDULED",
    "Starting": "SCHEDULED",
    "Running": "RUNNING",
    "Completed": "FINISHED",
    "Canceled": "KILLED",
}
_LARGEST_STEP = (1 << 63) - 1


class Point(NamedTuple):
    """A value of a metric."""

    key: str
    value: float
    timestamp: int
    """Milliseconds since 1970."""
    step: int


def status_of(run: Run) -> str:
    """MLflow's status. It has none for a run whose end is unknown: it counts as failed."""
    return _STATUSES.get(run.status, "FAILED")


def milliseconds(moment: str | None) -> int | None:
    """A time of a record, in milliseconds since 1970."""
    try:
        return (
            None
            if moment is None
            else round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000)
        )
    except ValueError:
        return None


def parameters_of(run: Run) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters; and the whole values of those that are too long, of which MLflow gets the sha256."""
    found: dict[str, str] = {}
    long: dict[str, str] = {}
    for name, text in parameters(run.arguments).items():
        key = key_of(name)
        if len(text) > _LONGEST_PARAMETER:
            long[key] = text
        found[key] = _text(_digest(text) if key in long else text)
    return found, long


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def tags_of(run: Run, project: str, own: Mapping[str, str], note: str) -> dict[str, str]:
    """The tags: the user's, and what MLflow has no field for."""
    facts: dict[str, object] = {
        "mlflow.user": run.user_id,
        "mlflow.source.name": run.script_name,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run.source and run.source.commit,
        "mlflow.source.git.dirty": run.source and str(run.source.dirty).lower(),
        "mlflow.note.content": note,
        "amlexec.run_id": run.run_id,
        "amlexec.project": project,
        "amlexec.version": run.amlexec,
        "amlexec.status": run.status,
        "amlexec.reason": run.reason,
        "amlexec.exit_code": run.exit_code,
        "amlexec.arguments": json.dumps(list(run.arguments), ensure_ascii=False),
        "amlexec.run_configuration": run.run_configuration,
        "amlexec.target": run.target,
        "amlexec.target_kind": run.target_kind,
        "amlexec.host": run.host,
        "amlexec.python": run.python and run.python.version,
        "amlexec.platform": run.platform,
        "amlexec.environment_digest": run.environment_digest,
        "amlexec.image_id": run.image_id,
        "amlexec.snapshot": run.snapshot and run.snapshot.tree,
    }
    found = {name: str(value) for name, value in facts.items() if value not in (None, "")}
    found |= {tag_key_of(name): value for name, value in own.items()}
    return {name: _cut(_text(value)) for name, value in found.items()}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TAG else f"{text[: _LONGEST_TAG - 1]}…"


def _text(text: str) -> str:
    # A lone surrogate, of a name that is not UTF-8, can't be sent.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def points(path: Path, skipped: int, began: int) -> Iterator[Point | None]:
    """The numbers of a `metrics.jsonl` after `skipped` values, in their order; None for another value.

    A value without a step has its number among the values of its name, one without a time has that of the
    run's start (`began`). Raises OSError.
    """
    counts: dict[str, int] = {}
    keys: dict[str, str] = {}
    for name, value, time, step in _values(path):
        count = counts.get(name, 0)
        counts[name] = count + 1
        if skipped > 0:
            skipped -= 1
            continue
        number = _number(value)
        if number is None:
            yield None
            continue
        if name not in keys:
            keys[name] = key_of(name)
        timestamp = round(time * 1000) if math.isfinite(time) else began
        yield Point(keys[name], number, max(0, timestamp), count if step is None else _whole(step))


def _values(path: Path) -> Iterator[tuple[str, object, float, float | None]]:
    for block in blocks(path):
        if isinstance(block, Numbers):
            yield from zip(block.names, block.values, block.times, block.steps, strict=True)
        else:
            for item in block:
                if item is not None:
                    is_number = item.kind in {"", SCALAR}
                    yield item.name, item.value if is_number else [], item.time, item.step


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return NOT_FINITE.get(value)
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _whole(step: float) -> int:
    return max(-_LARGEST_STEP, min(_LARGEST_STEP, math.floor(step)))
