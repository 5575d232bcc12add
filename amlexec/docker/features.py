"""What an engine says of itself that a run in it depends on: Docker and Podman differ, and so do modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Features", "from_info"]

_OF_PODMAN = "k8s-file"
"""A log driver that Docker has not."""


class Features(NamedTuple):
    """Of one engine."""

    is_rootless: bool = False
    """It runs as the user whose it is, who is root in its containers."""
    has_other_users: bool = False
    """The users of its containers are not those of its machine (userns-remap)."""
    is_podman: bool = False
    runtimes: tuple[str, ...] = ()
    """Of containers, such as `nvidia`."""

    @property
    def log_driver(self) -> str:
        """The log driver that keeps every byte: others replace what is not UTF-8, or drop what is old."""
        return _OF_PODMAN if self.is_podman else "local"


def from_info(told: Mapping[str, Any]) -> Features:
    """Read what `GET /info` has answered."""
    options = [str(one).split(",")[0] for one in told.get("SecurityOptions") or ()]
    drivers = (told.get("Plugins") or {}).get("Log") or ()
    return Features(
        "name=rootless" in options,
        "name=userns" in options,
        _OF_PODMAN in drivers,
        tuple(told.get("Runtimes") or ()),
    )
