"""Where a registered model comes from: a run of the project, or the Python of a script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.environments import of_run, python_packages, resolved_lock
from amlexec.errors import UsageError
from amlexec.history.metric_lines import plain
from amlexec.history.paths import RunPaths
from amlexec.models.content import is_path
from amlexec.models.version import Origin, RunOrigin

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["Source", "of_file", "of_run_output"]


class Source(NamedTuple):
    """What is registered, and where it comes from."""

    path: Path
    origin: Origin
    lock: str = ""
    """The text of the resolved lock that `origin` names; "" if it is not known."""
    within: Path | None = None
    """The folder that links may not lead out of."""


def of_file(path: Path) -> Source:
    """A file or folder of which no more is known."""
    return Source(path, Origin())


def of_run_output(project: Project, run: Run, inside: str) -> Source:
    """A file or folder of a run's outputs, such as `outputs/model.pkl`.

    Raises:
        UsageError: it is not a path below `outputs`, or the run has no such file.
    """
    paths = RunPaths.of(project, run.run_id)
    inner = inside.removeprefix("./").rstrip("/")
    inner = inner if inner == "outputs" or inner.startswith("outputs/") else f"outputs/{inner}"
    if not is_path(inner):
        raise UsageError(f"{inside[:120]!r} is not a path below the run's outputs", hint="outputs/model.pkl")
    path = paths.folder / inner
    if not path.exists():
        raise UsageError(
            f"{run.run_id} has no {inner}",
            where=str(paths.folder),
            hint=_outputs(paths) or "it has no outputs on this computer",
        )
    lock = None if run.environment_lock is None else resolved_lock.recall(project, run.environment_lock)
    return Source(
        path,
        Origin(
            run.python and run.python.version,
            _packages(project, run, lock),
            _run(project, run, inner, has_lock=lock is not None),
        ),
        lock or "",
        paths.outputs,
    )


def _outputs(paths: RunPaths) -> str:
    try:
        names = sorted(entry.name for entry in paths.outputs.iterdir())
    except OSError:
        return ""
    shown = ", ".join(f"outputs/{name}" for name in names[:8])
    return f"it has {shown}{' …' if len(names) > 8 else ''}" if names else ""


def _packages(project: Project, run: Run, lock: str | None) -> dict[str, str] | None:
    if run.environment_digest is None and lock is not None:
        # Of a Python that the user manages, the list of its packages.
        try:
            return python_packages.parsed(lock).versions
        except ValueError:
            return None
    found = of_run.packages_of(project, run)
    return None if found is None else {name: package.version for name, package in found.items()}


def _run(project: Project, run: Run, path: str, *, has_lock: bool) -> RunOrigin:
    return RunOrigin(
        run_id=run.run_id,
        project=project.name,
        path=path,
        status=run.status,
        script_name=run.script_name,
        arguments=run.arguments,
        target=run.target,
        target_kind=run.target_kind,
        created_utc=run.created_utc,
        snapshot=run.snapshot and run.snapshot.tree,
        commit=run.source and run.source.commit,
        dirty=run.source and run.source.dirty,
        environment_digest=run.environment_digest,
        image_id=run.image_id,
        lock=run.environment_lock if has_lock else None,
        platform=run.platform,
        metrics={name: plain(value) for name, value in run.metrics.items()},
    )
