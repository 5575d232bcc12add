"""What can go wrong between us and a Docker engine, and what docker-py calls it.

::

    TargetError
    └── EngineError
        ├── EngineAbsentError       nothing listens: no engine, or it is not running
        ├── EngineDeniedError       we may not use its socket
        ├── EngineLostError         it ended, or hung up, in the middle of an answer
        ├── EngineTimeoutError      it has been silent for too long
        └── EngineAnswerError       it answered, and refused: its own words and HTTP status
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amlexec.errors import NoContactError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "EngineAbsentError",
    "EngineAnswerError",
    "EngineDeniedError",
    "EngineError",
    "EngineLostError",
    "EngineTimeoutError",
    "named",
]

_LOOK = "look whether the engine is still running: `docker info`"


class EngineError(TargetError):
    """A Docker engine could not do its part."""


class EngineAbsentError(EngineError, NoContactError):
    """Nothing listens at the engine's address."""


class EngineDeniedError(EngineError, NoContactError):
    """We have no permission on the engine's socket."""


class EngineLostError(EngineError, NoContactError):
    """The engine ended, or closed the connection, before its answer was complete."""

    def __init__(self, message: str, *, hint: str = _LOOK, where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)


class EngineTimeoutError(EngineError, NoContactError):
    """The engine has said nothing for longer than it was given."""


class EngineAnswerError(EngineError):
    """The engine refused. `reason` is what it said; `status` is HTTP's, 200 for an error in a stream."""

    def __init__(self, reason: str, *, status: int, hint: str = "", where: str = "") -> None:
        super().__init__(f"the Docker engine says: {reason.strip().rstrip('.')}", hint=hint, where=where)
        self.reason = reason
        self.status = status


@contextlib.contextmanager
def named(address: str) -> Iterator[None]:
    """Raise what docker-py raises as an error of the tree above; `address` is the engine's."""
    try:
        yield
    except (TargetError, KeyboardInterrupt):
        raise
    except Exception as error:
        # docker-py puts what our own adapter says of the way there into an error without a hint.
        known = next((one for one in _chain(error) if isinstance(one, TargetError)), None)
        known = known or _known(error, address)
        if known is None:
            raise
        raise known from None


def _known(error: Exception, address: str) -> EngineError | None:
    from http.client import HTTPException

    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    if isinstance(error, APIError):
        response = error.response
        status = response.status_code if response is not None else 0
        said = str(error.explanation or "") or f"{status} {getattr(response, 'reason', '')}".strip()
        return EngineAnswerError(said, status=status, where=address)
    if isinstance(error, DockerException):
        inner = error.__cause__
        known = _known(inner, address) if isinstance(inner, Exception) else None
        return known or EngineError(f"the Docker engine can't be used: {error}", where=address)
    chain = _chain(error)
    if any(isinstance(one, PermissionError) for one in chain):
        return EngineDeniedError(
            "no permission to use the Docker engine's socket",
            hint="join the group that owns it (usually `sudo usermod -aG docker $USER`) and log in again",
            where=address,
        )
    why = next((one.strerror for one in chain if isinstance(one, OSError) and one.strerror), "")
    unheard = (FileNotFoundError, ConnectionRefusedError, urllib3.exceptions.NewConnectionError)
    if any(isinstance(one, unheard) for one in chain):
        why = why or "it can't be reached"
        return EngineAbsentError(f"no Docker engine answers: {why}", hint=_how_to_start(), where=address)
    if any(isinstance(one, urllib3.exceptions.TimeoutError | TimeoutError) for one in chain):
        return EngineTimeoutError(
            "the Docker engine has not answered in time",
            hint="look whether it is busy or hangs: `docker info`",
            where=address,
        )
    lost = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)
    if isinstance(error, lost):
        why = why or type(error).__name__
        return EngineLostError(f"the connection to the Docker engine broke: {why}", where=address)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it was made of: requests and urllib3 wrap one in the other."""
    found = [error]
    for one in found:
        inner = (getattr(one, "reason", None), one.__cause__, *one.args)
        found += [each for each in inner if isinstance(each, BaseException) and each not in found]
    return found


def _how_to_start() -> str:
    import shutil
    import sys

    if sys.platform == "darwin":
        return "start Docker Desktop or Colima, or set DOCKER_HOST to the engine's address"
    if shutil.which("dockerd"):
        return "start it with `sudo systemctl start docker`, or set DOCKER_HOST to the engine's address"
    return "install a Docker engine (Debian: `sudo apt install docker.io`), or set DOCKER_HOST to its address"
