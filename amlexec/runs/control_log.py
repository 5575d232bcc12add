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


def note(paths: RunPaths, text: str) -> None:
    """Add a line to the run's control log. An error is ignored."""
    try:
        append(paths.at(LOG), f"{record.instant(time.time())} {redaction.hide_known(text)}\n")
    except OSError:
        return  # the log is informative only; the record counts
