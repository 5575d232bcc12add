"""Azure's SDK, which is an extra, and its errors as ours."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from amlexec import extras
from amlexec.errors import TargetError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RETRIES", "AzureAnswerError", "asked", "credential", "log_in", "module"]

RETRIES: dict[str, Any] = {
    "retry_total": 4,
    "retry_connect": 2,
    "retry_read": 2,
    "retry_status": 4,
    "retry_backoff_factor": 0.4,
    "connection_timeout": 20,
    "read_timeout": 60,
}
"""The SDK repeats what may work a moment later, and waits as long as Retry-After says."""
_MOST_SHOWN = 600
"""Characters of an answer of Azure that a message shows."""


class AzureAnswerError(TargetError):
    """Azure refused a request."""

    def __init__(self, message: str, *, status: int, code: str, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.code = code
        """Azure's own name of the error, such as `ContainerGroupQuotaReached`; "" if there is none."""


def module(name: str) -> Any:
    """A module of Azure's SDK.

    Raises:
        UsageError: the extra is not installed.
    """
    return extras.module(name, "azure", "targets of type containerinstance need Azure's SDK")


@cache
def credential() -> Any:
    """Azure's own chain: variables, a managed identity, the login of `az` and so on. One for the process."""
    # Each link of the chain that has no login says so in a log of its own: the last error sums them up.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    return module("azure.identity").DefaultAzureCredential()


def log_in(scope: str) -> None:
    """Get a token, which is kept. Raises as `asked` does: fast, where requests would try again and again."""
    with asked(scope.removesuffix("/.default")):
        credential().get_token(scope)


@contextlib.contextmanager
def asked(where: str) -> Iterator[None]:
    """Raise the SDK's errors as ours; `where` is what was asked.

    Raises:
        UnreachableError: no answer, or one that says to come back later.
        AzureAnswerError: the request was refused.
        TargetError: there is no login.
    """
    errors = module("azure.core.exceptions")
    begun = time.monotonic()
    try:
        yield
    except errors.ClientAuthenticationError as error:
        status = getattr(error, "status_code", None)
        if status is not None:
            raise _refused(error, where) from None
        raise TargetError(
            f"there is no login for Azure: {_first_line(error)}",
            where=where,
            hint="`az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
        ) from None
    except errors.HttpResponseError as error:
        raise _refused(error, where, time.monotonic() - begun) from None
    except (errors.ServiceRequestError, errors.ServiceResponseError) as error:
        # Also if the connection is cut within an answer (IncompleteReadError).
        raise UnreachableError(_cause(error), where=where) from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MOST_SHOWN].rstrip(".")


def _cause(error: Exception) -> str:
    text = _first_line(error)
    for words in (
        "Connection refused",
        "Name or service not known",
        "timed out",
        "Remote end closed",
        "reset",
    ):
        if words.lower() in text.lower():
            return {"reset": "the connection was reset"}.get(words, words.lower())
    return f"no answer ({text[:200]})"


def _refused(error: Any, where: str, seconds: float = 0.0) -> TargetError:
    status = int(error.status_code or 0)
    code, said = _body(error)
    if status in {408, 429} or status >= 500:
        waited = f", also after {seconds:.0f} s" if seconds >= 1 else ""
        return UnreachableError(f"Azure says to come back later: {code or status}{waited}", where=where)
    hint = ""
    if status == 401 or code == "AuthenticationFailed":
        hint = "log in again: `az login`"
    elif status == 403:
        hint = "ask for the roles that the how-to names: Contributor of the resource group, and Storage Blob "
        hint += "Data Contributor of the storage account"
    return AzureAnswerError(
        said or code or f"status {status}", status=status, code=code, where=where, hint=hint
    )


def _body(error: Any) -> tuple[str, str]:
    """The code and the message of a refusal: `error.code` in JSON, a header for storage."""
    found = getattr(error, "error", None)
    code = str(getattr(error, "error_code", None) or getattr(found, "code", None) or "")
    said = str(getattr(found, "message", None) or "")
    if not said:
        try:
            told = json.loads(error.response.text()).get("error", {})
            code, said = code or str(told.get("code") or ""), str(told.get("message") or "")
        except (ValueError, AttributeError, TypeError):
            said = _first_line(error)
    said = " ".join(said.split())[:_MOST_SHOWN].rstrip(".")
    return code.rpartition(".")[2][:80], f"{said} ({code})" if code and code not in said else said
