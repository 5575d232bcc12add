"""What `run.json` says: a value whose every part was checked where it was read.

A record may come from a machine, from a stranger's project, or from a version of years ago: what is not of
the form that is written here is one ValueError, which says what is wrong.
"""

# ruff: noqa: TRY004 - whoever reads a record has one error to expect

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.model import NotCollected

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FINAL",
    "Application",
    "Interpreter",
    "Outputs",
    "Run",
    "SnapshotRecord",
    "Source",
    "is_deep",
    "is_run_id",
    "parsed",
    "text_of",
    "without_series",
]

FINAL = frozenset({"Completed", "Failed", "Canceled", "Lost"})
"""The statuses that never change again."""
STATUSES = FINAL | {"Preparing", "Starting", "Running"}
DEEPEST = 64
"""Maps and lists within one another, in the value of a metric."""

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}_[0-9]{1,18}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_TREE = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")
_LONGEST = 1 << 20
"""Characters of a text."""


def is_run_id(text: str) -> bool:
    """Whether this is an id as runs get one: plain letters, then `_` and the time. Nothing else is a path."""
    return _RUN_ID.fullmatch(text) is not None


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


class Interpreter(NamedTuple):
    """The Python that the script runs in, as it said of itself."""

    path: str
    version: str
    prefix: str | None = None
    """Its `sys.prefix`, written by the run itself; None where the Python was asked only before the run."""


class Outputs(NamedTuple):
    """What was brought home from `outputs/`."""

    files: int
    bytes: int


class Application(NamedTuple):
    """What a run is to a Spark cluster, as far as the log of spark-submit tells."""

    id: str
    tracking_url: str | None


class Run(NamedTuple):
    """A run, as `run.json` has it: the keys are the names of these fields.

    Times are UTC in ISO 8601 with microseconds and a `Z`. What was not read is None.
    """

    run_id: str
    status: str
    """`Preparing`, `Starting`, `Running`, `Completed`, `Failed`, `Canceled`, or `Lost`: it is over, and
    nobody can say how it ended."""
    reason: str
    """One sentence where the status needs one: "killed by SIGKILL", "amlexec ended before ..."."""
    run_configuration: str
    target: str
    target_kind: str
    script_name: str
    arguments: tuple[str, ...]
    argv: tuple[str, ...] | None
    """What was executed; None until it is known."""
    framework: str
    tracked: bool
    environment_variables: dict[str, str]
    """As declared; values of names that look secret are `***`."""
    created_utc: str
    start_time_utc: str | None
    end_time_utc: str | None
    exit_code: int | None
    """As a shell has it: 128 + n for a script that signal n ended."""
    python: Interpreter | None
    platform: str | None
    snapshot: SnapshotRecord | None
    source: Source | None
    environment_digest: str | None
    image_id: str | None
    metrics: dict[str, Any]
    """The last value of every name; the series stay in the run's `metrics.jsonl`."""
    outputs: Outputs | None
    """None until they have been brought home."""
    user_id: str
    host: str
    """Name of the machine that submitted the run."""
    amlexec: str
    """Version of amlexec that submitted the run."""
    application: Application | None = None
    """What a cluster calls it."""
    metric_counts: dict[str, int] = {}  # noqa: RUF012 - a default is never written to
    """How many values each name was logged with. An earlier version's record has the whole series instead."""
    unread: tuple[str, ...] = ()
    """What was made and could not be read when the end was written, a sentence each. It is tried again."""
    executors: tuple[Interpreter, ...] | None = None
    """The Pythons that Spark's executors ran, each once; None where none could be read."""
    not_collected: tuple[NotCollected, ...] = ()
    """What of the outputs was not brought home; the first hundred."""


def text_of(run: Run) -> str:
    """The text of the run's `run.json`."""
    values = run._asdict()
    values["not_collected"] = [one._asdict() for one in run.not_collected]
    for key in _NESTED:
        values[key] = values[key] and values[key]._asdict()
    values["executors"] = run.executors and [one._asdict() for one in run.executors]
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half of a pair, which JSON can name and UTF-8 can't: a script may log it.
        return json.dumps(values, indent=2) + "\n"
    return text


