"""The control log of a run: what amlexec did with it, a line each."""

from __future__ import annotations

import time

from amlexec import redaction
from amlexec.files import append
from amlexec.history import record
from amlexec.history.paths import LOG
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths

__all__ = ["note"]


def note(paths: RunPaths, *texts: str) -> None:
    """Add lines to the run's control log. An error is ignored."""
    now = record.instant(time.time())
    try:
        append(paths.at(LOG), redaction.hide_known("".join(f"{now} {text}\n" for text in texts)))
    except OSError:
        return  # the log is informative only; the record counts
