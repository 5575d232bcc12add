"""The spec of an environment: one canonical value, and the digest that identifies it.

The digest answers one question: would another build install something else? The value holds only what can
change the answer. It does not hold comments, the order of conda specs, quoting, anchors, line endings, the
place and the `name:` of the file, the project's code, environment variables, or the version of amlexec.
"""

from __future__ import annotations

import os

from amlexec import digest as content
from amlexec.errors import ConfigurationError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.packages import conda_spec, requirements
from amlexec.packages.urls import expand_public, public, unset_variables
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.explain import Key
    from amlexec.environments.locked import Locked
    from amlexec.environments.lockfile import Lock
    from amlexec.packages.platforms import Platform
    from amlexec.values import Project

__all__ = [
    "RECIPE",
    "EnvironmentSpec",
    "canonical",
    "lock_basis",
    "requirements_of",
    "spec_of",
]

RECIPE = 1
"""The version of the procedure that builds an environment from its value.

Raise it by one in the change that makes the same value install something else, or that makes an
environment of the old kind unusable: another layout of the image or of the prefix, other packages that
are implied (`python`, `pip`), another default (channel, glibc), another form of the canonical value.
Raising it rebuilds every environment of every user, so nothing else raises it: no release, no refactoring,
no speed. The test vectors hold digests of this version.
"""


class EnvironmentSpec(NamedTuple):
    """Everything that decides what is installed."""

    base_image: str
    platform: Platform
    channels: tuple[str, ...] = ()
    """Canonical, in order."""
    specs: tuple[str, ...] = ()
    """Canonical conda specs: a set, sorted."""
    pip: tuple[tuple[str, str, str], ...] = ()
    """Kind, canonical text and content digest of each line of the pip section, in order."""
    spark: tuple[str, ...] = ()
    """Maven coordinates of packages in the image."""
    recipe: int = RECIPE
    locked: tuple[Locked, ...] | None = None
    """The packages of a lock file; then `channels`, `specs` and the locked lines of `pip` are empty."""
    places: tuple[tuple[Key, Place], ...] = ()
    """The place of each part. Not part of the digest."""
    files: tuple[str, ...] = ()
    """Every file that the pip section refers to, absolute. Not part of the digest."""


def requirements_of(
    project: Project,
    dependencies: CondaDependencies,
    *,
    shared: str = "",
    environment: Mapping[str, str] | None = None,
) -> requirements.Requirements:
    """Read the pip section. `shared` and errors are those of `amlexec.packages.requirements.read`."""

    def files(folder: str) -> list[str]:
        from amlexec.snapshots import sources

        # Left out, so that a comment in them changes nothing: their values are in the spec anyway.
        own = [dependencies.place.path, f"{os.path.splitext(dependencies.place.path)[0]}.lock"]  # noqa: PTH122
        return sources.files(project.root, folder, own)

    return requirements.read(
        project.root, dependencies.pip, shared=shared, environment=environment, sources=files
    )


def spec_of(
    project: Project,
    base_image: str,
    dependencies: CondaDependencies,
    platform: Platform,
    *,
    lock: Lock | None = None,
    base_place: Place | None = None,
    shared: str = "",
    pip: requirements.Requirements | None = None,
) -> EnvironmentSpec:
    """The spec of an environment for these dependencies. No solve, no network.

    `lock` is the lock file beside the dependencies file, or None. `shared` is the folder on this machine that
    is `/azureml-share/` in containers. `pip` saves reading the pip section again.

    Raises:
        ConfigurationError: a line is invalid or can't be followed; the lock file is for other dependencies or
            platforms.
    """
    read = requirements_of(project, dependencies, shared=shared) if pip is None else pip
    dependencies = _expanded(dependencies)
    spec = EnvironmentSpec(
        base_image=base_image.strip(),
        platform=platform,
        channels=conda_spec.channels([line.text for line in dependencies.channels]),
        specs=_specs(dependencies),
        pip=tuple(
            (entry.kind, entry.text, entry.content) for entry in read.entries if entry.kind != "transport"
        ),
        places=_places(project, dependencies, read, base_place),
        files=read.files,
    )
    if lock is None:
        return spec
    from amlexec.environments.lockfile import set_name

    name = set_name(platform, dependencies)
    lock.must_answer(lock_basis(spec, read), name, spec.places)
    return spec._replace(
        channels=(),
        specs=(),
        # A lock file has the names of folders with sources, but not their content.
        pip=tuple(line for line in spec.pip if line[0] in {"tree", "editable"}),
        locked=tuple(sorted(lock.packages(name))),
        places=(*spec.places, (("locked", ""), Place(lock.shown))),
    )


