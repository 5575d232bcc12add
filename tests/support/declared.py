"""A project with dependencies, and what solves, resolves and locks them for real."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.commands import lock as command
from amlexec.config import load as config
from amlexec.digest import of_bytes
from amlexec.environments import lockfile
from amlexec.environments.spec import canonical, requirements_of, spec_of
from amlexec.errors import AmlexecError, ConfigurationError, TargetError
from amlexec.packages import network
from amlexec.packages.platforms import Platform
from amlexec.packages.resolve import Resolution, resolve
from amlexec.values import Project
from tests.engines import packages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ProjectFolder


__all__ = [
    "FILE",
    "LOCK",
    "PLATFORM",
    "Declared",
    "declared",
    "failed",
    "index",
    "lines_of",
    "own_channel",
    "own_network",
    "package",
    "package_cache",
]

FILE = "aml_config/conda_dependencies.yml"
LOCK = "aml_config/conda_dependencies.lock"
PLATFORM = Platform(packages.subdir())


@pytest.fixture(scope="session")
def package_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of packages for the tests of a process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_network(monkeypatch: pytest.MonkeyPatch, package_cache: Path) -> None:
    """No settings of the user's, and a cache of the tests."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "CONDA")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AMLEXEC_CACHE", str(package_cache))


class Declared:
    """A project with dependencies, and the functions under test for them."""

    def __init__(self, folder: ProjectFolder) -> None:
        self.folder = folder
        self.project = Project(str(folder.root))
        folder.write("aml_config/docker.compute", "type: docker\nbaseDockerImage: debian:12\n")
        folder.write(
            "aml_config/docker.runconfig", "Target: docker\nFramework: Python\nArgumentVector: [a.py]\n"
        )

    def write(self, channels: list[str], specs: list[str], pip: list[str] | None = None) -> Declared:
        """Write the dependencies file."""
        lines = ["name: test", "channels:", *(f"  - '{one}'" for one in channels)]
        lines += ["dependencies:", *(f"  - {one}" for one in specs)]
        lines += ["  - pip:", *(f"    - {one}" for one in pip)] if pip else []
        self.folder.write(FILE, "\n".join(lines) + "\n")
        return self

    def resolve(self, **options: object) -> Resolution:
        """What the dependencies come to."""
        dependencies = config.load_conda(self.project, FILE)
        settings = network.settings()
        found = requirements_of(self.project, dependencies)
        return resolve(
            self.project,
            dependencies,
            found,
            PLATFORM,
            settings,
            cache=network.cache_folder(),
            **options,  # type: ignore[arg-type]
        )

    def names(self, **options: object) -> list[str]:
        """The same, as names with versions."""
        found = self.resolve(**options)
        return [
            *(f"{one.name.normalized} {one.version}" for one in found.records),
            *(f"{one.name}=={one.version}" for one in found.pins),
        ]

    def lock(self, *arguments: str) -> int:
        """Run `amlexec lock`; its exit code."""
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        return command.run(parser.parse_args(["lock", "-c", "docker", "-p", self.project.root, *arguments]))

    def read(self) -> lockfile.Lock:
        """The lock file."""
        found = lockfile.read(self.project, FILE)
        assert found is not None
        return found

    def locked(self) -> dict[str, str]:
        """The versions in the lock file, by name."""
        return {one.name: one.version for one in self.read().packages(PLATFORM.name)}

    def digest(self) -> str:
        """The digest of the environment."""
        dependencies = config.load_conda(self.project, FILE)
        lock = lockfile.read(self.project, FILE)
        return of_bytes(canonical(spec_of(self.project, "debian:12", dependencies, PLATFORM, lock=lock)))


@pytest.fixture
def declared(project: ProjectFolder) -> Declared:
    """A project that declares dependencies."""
    return Declared(project)


@pytest.fixture
def own_channel(tmp_path: Path, channel: str) -> Callable[..., Path]:
    """Make a channel of packages without files, which tests may change; its Python is the real one."""

    def made(*chosen: packages.Package, name: str = "own") -> Path:
        folder = tmp_path / name
        for source in Path(channel.removeprefix("file://")).glob("*/python-*"):
            (folder / source.parent.name).mkdir(parents=True, exist_ok=True)
            if not (folder / source.parent.name / source.name).exists():
                os.link(source, folder / source.parent.name / source.name)
        for one in chosen:
            packages.write_package(folder, one)
        index(folder)
        return folder

    return made


def index(folder: Path) -> None:
    """Write the index of a channel."""
    from rattler.index import index_fs

    async def run() -> None:
        await index_fs(folder, write_shards=False, write_zst=False, force=True)

    (folder / "noarch").mkdir(exist_ok=True)
    asyncio.run(run())


def package(name: str, version: str, *depends: str) -> packages.Package:
    """A package without files, for every platform."""
    return packages.Package(name, version, "0", depends=depends, noarch="generic")


def failed(
    declared: Declared, kind: type[ConfigurationError | TargetError] = ConfigurationError
) -> list[str]:
    """The lines of the error of resolving the dependencies."""
    with pytest.raises(kind) as caught:
        declared.resolve()
    assert type(caught.value) is kind
    return lines_of(caught.value)


def lines_of(error: AmlexecError) -> list[str]:
    """The lines of an error as a user sees them."""
    return [line.strip() for line in error.lines()]
