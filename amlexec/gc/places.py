"""The interface of a place other than the project: a Docker engine, or a machine over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.gc.model import Item
    from amlexec.gc.project_items import ProjectRuns

__all__ = ["Outcome", "Place"]


class Outcome(NamedTuple):
    """What became of an item that was to be removed."""

    item: Item
    kept: str = ""
    """Why it was not removed after all; "" if it was."""


class Place(Protocol):
    """A place with things of the project, labelled or made by amlexec."""

    @property
    def name(self) -> str:
        """The name of its first compute target, for messages."""

    @property
    def targets(self) -> set[str]:
        """The names of all compute targets that use it."""

    @property
    def prefix(self) -> str:
        """The beginning of the keys of its items."""

    def items(self, runs: ProjectRuns) -> Sequence[Item]:
        """What takes disk space in it. Items of other places have other keys.

        Raises:
            TargetError: it can't be asked.
            ConfigurationError: its address is wrong.
        """

    def remove(self, items: Sequence[Item]) -> Sequence[Outcome]:
        """Remove those items of it, in this order.

        Raises:
            TargetError: it can't be asked. Some may have been removed.
        """
