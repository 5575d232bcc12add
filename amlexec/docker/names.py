"""Checks names of containers and images before they become part of a URL."""

from __future__ import annotations

import re

from amlexec.docker.errors import EngineError

__all__ = ["container_name", "image_name"]

_CONTAINER = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,255}"
_SURPRISING = r"[\x00-\x20?#\\]"


def container_name(text: str) -> str:
    """Return a container's name or id unchanged. Raises EngineError if it is not valid."""
    if re.fullmatch(_CONTAINER, text) is None:
        raise EngineError(f"{text[:80]!r} is not a name or id of a container")
    return text


def image_name(text: str) -> str:
    """Return an image's reference or id unchanged. Raises EngineError if it would change the URL's path."""
    if not text or {"", ".", ".."} & {*text.split("/")} or re.search(_SURPRISING, text):
        raise EngineError(f"{text[:80]!r} is not a name or id of an image")
    return text
