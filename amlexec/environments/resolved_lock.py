"""The resolved lock of an environment: exactly what was installed, also where the user wrote no lock file.

Each has the form of the lock file beside a dependencies file, so it can be copied there. Its name is the
sha256 of its text: the same environment that is built again later, from newer packages, has another one. An
environment carries its own; this computer has those of its runs, in `.amlexec/environments/locks`.
"""

from __future__ import annotations

import re

from amlexec import digest, private_folders
from amlexec.environments import last_prepared
from amlexec.files import read_regular, write_atomically
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Place

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.environments.build_context import BuildContext
    from amlexec.packages.pip_pins import Pin
    from amlexec.values import Project

__all__ = [
    "LARGEST",
    "Origin",
    "folder",
    "is_name",
    "keep",
    "name_of",
    "origin",
    "path_of",
    "recall",
    "text_of",
]

LARGEST = 64 << 20
"""Bytes of a lock."""
_NAME = re.compile(r"[0-9a-f]{64}")
_BASE = re.compile(r"# amlexec base (\S+) (\S+)")
_PLAIN = re.compile(r"\S+")


class Origin(NamedTuple):
    """What a resolved lock says beside its packages."""

    declared: str
    """The base image as declared; "" for an environment without one."""
    pinned: str
    """The base image by digest, or by id if no registry has it."""


def text_of(context: BuildContext, pins: tuple[Pin, ...] | None, base: str = "") -> str:
    """The resolved lock of an environment that is being built; "" if pip's files are not known.

    `base` is its base image by digest.
    """
    from amlexec.environments import lockfile_write
    from amlexec.environments.spec import lock_basis, spec_of

    if pins is None:
        return ""
    request, resolution = context.request, context.resolution
    channels = resolution.channels
    if request.lock is None:
        from amlexec.packages import conda_solve
        from amlexec.packages.urls import public

        found = conda_solve.channels(request.project, request.dependencies, context.network)
        channels = tuple(public(source.address) for source in found)
        basis = lock_basis(request.spec, request.requirements)
    else:
        spec = spec_of(
            request.project, "", request.dependencies, request.spec.platform, pip=request.requirements
        )
        basis = lock_basis(spec, request.requirements)
    text = lockfile_write.text_of(
        request.dependencies._replace(place=Place("conda_dependencies.yml")),
        request.spec.platform,
        basis,
        resolution._replace(pins=pins, channels=channels),
    )
    declared = request.spec.base_image
    if request.lock is not None and (before := origin(request.lock.text)).pinned == base:
        # It is built again by its digest: the lock stays the same.
        declared = before.declared
    named = [declared, base]
    head = f"# amlexec base {' '.join(named)}\n" if all(map(_PLAIN.fullmatch, named)) else ""
    maven = "".join(f"# amlexec maven {coordinate}\n" for coordinate in request.spec.spark)
    return head + maven + text


def origin(text: str) -> Origin:
    """What a resolved lock says of its base image."""
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        if match := _BASE.fullmatch(line):
            return Origin(match[1], match[2])
    return Origin("", "")


def name_of(text: str) -> str:
    """The name of a resolved lock; "" for none."""
    return digest.of_bytes(text.encode()) if text else ""


def is_name(text: str) -> bool:
    """Whether this can be the name of a resolved lock."""
    return _NAME.fullmatch(text) is not None


def folder(project: Project) -> Path:
    """The folder of these files."""
    return last_prepared.folder(project) / "locks"


def path_of(project: Project, name: str) -> Path:
    """The file of the resolved lock with that name."""
    return folder(project) / f"{name}.lock"


def keep(project: Project, text: str) -> str:
    """Store a resolved lock on this computer; its name. Idempotent."""
    name = name_of(text)
    path = path_of(project, name)
    if recall(project, name) is None:
        private_folders.make(path.parent)
        write_atomically(path, text)
    return name


def recall(project: Project, name: str) -> str | None:
    """The text of a resolved lock; None if this computer does not have it, or its file is damaged."""
    if not is_name(name):
        return None
    try:
        text = read_regular(path_of(project, name), LARGEST, follow=False).decode()
    except (OSError, ValueError):
        return None
    return text if name_of(text) == name else None