def _expanded(dependencies: CondaDependencies) -> CondaDependencies:
    """The conda section with its variables expanded: their values decide what is installed.

    Raises:
        ConfigurationError: a variable is not set; variables of logins may be unset.
    """
    expanded, bad = [], []
    for what, lines in (("channel", dependencies.channels), ("conda spec", dependencies.specs)):
        texts = [expand_public(line.text, os.environ) for line in lines]
        # `~` depends on the user.
        texts = [os.path.expanduser(text) if text.startswith("~") else text for text in texts]  # noqa: PTH111
        expanded.append(tuple(line._replace(text=text) for line, text in zip(lines, texts, strict=True)))
        for line in lines:
            for name in unset_variables(line.text, os.environ, logins=False):
                message = f"the {what} {public(line.text)} has a variable that is not set: {name}"
                bad.append(Violation(line.place, "error", message, f"set {name}, or write its value"))
    if bad:
        raise ConfigurationError(bad[0].message, where=str(bad[0].place), hint=bad[0].hint, violations=bad)
    return dependencies._replace(channels=expanded[0], specs=expanded[1])


def _specs(dependencies: CondaDependencies) -> tuple[str, ...]:
    bad = []
    for line in dependencies.specs:
        try:
            conda_spec.check(line.text)
        except conda_spec.BadSpecError as error:
            bad.append(Violation(line.place, "error", str(error), error.hint))
    if bad:
        raise ConfigurationError(bad[0].message, where=str(bad[0].place), hint=bad[0].hint, violations=bad)
    return tuple(sorted({conda_spec.canonical_spec(line.text) for line in dependencies.specs}))


def _places(
    project: Project, dependencies: CondaDependencies, found: requirements.Requirements, base: Place | None
) -> tuple[tuple[Key, Place], ...]:
    places: dict[Key, Place] = {("", ""): dependencies.place}
    if base is not None:
        places["base_image", ""] = base
    for line in dependencies.channels:
        places.setdefault(("channels", conda_spec.canonical_channel(line.text)), line.place)
    for line in dependencies.specs:
        places.setdefault(("specs", conda_spec.canonical_spec(line.text)), line.place)
    for entry in found.entries:
        places.setdefault(("pip", f"{entry.kind} {entry.text} {entry.content}"), entry.place)
        if entry.path:
            path = _shown(project, entry.path)
            places.setdefault(("path", entry.content), Place(path))
            places.setdefault(("path", entry.manifest), Place(path))
    return tuple(places.items())


def _shown(project: Project, path: str) -> str:
    inside = path.startswith(f"{project.root.rstrip('/')}/")
    return path[len(project.root.rstrip("/")) + 1 :] if inside else path


def canonical(spec: EnvironmentSpec) -> bytes:
    """The canonical JSON text of `spec`; free of secrets, so that it can be stored beside the digest."""
    return content.canonical_json(_value(spec))


def lock_basis(spec: EnvironmentSpec, found: requirements.Requirements) -> bytes:
    """The part of a value that a lock file depends on, canonical; `spec` has no lock.

    It leaves out the base image, and of a folder with sources everything but the files that decide its
    dependencies: an edited module makes another environment, but the lock file stays up to date.
    """
    manifests = [entry for entry in found.entries if entry.kind != "transport"]
    value = _value(spec) | {
        "pip": [[entry.kind, entry.text, entry.manifest or entry.content] for entry in manifests]
    }
    del value["base_image"], value["spark"]
    return content.canonical_json(value)


def _value(spec: EnvironmentSpec) -> dict[str, Any]:
    value: dict[str, Any] = {
        "base_image": spec.base_image,
        "platform": list(spec.platform),
        "pip": [list(line) for line in spec.pip],
        "recipe": spec.recipe,
        "spark": list(spec.spark),
    }
    if spec.locked is None:
        return value | {"channels": list(spec.channels), "specs": sorted(set(spec.specs))}
    return value | {"locked": [list(package) for package in sorted(spec.locked)]}
