"""Test the image of an environment as a run will use it, before it gets its name."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from amlexec.docker import containers, images
from amlexec.docker.errors import EngineAnswerError, EngineError
from amlexec.docker.labels import BUILDING, MAKER
from amlexec.errors import TargetError
from amlexec.images.build_lock import me
from amlexec.images.labels import PREFIX, reference

if TYPE_CHECKING:
    from amlexec.docker.client import Engine

__all__ = ["publish", "try_python"]

_SCRIPT = "import sys; print(sys.prefix)"
_TRIAL_TIMEOUT_S = 120.0
_LINES = 5


def publish(engine: Engine, image_id: str, digest: str, base: str, where: str) -> None:
    """Tag an image as an environment if its Python runs in a container; else remove the image.

    For the error, `base` is the base image's reference, and `where` the place that names it.

    Raises:
        TargetError: the Python does not run.
    """
    try:
        try_python(engine, image_id, digest, base, where)
        images.tag(engine, image_id, reference(digest))
    except BaseException:
        with suppress(EngineError):
            images.remove(engine, image_id)
        raise


def try_python(engine: Engine, image_id: str, digest: str, base: str, where: str) -> None:
    """Run the environment's Python as a run does. Parameters and errors as for `publish`."""
    settings = {
        "Image": image_id,
        "Entrypoint": [f"{PREFIX}/bin/python"],
        "Cmd": ["-c", _SCRIPT],
        "User": f"{os.getuid()}:{os.getgid()}",
        "WorkingDir": "/azureml-run",
        "Env": ["PYTHONUNBUFFERED=1"],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {BUILDING: digest, MAKER: me()},
        "NetworkDisabled": True,
        "HostConfig": {"Init": True, "NetworkMode": "none"},
    }
    container = containers.create(engine, settings)
    try:
        try:
            containers.start(engine, container)
        except EngineAnswerError as error:
            raise _does_not_run(error.reason, base, where) from None
        code = containers.wait(engine, container, timeout=_TRIAL_TIMEOUT_S)
        with containers.logs(engine, container) as output:
            text = b"".join(frame.data for frame in output).decode(errors="replace").strip()
        if code:
            last = " / ".join(line.strip() for line in text.splitlines()[-_LINES:])
            raise _does_not_run(f"exit code {code}{f': {last}' if last else ''}", base, where)
        if text.splitlines()[-1:] != [PREFIX]:
            raise _does_not_run(f"its sys.prefix is {text or 'empty'}, not {PREFIX}", base, where)
    finally:
        containers.remove(engine, container, force=True)


def _does_not_run(why: str, base: str, where: str) -> TargetError:
    return TargetError(
        f"the environment was built, but its Python does not run in a container on {base}: {why}",
        where=where,
        hint="a run would fail the same way: check what the base image sets (ENV, VOLUME, the modes of "
        "folders), or name another baseDockerImage",
    )
