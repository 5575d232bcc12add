"""Push environments to a registry, and pull them instead of building them.

An environment is `REGISTRY/REPOSITORY:TAG`; the tag is the beginning of its digest, so the same files lead
to the same tag. A pulled image is used only if its label has the whole digest.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import BASE, DIGEST, LOCK, PYTHON
from amlexec.docker.login import login_of, registry_of
from amlexec.environments import resolved_lock
from amlexec.environments.request import BuildResult
from amlexec.errors import TargetError, UsageError
from amlexec.images import trial
from amlexec.images.labels import LOCK_FILE, PREFIX, reference
from amlexec.images.transfer_bar import transfer_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.progress import Progress

__all__ = ["VARIABLE", "place", "published", "pull", "push", "push_image"]

VARIABLE = "AMLEXEC_IMAGES"
"""The variable that names the registry to pull from, for every command that prepares: CI sets it once for a
job, without a change to the project's files."""
_REFUSED = re.compile(r"unauthorized|authentication required|denied|no basic auth|\b40[13]\b", re.IGNORECASE)
_PLACE = re.compile(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*")
_PACKAGES = f"""
import glob, importlib.metadata, json, os, sys
conda = []
for path in sorted(glob.glob({PREFIX + "/conda-meta/*.json"!r})):
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    conda.append([str(record.get(key, "")) for key in ("name", "version", "build", "url")])
pip = sorted({{(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()}})
lock = ""
if os.path.isfile({LOCK_FILE!r}) and os.path.getsize({LOCK_FILE!r}) <= {resolved_lock.LARGEST}:
    with open({LOCK_FILE!r}, encoding="utf-8") as file:
        lock = file.read()
sys.stdout.write(json.dumps([conda, pip, lock]))
"""


def place(given: str = "", environment: Mapping[str, str] | None = None) -> str:
    """`given`, else the value of AMLEXEC_IMAGES, as `REGISTRY/REPOSITORY`; "" if both are empty.

    Raises:
        UsageError: it has a tag, or is no valid name.
    """
    variables = os.environ if environment is None else environment
    found = given or variables.get(VARIABLE, "")
    if not found:
        return ""
    if not _PLACE.fullmatch(found) or ":" in found.rpartition("/")[2]:
        where = "" if given else VARIABLE
        raise UsageError(
            f"{found!r} is not a repository for images",
            where=where,
            hint="write REGISTRY/REPOSITORY in lowercase, such as registry.example.com/team/images; "
            "the tag is the environment's digest",
        )
    return found


def published(where: str, digest: str) -> str:
    """The name of an environment in the repository `where`."""
    return f"{where}:{reference(digest).rpartition(':')[2]}"


def push(engine: Engine, digest: str, where: str, progress: Progress) -> str:
    """Push an environment from the engine; its reference in the registry, by sha256.

    Raises:
        TargetError: the registry refuses it.
    """
    return push_image(engine, reference(digest), published(where, digest), "environment", progress)


def push_image(engine: Engine, image: str, name: str, what: str, progress: Progress) -> str:
    """Push an image under a name; its reference in the registry, by sha256. `what` it is, for the error.

    Raises:
        TargetError: the registry refuses it.
    """
    progress.step(f"pushing {name}")
    had_name = images.inspect(engine, name) is not None
    images.tag(engine, image, name)
    try:
        pushed = images.push(engine, name, progress=transfer_bar(progress))
    except EngineAnswerError as error:
        raise TargetError(
            f"the {what} can't be pushed: {error.reason}",
            where=name,
            hint=f"`docker login {name.partition('/')[0]}` if it needs a login",
        ) from error
    finally:
        if not had_name:
            images.remove(engine, name)
    return f"{images.split(name)[0]}@{pushed}"


def pull(
    engine: Engine, request: BuildRequest, where: str, progress: Progress, log: BuildLog
) -> BuildResult | None:
    """Pull a published environment; None if it is not published, or the registry can't be reached.

    The caller holds the environment's lock.

    Raises:
        TargetError: its tag holds another environment, or one that does not run on this engine.
    """
    name = published(where, request.digest)
    had_name = images.inspect(engine, name) is not None
    progress.step(f"looking for {name}")
    try:
        images.pull(engine, name, progress=transfer_bar(progress))
    except EngineAnswerError as error:
        log.line(f"{name}: {error.reason}")
        progress.step(f"not pulled, so it is built: {error.reason.strip().rstrip('.')}")
        if _REFUSED.search(error.reason):
            host = registry_of(name)
            refusal = "refuses your login" if login_of(host) else "needs a login"
            progress.step(
                f"warning: {host} {refusal}: `docker login {host}`, then prepare again with --force"
            )
        return None
    try:
        return _taken(engine, request, name, log)
    finally:
        if not had_name:
            images.remove(engine, name)


def _taken(engine: Engine, request: BuildRequest, name: str, log: BuildLog) -> BuildResult:
    found = images.inspect(engine, name)
    if found is None:
        raise TargetError("the engine pulled the image but does not have it", where=name)
    labels: dict[str, str] = (found.get("Config") or {}).get("Labels") or {}
    if labels.get(DIGEST) != request.digest:
        raise TargetError(
            "another environment is published under this tag: its digest is "
            f"{labels.get(DIGEST) or 'missing'}",
            where=name,
            hint="remove it from the registry, or prepare without --pull-from and AMLEXEC_IMAGES",
        )
    conda, pip, lock = _packages(engine, request, str(found["Id"]), log)
    if resolved_lock.name_of(lock) != labels.get(LOCK, ""):
        raise TargetError("its resolved lock is not the one that its label names", where=name)
    trial.try_python(engine, str(found["Id"]), request.digest, name, name)
    images.tag(engine, str(found["Id"]), reference(request.digest))
    return BuildResult(str(found["Id"]), labels.get(BASE, ""), labels.get(PYTHON, ""), conda, pip, lock)


def _packages(engine: Engine, request: BuildRequest, image_id: str, log: BuildLog) -> tuple[Any, Any, str]:
    """The installed packages and the resolved lock.

    The environment's own Python lists them: this shows that it runs here.
    """
    from amlexec.images.build_container import BuildContainer
    from amlexec.images.build_lock import sweep

    sweep(engine, request.digest)
    output = bytearray()
    with BuildContainer(engine, image_id, request.digest, is_offline=True) as builder:
        builder.start()
        if builder.run([f"{PREFIX}/bin/python", "-I", "-c", _PACKAGES], output.extend) != 0:
            log.write(bytes(output))
            raise TargetError(f"the packages of a pulled environment can't be listed: the log is {log.path}")
    conda, pip, lock = json.loads(output)
    return tuple(map(tuple, conda)), tuple(map(tuple, pip)), str(lock)
