"""The content of `run.json` as a value; `record_checks` reads it."""

from __future__ import annotations

import json
import re
import time

from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Interpreter, NotCollected, SweepPoint

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "FINAL",
    "NOT_A_RUN_ID",
    "RUN_ID",
    "STATUSES",
    "Application",
    "Interpreter",
    "Outputs",
    "Run",
    "SnapshotRecord",
    "Source",
    "instant",
    "is_run_id",
    "text_of",
    "without_series",
]

FINAL = frozenset({"Completed", "Failed", "Canceled", "Lost"})
"""The statuses that never change."""
STATUSES = FINAL | {"Preparing", "Starting", "Running"}
_NESTED = ("python", "snapshot", "source", "outputs", "application", "sweep")

RUN_ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}_[0-9]{1,18}"
"""A pattern; compiled when the first id is checked, which a submission does while its script runs."""
NOT_A_RUN_ID = "this is not a run: its name is not a run id"
"""Of something else in the folder of the runs."""


def is_run_id(text: str) -> bool:
    """Whether this is a valid run id: plain letters, then `_` and the time. Only such ids become paths."""
    return re.fullmatch(RUN_ID, text) is not None


class SnapshotRecord(NamedTuple):
    """The snapshot that a run executes."""

    tree: str
    """git's id of the tree in `.amlexec/snapshots.git`."""
    files: int
    bytes: int


class Source(NamedTuple):
    """The user's own git repository when the run was submitted."""

    commit: str
    dirty: bool


class Outputs(NamedTuple):
    """The collected files of `outputs/`."""

    files: int
    bytes: int


class Application(NamedTuple):
    """The application of a run on a Spark cluster, from the log of spark-submit and from YARN."""

    id: str
    tracking_url: str | None
    state: str | None = None
    """YARN's state; None if it is not known, as on a standalone cluster."""
    final_status: str | None = None
    """What the application told YARN about its end."""
    diagnostics: str | None = None
    """YARN's text about the end; None if it has none."""


class Run(NamedTuple):
    """A run, as in `run.json`: the keys are the names of these fields.

    Times are UTC in ISO 8601 with microseconds and a `Z`. Unknown values are None.
    """

    run_id: str
    status: str
    """`Preparing`, `Starting`, `Running`, `Completed`, `Failed`, `Canceled`, or `Lost`: it is over, but
    its end is unknown."""
    reason: str
    """One sentence if the status needs one: "killed by SIGKILL", "amlexec ended before ..."."""
    run_configuration: str
    target: str
    target_kind: str
    script_name: str
    arguments: tuple[str, ...]
    argv: tuple[str, ...] | None
    """The executed command; None until it is known."""
    framework: str
    tracked: bool
    environment_variables: dict[str, str]
    """As declared; values of names that look secret are `***`."""
    created_utc: str
    start_time_utc: str | None
    end_time_utc: str | None
    exit_code: int | None
    """As in a shell: 128 + n for a script that was killed by signal n."""
    python: Interpreter | None
    platform: str | None
    snapshot: SnapshotRecord | None
    source: Source | None
    environment_digest: str | None
    image_id: str | None
    metrics: dict[str, Any]
    """The last value of every name; the series stay in the run's `metrics.jsonl`."""
    outputs: Outputs | None
    """None until they are collected."""
    user_id: str
    host: str
    """Name of the machine that submitted the run."""
    amlexec: str
    """Version of amlexec that submitted the run."""
    application: Application | None = None
    """The application on a cluster."""
    metric_counts: dict[str, int] = {}  # noqa: RUF012 - a default is never written to
    """The number of logged values of each name. Records of earlier versions have all values instead."""
    unread: tuple[str, ...] = ()
    """Results that could not be read when the end was recorded, a sentence each. Reading is tried again."""
    executors: tuple[Interpreter, ...] | None = None
    """The Pythons of Spark's executors, without duplicates; None if unknown."""
    not_collected: tuple[NotCollected, ...] = ()
    """Outputs that were not collected; the first hundred."""
    sweep: SweepPoint | None = None
    """None if the run is not part of a sweep."""
    environment_lock: str | None = None
    """The name of the environment's resolved lock, which says exactly what was installed. Of a Python that
    the user manages, the name of its list of packages. None if unknown."""
    rerun_of: str | None = None
    """The id of the run that this one repeats."""
    models: dict[str, str] = {}  # noqa: RUF012 - a default is never written to
    """The registered models that went with it: NAME:VERSION by what the run configuration calls it."""


def instant(epoch: float) -> str:
    """`epoch` (seconds) in the form of a record: `2026-01-31T12:00:00.000000Z`."""
    # Not by datetime: a submission would wait for its import.
    whole, part = divmod(epoch, 1)
    seconds, microseconds = divmod(int(whole) * 1_000_000 + round(part * 1e6), 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{microseconds:06}Z"


def text_of(run: Run) -> str:
    """The text of the run's `run.json`."""
    values = run._asdict()
    values["not_collected"] = [output._asdict() for output in run.not_collected]
    for key in _NESTED:
        values[key] = values[key] and values[key]._asdict()
    values["executors"] = run.executors and [executor._asdict() for executor in run.executors]
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # A lone surrogate, which a script may log: JSON can escape it, UTF-8 can't encode it.
        return json.dumps(values, indent=2) + "\n"
    return text


def without_series(run: Run) -> Run:
    """The run with only last values and counts of metrics; records of earlier versions have all values."""
    metrics, counts = dict(run.metrics), dict(run.metric_counts)
    for name, value in run.metrics.items():
        if name not in counts:
            # A list of lists may be one value, a matrix.
            is_series = isinstance(value, list) and value and not isinstance(value[-1], (list, dict))
            metrics[name], counts[name] = (value[-1], len(value)) if is_series else (value, 1)
    return run._replace(metrics=metrics, metric_counts=counts)
