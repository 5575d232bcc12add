"""Times as users write them: `2d` for two days ago, or in ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from amlexec.errors import UsageError

__all__ = ["epoch", "parse"]

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse(text: str, now: float) -> float:
    """A time in seconds since 1970. Without a zone it is in the zone of this machine.

    Raises:
        UsageError: it is none.
    """
    try:
        if ago := _AGO.fullmatch(text.strip().lower().removesuffix("ago").strip()):
            return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])}).total_seconds()
        return datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text.strip())).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{text[:40]!r} is not a time",
            hint="such as 2d (two days ago), 2026-01-31, 2026-01-31T12:00 or 2026-01-31T12:00:00Z; "
            "units are s, m, h, d and w",
        ) from None


def epoch(recorded: str | None) -> float | None:
    """A time of a record in seconds since 1970."""
    if recorded is None:
        return None
    return datetime.fromisoformat(recorded.replace("Z", "+00:00")).timestamp()
