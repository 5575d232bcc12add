"""Export an environment as a Dockerfile and its files, to build it by hand or to see what is built.

The image has the same packages in the same places, but amlexec does not use it: it has no digest label,
because amlexec can't know what was in the folder when it was built.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError
from amlexec.images import base_image
from amlexec.images.labels import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.requirements import RequirementEntry
    from amlexec.progress import Progress

__all__ = ["Recipe", "recipe", "write"]

_ARCHIVE = "env.tar"
_MAVEN = "maven"
_SOURCES = "src"
_IN_IMAGE = "/opt/amlexec"
_COMPILE = f"""import compileall; compileall.compile_dir({PREFIX + "/lib"!r}, quiet=2)"""


class Recipe(NamedTuple):
    """How to build an environment by hand."""

    request: BuildRequest
    text: str
    """The Dockerfile."""
    requirements: tuple[tuple[str, str], ...]
    """Names and texts of the files for pip, without passwords."""


def recipe(engine: Engine, request: BuildRequest, configuration: str, progress: Progress) -> Recipe:
    """The Dockerfile of an environment. Pulls the base image, for its digest, if the engine lacks it.

    Raises:
        TargetError: the base image can't be pulled.
    """
    found = base_image.ensure(engine, request.spec.base_image, request.base_place, progress)
    files = dict(_requirements(request))
    lines = [f"# The environment of {configuration}: {request.digest}"]
    needed = [
        _ARCHIVE,
        *files,
        *([_SOURCES] if _paths(request) else []),
        *([_MAVEN] if request.spec.spark else []),
    ]
    lines.append(f"# Needs in its folder: {', '.join(needed)}; `--context FOLDER` writes them.")
    if found.pinned == found.image_id:
        lines.append(f"# The base image was built on the engine; no registry has it: {found.image_id}")
    lines += [
        f"FROM {request.spec.base_image if found.pinned == found.image_id else found.pinned}",
        "# The conda packages, installed for this path. They are unpacked; nothing is downloaded.",
        f"ADD {_ARCHIVE} /",
        f"ENV PATH={json.dumps(f'{PREFIX}/bin:{found.path}')} CONDA_PREFIX={PREFIX}",
        f"RUN {_exec(f'{PREFIX}/bin/python', '-I', '-c', _COMPILE)}",
    ]
    if files:
        if _paths(request):
            lines.append(f"COPY {_SOURCES} {_IN_IMAGE}/{_SOURCES}/")
        lines.append("# The pip section. Settings of your pip.conf and PIP_* variables are not included.")
        lines.append(f"COPY {' '.join(files)} {_IN_IMAGE}/")
        pip = [f"{PREFIX}/bin/python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"]
        options = {"requirements.txt": "-r", "constraints.txt": "-c"}
        for name in files:
            pip += [options[name], f"{_IN_IMAGE}/{name}"]
        lines.append(f"RUN {_exec(*pip)}")
    if request.spec.spark:
        from amlexec.images import maven_layer

        lines.append("# The Maven packages, downloaded by the Spark of this image.")
        lines.append(f"COPY {_MAVEN} {maven_layer.SCRATCH}/")
        lines.append(f"RUN {_exec(*maven_layer.command(request, 'spark-submit'))}")
    lines.append(f"CMD {_exec(f'{PREFIX}/bin/python')}")
    return Recipe(request, "\n".join(lines) + "\n", tuple(files.items()))


def write(what: Recipe, folder: str, progress: Progress) -> None:
    """Write the Dockerfile and its files into a new or empty folder; solves and installs the packages.

    Raises:
        UsageError: the folder is not empty.
        ConfigurationError, TargetError: as for a build.
    """
    from amlexec.environments import last_prepared, pip_files, resolve
    from amlexec.environments.build_context import BuildContext
    from amlexec.environments.build_log import BuildLog
    from amlexec.images.conda_layer import archived
    from amlexec.packages.network import settings

    request, place = what.request, Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", hint="name a new one")
    place.mkdir(parents=True, exist_ok=True)
    network = settings()
    resolution = resolve.resolved(request, network, progress)
    with (
        BuildLog(last_prepared.folder(request.project) / f"{request.digest}.context.log") as log,
        archived(BuildContext(request, resolution, network, progress, log)) as archive,
        (place / _ARCHIVE).open("wb") as copy,
    ):
        shutil.copyfileobj(archive, copy, 1 << 20)
    for number, path in _paths(request).items():
        for name in pip_files.files_of(path, request):
            to = place / _SOURCES / str(number) / Path(path).name / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(path, name), to, follow_symlinks=not name)
    if request.spec.spark:
        _write_maven(request, place / _MAVEN)
    for name, text in what.requirements:
        (place / name).write_text(text, "utf-8")
    (place / "Dockerfile").write_text(what.text, "utf-8")


def _write_maven(request: BuildRequest, place: Path) -> None:
    from amlexec.images import maven_layer

    place.mkdir()
    for name, content in maven_layer.contents(request):
        if isinstance(content, bytes):
            (place / name).write_bytes(content)
        else:
            shutil.copytree(content, place / name)


def _exec(*words: str) -> str:
    """A command in Docker's exec form, which needs no shell in the image."""
    return json.dumps(words)


def _paths(request: BuildRequest) -> dict[int, str]:
    """Paths on this machine in the pip section, by entry number."""
    return {number: entry.path for number, entry in enumerate(request.requirements.entries) if entry.path}


def _requirements(request: BuildRequest) -> Iterator[tuple[str, str]]:
    entries = list(enumerate(request.requirements.entries))
    if all(entry.is_constraint for _, entry in entries):
        return
    for name, is_constraint in (("requirements.txt", False), ("constraints.txt", True)):
        lines = [_line(entry, number) for number, entry in entries if entry.is_constraint == is_constraint]
        if lines:
            yield name, "".join(f"{line}\n" for line in lines)


def _line(entry: RequirementEntry, number: int) -> str:
    """A line for pip. Not `raw` where avoidable: it may contain passwords, and variables pip expands."""
    if entry.path:
        inside = f"{_IN_IMAGE}/{_SOURCES}/{number}/{Path(entry.path).name}"
        return str(entry.raw).replace(entry.path, inside)
    return str(entry.raw) if entry.kind == "transport" else entry.text