def parsed(text: str, run_id: str) -> Run:
    """The run that the text of a `run.json` tells of.

    Raises:
        ValueError: it is none, it is of another run, or a part of it is not what it should be.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_run_id(run_id):
        raise ValueError(f"{run_id[:80]!r} is no run id")
    if not isinstance(values, dict) or values.get("run_id") != run_id:
        raise ValueError("it is not the record of this run")
    found: dict[str, Any] = {}
    for key, check in _CHECKS.items():
        if key not in values and key in Run._field_defaults:
            continue
        if key not in values:
            raise ValueError(f"it has no {key}")
        try:
            found[key] = check(values[key])
        except ValueError as error:
            raise ValueError(f"{key} {error}") from None
    return Run(**found)


def without_series(run: Run) -> Run:
    """The run with last values and counts of metrics: a record of an earlier version has whole series."""
    metrics, counts = dict(run.metrics), dict(run.metric_counts)
    for name, value in run.metrics.items():
        if name not in counts:
            # A list of lists may be one value, a matrix.
            is_series = isinstance(value, list) and value and not isinstance(value[-1], (list, dict))
            metrics[name], counts[name] = (value[-1], len(value)) if is_series else (value, 1)
    return run._replace(metrics=metrics, metric_counts=counts)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_kind(value)}; expected text")
    if len(value) > _LONGEST:
        raise ValueError(f"has {len(value)} characters")
    return value


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if pattern.fullmatch(_text(value)) is None:
            raise ValueError(f"is {str(value)[:80]!r}; expected {what}")
        return str(value)

    return check


_name = _matching(_NAME, "a name")
_tree = _matching(_TREE, "the id of a tree")
_digest = _matching(_DIGEST, "a sha256")
_commit = _matching(re.compile(f"(?:{_TREE.pattern})?"), "the id of a commit")
_word = _matching(re.compile(r"[A-Za-z0-9_.-]{1,64}"), "a word")


def _status(value: object) -> str:
    if not isinstance(value, str) or value not in STATUSES:
        raise ValueError(f"is {str(value)[:80]!r}; expected one of {', '.join(sorted(STATUSES))}")
    return value


def _moment(value: object) -> str:
    if not isinstance(value, str) or _MOMENT.fullmatch(value) is None:
        raise ValueError(f"is {str(value)[:80]!r}; expected a time such as 2026-01-31T12:00:00.000000Z")
    datetime.fromisoformat(value[:-1])
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {_kind(value)}; expected true or false")
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"is {_kind(value)}; expected a whole number from {least} to {most}")
        return value

    return check


_count = _number(0, 1 << 62)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {_kind(value)}; expected a list of texts")
    return tuple(_text(each) for each in value)


def _list_of(check: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def checked(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"is {_kind(value)}; expected a list")
        return tuple(check(each) for each in value)

    return checked


def _map_of(check: Callable[[object], Any]) -> Callable[[object], dict[str, Any]]:
    def checked(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"is {_kind(value)}; expected a map")
        return {_text(name): check(each) for name, each in value.items()}

    return checked


def is_deep(value: object) -> bool:
    """Whether maps and lists are nested in a value as no metric's are: what reads it again might give up."""
    layer: list[object] = [value]
    for _ in range(DEEPEST):
        layer = [
            each
            for one in layer
            if isinstance(one, (dict, list))
            for each in (one.values() if isinstance(one, dict) else one)
            if isinstance(each, (dict, list))
        ]
        if not layer:
            return False
    return True


def _value(value: object) -> object:
    if isinstance(value, (dict, list)) and is_deep(value):
        raise ValueError("is nested too deeply")
    return value


def _parts(kind: Callable[..., Any], **checks: Callable[[object], Any]) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if not isinstance(value, dict) or not checks.keys() <= value.keys():
            raise ValueError(f"is {_kind(value)}; expected a map with {', '.join(checks)}")
        try:
            return kind(**{name: each(value[name]) for name, each in checks.items()})
        except ValueError as error:
            raise ValueError(f"has a part that {error}") from None

    return check


def _or_none(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else check(value)


def _interpreter(value: object) -> Interpreter:
    found: Interpreter = _parts(Interpreter, path=_text, version=_text)(value)
    # Earlier versions did not ask for it.
    prefix = value.get("prefix") if isinstance(value, dict) else None
    return found._replace(prefix=_or_none(_text)(prefix))


def _interpreters(value: object) -> tuple[Interpreter, ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {_kind(value)}; expected a list of interpreters")
    return tuple(_interpreter(one) for one in value)


def _kind(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)[:40]
    names = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "something else")


_NESTED = ("python", "snapshot", "source", "outputs", "application")
_CHECKS: dict[str, Callable[[object], Any]] = {
    "run_id": _text,
    "status": _status,
    "reason": _text,
    "run_configuration": _name,
    "target": _name,
    "target_kind": _word,
    "script_name": _text,
    "arguments": _texts,
    "argv": _or_none(_texts),
    "framework": _word,
    "tracked": _truth,
    "environment_variables": _map_of(_text),
    "created_utc": _moment,
    "start_time_utc": _or_none(_moment),
    "end_time_utc": _or_none(_moment),
    "exit_code": _or_none(_number(0, 255)),
    "python": _or_none(_interpreter),
    "platform": _or_none(_text),
    "snapshot": _or_none(_parts(SnapshotRecord, tree=_tree, files=_count, bytes=_count)),
    "source": _or_none(_parts(Source, commit=_commit, dirty=_truth)),
    "environment_digest": _or_none(_digest),
    "image_id": _or_none(_digest),
    "metrics": _map_of(_value),
    "outputs": _or_none(_parts(Outputs, files=_count, bytes=_count)),
    "user_id": _text,
    "host": _text,
    "amlexec": _text,
    "application": _or_none(_parts(Application, id=_word, tracking_url=_or_none(_text))),
    "metric_counts": _map_of(_count),
    "unread": _texts,
    "executors": _or_none(_interpreters),
    "not_collected": _list_of(_parts(NotCollected, path=_text, reason=_text, kept=_truth)),
}
assert tuple(_CHECKS) == Run._fields
