"""What the page shows of one run when it is opened: settings, ends of logs, previews of outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.files import open_regular
from amlexec.report.previews import Budget, previews

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run

__all__ = ["Budget", "details"]


def details(paths: RunPaths, run: Run, budget: Budget) -> dict[str, Any]:
    """The details of a run. What can't be read is left out and said."""
    outputs = previews(paths, budget)
    return {
        "argv": None if run.argv is None else list(run.argv),
        "interpreter": run.python and run.python.path,
        "unread": list(run.unread),
        "missing": [f"{each.path}: {each.reason}" for each in run.not_collected],
        "logs": [_tail(path, budget.log) for path in (paths.stdout, paths.stderr, paths.log)],
        **outputs,
    }


def _tail(path: Path, most: int) -> dict[str, Any]:
    """The end of a log, from the beginning of a line."""
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            data = file.read(most)
    except FileNotFoundError:
        return {"name": path.name, "size": 0, "text": ""}
    except OSError as error:
        return {"name": path.name, "size": 0, "text": "", "error": error.strerror or "it can't be read"}
    if len(data) < size and b"\n" in data[:-1]:
        data = data.partition(b"\n")[2]
    text = "\n".join(_last_state(line) for line in data.decode("utf-8", "replace").split("\n"))
    return {"name": path.name, "size": size, "text": text, "cut": len(data) < size}


def _last_state(line: str) -> str:
    """A line as a terminal shows it in the end: a progress bar goes back to the begin of its line."""
    return line.rstrip("\r").rpartition("\r")[2]
