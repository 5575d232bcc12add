"""Errors of a Docker engine, and how docker-py's errors are mapped to them.

::

    TargetError
    └── EngineError
        ├── EngineAbsentError       nothing listens: no engine, or it is not running
        ├── EngineDeniedError       no permission to use its socket
        ├── EngineLostError         the connection broke in the middle of an answer
        ├── EngineTimeoutError      no answer within the timeout
        └── EngineAnswerError       the engine refused: its message and HTTP status
"""

from __future__ import annotations

import contextlib
import re

from amlexec.errors import NoContactError, TargetError
from amlexec.light_typing import TYPE_CHECKING

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

_CONFLICT = (
    r"container state improper|\bname\b.* in use|^container \S+ is not running"
    r"|no such exec (instance|session)"
)
_LOOK = "check whether the engine is still running: `docker info`"


class EngineError(TargetError):
    """A Docker engine failed."""


class EngineAbsentError(EngineError, NoContactError):
    """Nothing listens on the engine's address."""


class EngineDeniedError(EngineError, NoContactError):
    """No permission to use the engine's socket."""


class EngineLostError(EngineError, NoContactError):
    """The connection ended before the engine's answer was complete."""

    def __init__(self, message: str, *, hint: str = _LOOK, where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)


class EngineTimeoutError(EngineError, NoContactError):
    """The engine did not answer within the timeout."""


class EngineAnswerError(EngineError):
    """The engine refused. `reason` is its message; `status` is HTTP's, 200 for an error in a stream.

    Every engine's conflicts have 409, whatever it calls them itself.
    """

    def __init__(self, reason: str, *, status: int, hint: str = "", where: str = "") -> None:
        super().__init__(f"the Docker engine says: {reason.strip().rstrip('.')}", hint=hint, where=where)
        self.reason = reason
        self.status = _status(status, reason)


def _status(status: int, reason: str) -> int:
    """A conflict's status is 409.

    Podman calls names in use and wrong states a fault of its own. All engines call a command a fault, or
    unknown, if its container has ended since the command was created.
    """
    return 409 if status in {404, 500} and re.search(_CONFLICT, reason, re.IGNORECASE) else status


@contextlib.contextmanager
def named(address: str) -> Iterator[None]:
    """Raise docker-py's errors as those of the tree above; `address` is the engine's."""
    try:
        yield
    except (TargetError, KeyboardInterrupt):
        raise
    except Exception as error:
        # docker-py wraps an error of our own adapter, which has a better message and a hint.
        ours = next((cause for cause in _chain(error) if isinstance(cause, TargetError)), None)
        ours = ours or _translated(error, address)
        if ours is None:
            raise
        raise ours from None


def _translated(error: Exception, address: str) -> EngineError | None:
    from http.client import HTTPException

    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    if isinstance(error, APIError):
        response = error.response
        status = response.status_code if response is not None else 0
        reason = str(error.explanation or "") or f"{status} {getattr(response, 'reason', '')}".strip()
        return EngineAnswerError(reason, status=status, where=address)
    # docker-py reads Docker's `message`, which some of Podman's refusals lack.
    refused = getattr(error.__context__, "response", None) if isinstance(error, KeyError) else None
    if refused is not None:
        return EngineAnswerError(refused.text.strip(), status=refused.status_code, where=address)
    if isinstance(error, DockerException):
        inner = error.__cause__
        translated = _translated(inner, address) if isinstance(inner, Exception) else None
        return translated or EngineError(f"the Docker engine can't be used: {error}", where=address)
    chain = _chain(error)
    if any(isinstance(cause, PermissionError) for cause in chain):
        return EngineDeniedError(
            "no permission to use the Docker engine's socket",
            hint="join the group that owns it (usually `sudo usermod -aG docker $USER`) and log in again",
            where=address,
        )
    why = next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), "")
    absent = (FileNotFoundError, ConnectionRefusedError, urllib3.exceptions.NewConnectionError)
    if any(isinstance(cause, absent) for cause in chain):
        why = why or "it can't be reached"
        return EngineAbsentError(f"no Docker engine answers: {why}", hint=_how_to_start(), where=address)
    if any(isinstance(cause, urllib3.exceptions.TimeoutError | TimeoutError) for cause in chain):
        return EngineTimeoutError(
            "the Docker engine has not answered in time",
            hint="check whether it is busy or hangs: `docker info`",
            where=address,
        )
    lost = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)
    if isinstance(error, lost):
        why = why or type(error).__name__
        return EngineLostError(f"the connection to the Docker engine broke: {why}", where=address)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """An error and its causes: requests and urllib3 wrap errors."""
    chain = [error]
    for link in chain:
        inner = (getattr(link, "reason", None), link.__cause__, *link.args)
        chain += [cause for cause in inner if isinstance(cause, BaseException) and cause not in chain]
    return chain


def _how_to_start() -> str:
    import shutil
    import sys

    if sys.platform == "darwin":
        return "start Docker Desktop or Colima, or set DOCKER_HOST to the engine's address"
    if shutil.which("dockerd"):
        return "start it with `sudo systemctl start docker`, or set DOCKER_HOST to the engine's address"
    return "install a Docker engine (Debian: `sudo apt install docker.io`), or set DOCKER_HOST to its address"
