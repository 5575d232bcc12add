"""The runs that registered models were made from: they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import ConfigurationError, TargetError
from amlexec.models import registry
from amlexec.models.listing import Model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.values import Project

__all__ = ["read"]


def read(project: Project, run_ids: Iterable[str]) -> tuple[dict[str, str], list[Exception]]:
    """Why runs stay, by id, and what went wrong. If the registry can't be read, all runs stay."""
    try:
        found = registry.opened(project).all()
    except (TargetError, ConfigurationError) as error:
        return dict.fromkeys(run_ids, "the model registry can't be read, and may need it"), [error]
    pins: dict[str, str] = {}
    problems: list[Exception] = []
    for name in found:
        for version in name.present:
            if not isinstance(version, Model):
                problems.append(TargetError(f"the record of the model {version.id} can't be read"))
            elif version.version.origin.run is not None:
                pins[version.version.origin.run.run_id] = f"the model {version.id} was made by it"
    return pins, problems
