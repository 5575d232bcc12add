"""The record of a run from its first moment to the start of its script."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, nullcontext

from amlexec import __version__, redaction
from amlexec.errors import AmlexecError, UnreachableError, UsageError
from amlexec.history import folders, record
from amlexec.history.record import Run
from amlexec.light_typing import TYPE_CHECKING
from amlexec.runs.control_log import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.history.paths import RunPaths
    from amlexec.runs.repeat import Repeat
    from amlexec.runs.snapshot import TakenSnapshot
    from amlexec.targets.target import Launch, Target
    from amlexec.values import Plan

__all__ = ["recording_failure", "new_record", "stage"]


def new_record(plan: Plan, launch: Launch, resolved_lock: str, repeat: Repeat | None = None) -> Run:
    """The record of a run that is about to be made; it has no id yet."""
    now = time.time()
    handed_over = dict(plan.handed_over)
    # Values from the submitting command's environment are secrets, whatever their names.
    secret = tuple(("SECRET", value) for name, value in plan.environment_variables if name in handed_over)
    variables = (*plan.environment_variables, *launch.settings, *secret)
    return Run(
        run_id="",
        status="Preparing",
        reason="",
        run_configuration=plan.configuration,
        target=plan.target.name,
        target_kind=plan.target.kind,
        script_name=plan.script,
        arguments=redaction.redacted_arguments(plan.arguments, variables),
        argv=redaction.redacted_arguments(launch.argv, variables),
        framework=plan.framework,
        tracked=plan.tracked,
        environment_variables=redaction.redacted(dict(plan.environment_variables)) | handed_over,
        created_utc=record.instant(now),
        start_time_utc=None,
        end_time_utc=None,
        exit_code=None,
        python=launch.python,
        platform=launch.platform,
        snapshot=None,
        source=None,
        environment_digest=launch.digest or None,
        image_id=launch.image_id or None,
        metrics={},
        outputs=None,
        user_id=_user(),
        host=os.uname().nodename,
        amlexec=__version__,
        sweep=plan.sweep,
        environment_lock=resolved_lock or None,
        rerun_of=repeat.run.run_id if repeat is not None else None,
        models={each.reference: each.version for each in plan.models},
    )


def _user() -> str:
    # As `getpass`, whose import a submission would wait for.
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if user := os.environ.get(variable):
            return user
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in many containers
        return str(os.getuid())


def stage(plan: Plan, target: Target, paths: RunPaths, run: Run, taken: TakenSnapshot) -> Run:
    """Write the snapshot to where the target runs it, and record that the script is about to start."""
    tree, files, size = taken.snapshot
    with target.stage(paths, plan, tree) or nullcontext():
        # The disk is waited for while the snapshot is written.
        folders.sync_name(paths)
        run = run._replace(status="Starting", snapshot=taken.snapshot, source=taken.source)
        folders.write(paths, run)
        note(
            paths,
            f"snapshot {tree}: {files} files, {size} bytes",
            f"starting {list(run.argv or ())} on {plan.target.name}",
        )
    return run


@contextmanager
def recording_failure(paths: RunPaths) -> Iterator[None]:
    """Record an error that prevents the script's start before raising it."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            status, reason = "Canceled", "interrupted before the script began"
        else:
            why = error.message if isinstance(error, AmlexecError) else f"{type(error).__name__}: {error}"
            status, reason = "Failed", redaction.hide_known(f"the script did not begin: {why}")
        if isinstance(error, UnreachableError) and folders.read(paths).status == "Starting":
            # Only the target knows whether the script has begun.
            note(paths, f"the connection was lost while the script was started: {error.message}")
            error.hint = f"it may have begun: amlexec experiment status -r {paths.folder.name}"
            raise
        if isinstance(error, UsageError):
            # The command line was wrong, and nothing has run: keep no record.
            folders.discard(paths)
            raise
        ended = time.time()
        try:
            run = folders.read(paths)
            folders.write(
                paths, run._replace(status=status, reason=reason, end_time_utc=record.instant(ended))
            )
            note(paths, f"{status}: {reason}")
        except OSError:
            # The disk is full. A record without an end is read as Lost, which is correct.
            note(paths, "the record could not be written")
        raise
