"""Read the resolved lock that the image of an environment carries."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from amlexec.docker.errors import EngineAnswerError
from amlexec.environments import resolved_lock
from amlexec.errors import TargetError
from amlexec.images.build_container import BuildContainer
from amlexec.images.labels import LOCK_FILE, reference

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.environments.store import Installed

__all__ = ["lock_of"]


def lock_of(engine: Engine, kept: Installed) -> str:
    """The text of the resolved lock in an image.

    Raises:
        TargetError: the engine can't be asked, or the image does not have the lock that its label names.
    """
    try:
        with BuildContainer(engine, kept.key, kept.digest) as container:
            text = container.read(LOCK_FILE, resolved_lock.LARGEST).decode()
    except (EngineAnswerError, tarfile.TarError, ValueError) as error:
        raise _without(kept) from error
    if resolved_lock.name_of(text) != kept.lock:
        raise _without(kept)
    return text


def _without(kept: Installed) -> TargetError:
    return TargetError(
        f"the image does not have the resolved lock {kept.lock[:12]} that its label names",
        where=reference(kept.digest),
    )
