"""Names of containers and images, checked before they become part of an address of the engine's."""

from __future__ import annotations

import re

from amlexec.docker.errors import EngineError

__all__ = ["container_name", "image_name"]

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,255}")
_SURPRISING = re.compile(r"[\x00-\x20?#\\]")


def container_name(text: str) -> str:
    """A container's name or id as it is. Raises EngineError where it is neither."""
    if _CONTAINER.fullmatch(text) is None:
        raise EngineError(f"{text[:80]!r} is no name or id of a container")
    return text


def image_name(text: str) -> str:
    """An image's reference or id as it is. Raises EngineError where it would become another question."""
    if not text or {"", ".", ".."} & {*text.split("/")} or _SURPRISING.search(text):
        raise EngineError(f"{text[:80]!r} is no name or id of an image")
    return text
