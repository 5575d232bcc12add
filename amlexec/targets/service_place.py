"""Where a run in a cloud service is, and its end: two files in the run's `control` folder.

They are written before anything is created in the service, and before anything there is deleted, so that a
command that is killed loses track of nothing that costs money.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from amlexec.errors import ConfigurationError, TargetError
from amlexec.files import SMALL, read_regular, write_atomically
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.history.paths import RunPaths

__all__ = ["forget", "keep_end", "kept_end", "read", "read_state", "unwrite", "write"]

_Place = TypeVar("_Place")

_GROUP = "group"
_END = "service_end"
_EARLIEST, _LATEST = 0.0, 1e11


def write(paths: RunPaths, place: dict[str, str], at: float) -> None:
    """Remember where a run is, and when it was asked for, in seconds since 1970. Raises OSError."""
    write_atomically(paths.control / _GROUP, json.dumps({**place, "at": at}))


def unwrite(paths: RunPaths) -> None:
    """Nothing of the run was left in the service."""
    (paths.control / _GROUP).unlink(missing_ok=True)


def read(paths: RunPaths, place_of: Callable[[dict[str, str]], _Place]) -> tuple[_Place, float] | None:
    """Where a run is, and when it was asked for; None if it was not.

    Raises:
        TargetError: the file is damaged, or names what amlexec has not created.
    """
    path = paths.control / _GROUP
    found = _json(path)
    if found is None:
        return None
    try:
        at = float(found["at"])
        place = place_of({name: str(value) for name, value in found.items()})
        is_good = _EARLIEST <= at <= _LATEST
    except (KeyError, TypeError, ValueError, ConfigurationError):
        is_good = False
    if not is_good:
        raise _damaged(path)
    return place, at


def kept_end(paths: RunPaths) -> State | None:
    """The end that was read before the group was deleted; None if there is none."""
    path = paths.control / _END
    found = _json(path)
    if found is None:
        return None
    try:
        return _state(found)
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def keep_end(paths: RunPaths, state: State) -> None:
    """Remember an end, since what it was read from is about to be deleted. Raises OSError."""
    write_atomically(paths.control / _END, json.dumps(state._asdict()))


def forget(paths: RunPaths) -> None:
    """Nothing of the run is left in the service: only its record knows how it ended."""
    keep_end(paths, State("lost", why="nothing of it is left in the service"))


def read_state(data: bytes, where: str, stopped_why: str) -> State:
    """The state that the run itself wrote; `stopped_why` is the cause if the service has stopped it.

    Raises:
        TargetError: it has another form.
    """
    try:
        found = json.loads(data)
        state = State(
            {"running": "running", "ended": "ended"}[found["phase"]],
            _moment(found["began"]),
            _moment(found.get("ended")),
            _code(found.get("code")) if found["phase"] == "ended" else None,
            found.get("canceled") is True,
        )
        if state.phase == "ended":
            stopped = found.get("stopped") is True and not state.canceled
            why = stopped_why if stopped else ""
            state = state._replace(ended=state.ended or state.began, why=why)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise TargetError("the state that the run has written can't be read", where=where) from None
    return state


def _state(found: dict[str, Any]) -> State:
    if found["phase"] not in {"ended", "failed", "lost"} or not isinstance(found["why"], str):
        raise ValueError
    code = None if found["exit_code"] is None else _code(found["exit_code"])
    if (code is None) is (found["phase"] == "ended"):
        raise ValueError
    return State(
        found["phase"],
        _moment(found["began"]),
        _moment(found["ended"]),
        code,
        found["canceled"] is True,
        found["why"][:1000],
    )


def _moment(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _EARLIEST <= value <= _LATEST:
        raise ValueError
    return float(value)


def _code(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError
    return value


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(read_regular(path, SMALL, follow=False))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> TargetError:
    return TargetError("this file is damaged, or was not written by amlexec", where=str(path))
