"""Images as files, which only tests need: from one engine to another, and to look into their layers."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from amlexec.docker.names import image_name
from amlexec.docker.streams import Archive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.docker.client import Engine

__all__ = ["load", "save"]


def load(engine: Engine, archive: bytes | IO[bytes] | Iterable[bytes]) -> None:
    """Take in images that `save` has written."""
    with engine.asked(patient=True) as api:
        said = "".join(str(message.get("stream", "")) for message in api.load_image(archive, quiet=True))
    assert "Loaded image" in said, said


def save(engine: Engine, image: str) -> Archive:
    """An image with its layers and references as a tar archive."""
    with engine.asked(patient=True) as api:
        return Archive(engine.address, api.get_image(image_name(image)))
