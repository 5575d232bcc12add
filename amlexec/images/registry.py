"""Environments in a registry: pushed for colleagues and CI, and pulled by digest instead of being built.

An environment is `REGISTRY/REPOSITORY:TAG` there; the tag is the beginning of its digest, so whoever has
the same files asks for the same tag. What is pulled is used only if its labels say the whole digest.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import BASE, DIGEST, PYTHON
from amlexec.docker.login import login_of, registry_of
from amlexec.environments.request import BuildResult
from amlexec.errors import TargetError, UsageError
from amlexec.images import trial
from amlexec.images.labels import PREFIX, reference
from amlexec.images.transfer_bar import transfer_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.progress import Progress

__all__ = ["VARIABLE", "place", "published", "pull", "push"]

VARIABLE = "AMLEXEC_IMAGES"
"""Names the place where published environments are looked for, for every command that prepares: what CI sets
once for a job, and no file of the project has to say."""
_REFUSED = re.compile(r"unauthorized|authentication required|denied|no basic auth|\b40[13]\b", re.IGNORECASE)
_PLACE = re.compile(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*")
_PACKAGES = f"""
import glob, importlib.metadata, json, sys
conda = []
for path in sorted(glob.glob({PREFIX + "/conda-meta/*.json"!r})):
    with open(path, encoding="utf-8") as file:
        one = json.load(file)
    conda.append([str(one.get(key, "")) for key in ("name", "version", "build", "url")])
pip = sorted({{(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()}})
sys.stdout.write(json.dumps([conda, pip]))
"""


def place(given: str = "", environment: Mapping[str, str] | None = None) -> str:
    """`given`, else what AMLEXEC_IMAGES says, as `REGISTRY/REPOSITORY`; "" where neither says anything.

    Raises:
        UsageError: it has a tag, or is no such name.
    """
    variables = os.environ if environment is None else environment
    found = given or variables.get(VARIABLE, "")
    if not found:
        return ""
    if not _PLACE.fullmatch(found) or ":" in found.rpartition("/")[2]:
        where = "" if given else VARIABLE
        raise UsageError(
            f"{found!r} is no place for images",
            where=where,
            hint="write REGISTRY/REPOSITORY in small letters, such as registry.example.com/team/images; "
            "the tag is the environment's digest",
        )
    return found


def published(where: str, digest: str) -> str:
    """What an environment is called in the place `where`."""
    return f"{where}:{reference(digest).rpartition(':')[2]}"


def push(engine: Engine, digest: str, where: str, progress: Progress) -> str:
    """Publish an environment that the engine has; its reference there, by sha256.

    Raises:
        TargetError: the registry does not take it.
    """
    name = published(where, digest)
    progress.step(f"pushing {name}")
    there = images.inspect(engine, name) is not None
    images.tag(engine, reference(digest), name)
    try:
        pushed = images.push(engine, name, progress=transfer_bar(progress))
    except EngineAnswerError as error:
        raise TargetError(
            f"the environment can't be pushed: {error.reason}",
            where=name,
            hint=f"`docker login {where.partition('/')[0]}` if it wants to know who you are",
        ) from error
    finally:
        if not there:
            images.remove(engine, name)
    return f"{where}@{pushed}"


def pull(
    engine: Engine, request: BuildRequest, where: str, progress: Progress, log: BuildLog
) -> BuildResult | None:
    """Take an environment that somebody has published; None where nobody has, or the registry can't be asked.

    The order's lock is held by the caller.

    Raises:
        TargetError: what is published under its tag is another environment, or does not run here.
    """
    name = published(where, request.digest)
    there = images.inspect(engine, name) is not None
    progress.step(f"looking for {name}")
    try:
        images.pull(engine, name, progress=transfer_bar(progress))
    except EngineAnswerError as error:
        log.line(f"{name}: {error.reason}")
        progress.step(f"not pulled, so it is made here: {error.reason.strip().rstrip('.')}")
        if _REFUSED.search(error.reason):
            host = registry_of(name)
            who = "does not take your login" if login_of(host) else "wants to know who you are"
            progress.step(f"warning: {host} {who}: `docker login {host}`, then prepare again with --force")
        return None
    try:
        return _taken(engine, request, name, log)
    finally:
        if not there:
            images.remove(engine, name)


def _taken(engine: Engine, request: BuildRequest, name: str, log: BuildLog) -> BuildResult:
    found = images.inspect(engine, name)
    if found is None:
        raise TargetError("the engine has pulled the image, and does not have it", where=name)
    labels: dict[str, str] = (found.get("Config") or {}).get("Labels") or {}
    if labels.get(DIGEST) != request.digest:
        raise TargetError(
            f"another environment is published there: its label says {labels.get(DIGEST) or 'nothing'}",
            where=name,
            hint="remove it from the registry, or prepare without --pull-from and AMLEXEC_IMAGES",
        )
    conda, pip = _packages(engine, request, str(found["Id"]), log)
    trial.try_python(engine, str(found["Id"]), request.digest, name, name)
    images.tag(engine, str(found["Id"]), reference(request.digest))
    return BuildResult(str(found["Id"]), labels.get(BASE, ""), labels.get(PYTHON, ""), conda, pip)


def _packages(engine: Engine, request: BuildRequest, image_id: str, log: BuildLog) -> tuple[Any, Any]:
    """What is installed, asked of the environment's own Python: which shows that it runs on this engine."""
    from amlexec.images.build_container import BuildContainer
    from amlexec.images.build_lock import sweep

    sweep(engine, request.digest)
    said = bytearray()
    with BuildContainer(engine, image_id, request.digest) as builder:
        builder.start()
        if builder.run([f"{PREFIX}/bin/python", "-I", "-c", _PACKAGES], said.extend) != 0:
            log.write(bytes(said))
            raise TargetError(f"the packages of a pulled environment can't be listed: the log is {log.path}")
    conda, pip = json.loads(said)
    return tuple(map(tuple, conda)), tuple(map(tuple, pip))
