"""What must not be told: values that belong to names which look secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HIDDEN", "is_secret", "redact", "redacted"]

HIDDEN = "***"

_SECRET = re.compile(
    r"pass(w(or)?d|phrase)?($|_)|secret|token|(^|_)(key|pwd|pat|sas)($|_)|api_?key|access_?key"
    r"|account_?key|private_?key|credential|connection_?string|conn_?str|(^|_)auth($|_)",
    re.IGNORECASE,
)
_SHORTEST = 6
"""Characters. A shorter value would blank out ordinary words wherever they stand."""


def is_secret(name: str) -> bool:
    """Whether an environment variable of this name probably holds a secret."""
    return _SECRET.search(name) is not None


def redacted(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables with `***` in place of values that look secret."""
    return {name: HIDDEN if value and is_secret(name) else value for name, value in variables.items()}


def redact(text: str, variables: Iterable[tuple[str, str]]) -> str:
    """`text` with every secret value of `variables` in it replaced, the longest first."""
    secrets = {value for name, value in variables if is_secret(name) and len(value) >= _SHORTEST}
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text
