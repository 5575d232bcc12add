"""What an environment is made of, as one canonical value, and the digest that identifies it.

The digest answers one question: would preparing again install something else? Only what can change the
answer is in the value. Comments, the order of conda specs, quoting, anchors, line endings, the place and
the `name:` of the file, the project's code, environment variables and our own version are not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import digest as content
from amlexec.errors import ConfigurationError
from amlexec.model import Place, Violation
from amlexec.packages import conda_spec, requirements
from amlexec.packages.urls import expand_public, public, unset_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.environments.explain import Key
    from amlexec.environments.locked import Locked
    from amlexec.environments.lockfile import Lock
    from amlexec.model import CondaDependencies, Project
    from amlexec.packages.platforms import Platform

__all__ = [
    "RECIPE",
    "EnvironmentSpec",
    "canonical",
    "digest",
    "lock_basis",
    "requirements_of",
    "spec_of",
]

RECIPE = 1
"""How an environment is made from its value, as a number.

Raise it by one in the change that makes the same value install something else, or that makes an
environment of the old kind unusable: another layout of the image or of the prefix, other packages that
are implied (`python`, `pip`), another default (channel, glibc), another form of the canonical value.
Raising it rebuilds every environment of every user, so nothing else raises it: no release, no refactoring,
no speed. The vectors in the tests hold the digests of this number.
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
    """Maven coordinates that are baked in."""
    recipe: int = RECIPE
    locked: tuple[Locked, ...] | None = None
    """What a lock file names; then `channels`, `specs` and the lines of `pip` that it answers are empty."""
    places: tuple[tuple[Key, Place], ...] = ()
    """Where each part stands. Not part of the digest."""
    files: tuple[str, ...] = ()
    """Every file that the pip section refers to, absolute. Not part of the digest."""


def requirements_of(
    project: Project,
    dependencies: CondaDependencies,
    *,
    shared: str = "",
    environment: Mapping[str, str] | None = None,
) -> requirements.Requirements:
    """The pip section, read and followed. `shared` and errors as of `amlexec.packages.requirements.read`."""

    def files(folder: str) -> list[str]:
        from amlexec.snapshots import sources

        # A comment there is no other package. What they say is in the value itself.
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
    """What an environment for these dependencies is made of; solves nothing and asks nobody.

    `lock` is what stands beside the dependencies file, None where nothing does. `shared` is the folder on
    this machine that is `/azureml-share/` in containers. `pip` saves reading the pip section again.

    Raises:
        ConfigurationError: a line can't be read or followed; the lock file was made from other dependencies
            or for other platforms.
    """
    found = requirements_of(project, dependencies, shared=shared) if pip is None else pip
    dependencies = _expanded(dependencies)
    spec = EnvironmentSpec(
        base_image=base_image.strip(),
        platform=platform,
        channels=conda_spec.channels([line.text for line in dependencies.channels]),
        specs=_specs(dependencies),
        pip=tuple(
            (entry.kind, entry.text, entry.content) for entry in found.entries if entry.kind != "transport"
        ),
        places=_places(project, dependencies, found, base_place),
        files=found.files,
    )
    if lock is None:
        return spec
    lock.must_answer(lock_basis(spec, found), platform, spec.places)
    return spec._replace(
        channels=(),
        specs=(),
        # Of sources in a folder a lock file knows the name, and not what is in them.
        pip=tuple(one for one in spec.pip if one[0] in {"tree", "editable"}),
        locked=tuple(sorted(lock.packages(platform.name))),
        places=(*spec.places, (("locked", ""), Place(lock.shown))),
    )


def _expanded(dependencies: CondaDependencies) -> CondaDependencies:
    """The conda section as it is meant here: `${CHANNEL}` is another channel where it has another value.

    Raises:
        ConfigurationError: a variable that is no login is not set.
    """
    told, bad = [], []
    for what, lines in (("channel", dependencies.channels), ("conda spec", dependencies.specs)):
        texts = [expand_public(line.text, os.environ) for line in lines]
        # Another home is another folder.
        texts = [os.path.expanduser(text) if text.startswith("~") else text for text in texts]  # noqa: PTH111
        told.append(tuple(line._replace(text=text) for line, text in zip(lines, texts, strict=True)))
        for line in lines:
            for name in unset_variables(line.text, os.environ, logins=False):
                message = f"the {what} {public(line.text)} has a variable that is not set: {name}"
                bad.append(Violation(line.place, "error", message, f"set {name}, or write its value"))
    if bad:
        raise ConfigurationError(bad[0].message, where=str(bad[0].place), hint=bad[0].hint, violations=bad)
    return dependencies._replace(channels=told[0], specs=told[1])


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
    """The one JSON text that stands for `spec`; free of secrets, so that it can be kept beside the digest."""
    return content.canonical_json(_value(spec))


def digest(spec: EnvironmentSpec) -> str:
    """What identifies the environment: the sha256 of its canonical value, in hex."""
    return content.of_bytes(canonical(spec))


def lock_basis(spec: EnvironmentSpec, found: requirements.Requirements) -> bytes:
    """The part of a value without a lock that a lock file is the answer to, canonical.

    The base image is not in it, and of a folder with sources only what its dependencies follow from:
    editing a module in it leaves the lock file current (and makes another environment).
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
        "pip": [list(one) for one in spec.pip],
        "recipe": spec.recipe,
        "spark": list(spec.spark),
    }
    if spec.locked is None:
        return value | {"channels": list(spec.channels), "specs": sorted(set(spec.specs))}
    return value | {"locked": [list(one) for one in sorted(spec.locked)]}
