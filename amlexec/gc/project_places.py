"""The engines and machines of a project's compute targets, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.gc.places import Place
    from amlexec.model import Project

__all__ = ["places"]


def places(project: Project, only: str) -> Sequence[Place]:
    """The places of the target `only`, or of all targets."""
    del project, only
    return ()
