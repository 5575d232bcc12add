"""The snapshot that a run executes, with the state of the user's own repository at that moment."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial

from amlexec import git
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.snapshots import take as snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.history.record import SnapshotRecord, Source
    from amlexec.runs.talk import Talk
    from amlexec.values import Project

__all__ = ["TakenSnapshot", "take", "taking"]


class TakenSnapshot(NamedTuple):
    """A snapshot that was taken, and the user's own repository at that moment."""

    snapshot: SnapshotRecord
    source: Source | None


def take(project: Project, talk: Talk) -> TakenSnapshot:
    """Take a snapshot of the project. Raises TargetError."""
    with taking(project, talk) as finish:
        return finish()


@contextmanager
def taking(
    project: Project, talk: Talk, before: TakenSnapshot | None = None
) -> Iterator[Callable[[], TakenSnapshot]]:
    """Let git look at the project's files during the block; the function that it gets takes the snapshot.

    That raises TargetError. If there is a snapshot from `before`, it only returns it.
    """
    if before is not None:
        yield lambda: before
        return
    with snapshots.taking(project) as finish, _describing(project.root) as describe:

        def taken() -> TakenSnapshot:
            from amlexec.history.record import SnapshotRecord, Source  # while git works

            found = finish()
            for warning in found.warnings:
                talk.warn(warning)
            source = describe()
            return TakenSnapshot(
                SnapshotRecord(found.tree, found.files, found.bytes),
                Source(source.commit, source.dirty) if source is not None and source.commit else None,
            )

        yield taken


@contextmanager
def _describing(folder: str) -> Iterator[Callable[[], git.WorkingCopy | None]]:
    with ExitStack() as stack:
        try:
            describe = stack.enter_context(git.describing(folder))
        except TargetError:  # there is no git; taking the snapshot raises it
            describe = partial(git.describe, folder)
        yield describe
