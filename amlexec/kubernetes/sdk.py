"""Kubernetes' official client, which is an extra, and its errors as ours.

Of the client amlexec uses the login (kubeconfig with its plugins, or that of a Pod), its connections and its
channel to a container. Objects are plain JSON both ways: thus every version of the client will do, and none
has to know a field that a cluster has.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from amlexec import extras
from amlexec.errors import TargetError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClusterAnswerError", "answer_error", "asked", "module"]

_MOST_SHOWN = 600


class ClusterAnswerError(TargetError):
    """The API server refused a request."""

    def __init__(self, message: str, *, status: int, reason: str, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.reason = reason
        """Kubernetes' own word, such as `AlreadyExists`; "" if there is none."""


def module(name: str) -> Any:
    """A module of the client.

    Raises:
        UsageError: the extra is not installed.
    """
    return extras.module(name, "kubernetes", "targets of type kubernetes need its official client")


@contextlib.contextmanager
def asked(where: str) -> Iterator[None]:
    """Raise errors of connections as ours; `where` is what was asked.

    Raises:
        UnreachableError: no answer.
    """
    errors = module("urllib3.exceptions")
    channels = module("websocket")
    try:
        yield
    except errors.HTTPError as error:
        raise UnreachableError(_cause(error), where=where) from None
    except channels.WebSocketBadStatusException as error:
        raise answer_error(int(getattr(error, "status_code", 0) or 0), {}, where) from None
    except (channels.WebSocketException, OSError) as error:
        raise UnreachableError(_cause(error), where=where) from None


def answer_error(status: int, found: Any, where: str) -> TargetError:
    """The error for an answer that is a refusal; `found` is its body."""
    told = found if isinstance(found, dict) else {}
    reason = str(told.get("reason") or "")[:80]
    message = " ".join(str(told.get("message") or "").split())[:_MOST_SHOWN].rstrip(".")
    if status in {408, 429} or status >= 500:
        return UnreachableError(f"the API server says to come back later: {message or status}", where=where)
    hint = ""
    if status == 401:
        hint = "log in again, as `kubectl` needs it: `kubectl get pods` tells"
    elif status == 403:
        hint = "ask for the rights that `amlexec computetarget check` lists as missing"
    return ClusterAnswerError(
        message or reason or f"status {status}", status=status, reason=reason, where=where, hint=hint
    )


def _cause(error: BaseException) -> str:
    text = str(error)
    for words, said in (
        ("refused", "connection refused"),
        ("not known", "name or service not known"),
        ("timed out", "timed out"),
        ("certificate verify failed", "its certificate is not trusted"),
        ("reset", "the connection was reset"),
        ("closed", "the connection was closed"),
    ):
        if words in text.lower():
            return said
    return f"no answer ({(text.splitlines() or [type(error).__name__])[0][:200]})"
