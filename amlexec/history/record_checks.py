"""Reads the text of a `run.json`. Every field is checked.

A record may come from a machine, from an unknown project, or from an old version. Any invalid part is a
ValueError that names it.
"""

from __future__ import annotations

import json
import re

from amlexec import checked_values as checked
from amlexec.history.record import (
    RUN_ID,
    STATUSES,
    Application,
    Interpreter,
    Outputs,
    Run,
    SnapshotRecord,
    Source,
    is_run_id,
)
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import NotCollected, SweepPoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["parsed"]

_TREE = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,200}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}:[1-9][0-9]{0,8}")


def parsed(text: str, run_id: str) -> Run:
    """Parse the text of a `run.json`.

    Raises:
        ValueError: it is not a record, it is of another run, or a part of it is invalid.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_run_id(run_id):
        raise ValueError(f"{run_id[:80]!r} is not a run id")
    if not isinstance(values, dict) or values.get("run_id") != run_id:
        raise ValueError("it is not the record of this run")
    fields: list[Any] = []
    for key, check in _CHECKS.items():
        try:
            fields.append(check(values[key]))
        except KeyError:
            if key not in Run._field_defaults:
                raise ValueError(f"it has no {key}") from None
            fields.append(Run._field_defaults[key])
        except ValueError as error:
            raise ValueError(f"{key} {error}") from None
    return Run._make(fields)


_name = checked.matching(_NAME, "a name")
_tree = checked.matching(_TREE, "the id of a tree")
_digest = checked.matching(_DIGEST, "a sha256")
_commit = checked.matching(re.compile(f"(?:{_TREE.pattern})?"), "the id of a commit")
_word = checked.matching(re.compile(r"[A-Za-z0-9_.-]{1,64}"), "a word")
_MOST = 1 << 62
_count = checked.number(0, _MOST)


def _status(value: object) -> str:
    if not isinstance(value, str) or value not in STATUSES:
        raise ValueError(f"is {str(value)[:80]!r}; expected one of {', '.join(sorted(STATUSES))}")
    return value


def _interpreter(value: object) -> Interpreter:
    interpreter: Interpreter = checked.parts(Interpreter, path=checked.text, version=checked.text)(value)
    # Records of earlier versions don't have it.
    prefix = value.get("prefix") if isinstance(value, dict) else None
    return interpreter._replace(prefix=checked.or_none(checked.text)(prefix))


def _application(value: object) -> Application:
    application: Application = checked.parts(
        Application, id=_word, tracking_url=checked.or_none(checked.text)
    )(value)
    # Records of earlier versions don't have these.
    told = value if isinstance(value, dict) else {}
    more = {key: checked.or_none(checked.text)(told.get(key)) for key in Application._fields[2:]}
    return application._replace(**more)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "run_id": checked.text,
    "status": _status,
    "reason": checked.text,
    "run_configuration": _name,
    "target": _name,
    "target_kind": _word,
    "script_name": checked.text,
    "arguments": checked.texts,
    "argv": checked.or_none(checked.texts),
    "framework": _word,
    "tracked": checked.truth,
    "environment_variables": checked.map_of(checked.text),
    "created_utc": checked.moment,
    "start_time_utc": checked.or_none(checked.moment),
    "end_time_utc": checked.or_none(checked.moment),
    "exit_code": checked.or_none(checked.number(0, 255)),
    "python": checked.or_none(_interpreter),
    "platform": checked.or_none(checked.text),
    "snapshot": checked.or_none(checked.parts(SnapshotRecord, tree=_tree, files=_count, bytes=_count)),
    "source": checked.or_none(checked.parts(Source, commit=_commit, dirty=checked.truth)),
    "environment_digest": checked.or_none(_digest),
    "image_id": checked.or_none(_digest),
    "metrics": checked.map_of(checked.plain_value, checked.are_flat),
    "outputs": checked.or_none(checked.parts(Outputs, files=_count, bytes=_count)),
    "user_id": checked.text,
    "host": checked.text,
    "amlexec": checked.text,
    "application": checked.or_none(_application),
    "metric_counts": checked.map_of(_count, checked.are_numbers(0, _MOST)),
    "unread": checked.texts,
    "executors": checked.or_none(checked.list_of(_interpreter)),
    "not_collected": checked.list_of(
        checked.parts(NotCollected, path=checked.text, reason=checked.text, kept=checked.truth)
    ),
    "sweep": checked.or_none(
        checked.parts(SweepPoint, id=_word, number=_count, parameters=checked.map_of(checked.plain_value))
    ),
    "environment_lock": checked.or_none(checked.matching(re.compile(r"[0-9a-f]{64}"), "a sha256")),
    "rerun_of": checked.or_none(checked.matching(re.compile(RUN_ID), "a run id")),
    "models": checked.map_of(checked.matching(_MODEL, "a version of a model")),
}
assert tuple(_CHECKS) == Run._fields
