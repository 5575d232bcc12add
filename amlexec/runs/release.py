"""Let go of what a finished run no longer needs: its container, its copies of the project.

That comes after its end is recorded, so that a crash loses no result. A file says that it is due: if the
process is killed in between, the next command that looks at the run does it.
"""

from __future__ import annotations

from amlexec import kinds
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.history import uncollected
from amlexec.light_typing import TYPE_CHECKING
from amlexec.models import run_folder
from amlexec.runs.control_log import note

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.targets.target import Target

__all__ = ["DUE", "again", "expect", "is_due", "let_go"]

DUE = "release"
"""The name of that file, in the run's control folder."""


def expect(paths: RunPaths) -> None:
    """Note that it is due, before the end is recorded."""
    _due(paths).touch(mode=0o600)


def is_due(paths: RunPaths) -> bool:
    """Whether a process has recorded the end and has not let go."""
    return _due(paths).exists()


def let_go(paths: RunPaths, run: Run, target: Target) -> None:
    """Remove what the run no longer needs. The caller holds its lock; its end is recorded."""
    if uncollected.is_kept(run):
        note(paths, "the copy of the project is kept: not all outputs were collected")
    else:
        target.release(paths)
        if run.status == "Completed":  # the copy of a failed run is kept, for debugging
            try:
                target.clean(paths)
                remove_tree(paths.folder / run_folder.FOLDER)
            except (TargetError, OSError) as error:
                # Its end is recorded; `clean` can be repeated.
                note(paths, f"the copy of the project could not be removed: {error}")
    _due(paths).unlink(missing_ok=True)
    from amlexec.runs import leftovers

    # Files of another process that was killed while it recorded the end.
    leftovers.left_by_its_writers(paths)


def again(paths: RunPaths, run: Run, target: Target) -> None:
    """Let go in place of a process that was killed.

    If the target can't be reached, it is left to `gc`, which lists what engines and machines have. Nothing
    lists what a service has: then it stays due.
    """
    try:
        let_go(paths, run, target)
    except (TargetError, OSError) as error:
        note(paths, f"what the run no longer needs could not be removed: {error}")
        if not kinds.of(run.target_kind).is_service:
            _due(paths).unlink(missing_ok=True)


def _due(paths: RunPaths) -> Path:
    return paths.control / DUE
