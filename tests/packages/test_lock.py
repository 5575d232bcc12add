"""Solving, resolving, locking and installing, with a real channel, real wheels and real installers."""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from amlexec.commands import lock as command
from amlexec.config import load as config
from amlexec.dependencies import CondaDependencies
from amlexec.digest import of_bytes
from amlexec.environments import lockfile, lockfile_write
from amlexec.environments.spec import canonical, lock_basis, requirements_of, spec_of
from amlexec.errors import AmlexecError, ConfigurationError, TargetError, UsageError
from amlexec.packages import conda_cache, conda_install, conda_solve, network
from amlexec.packages.pip_pins import Pin, pin_of, pip_lines
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.platforms import Platform, of_image, of_target
from amlexec.packages.resolve import Resolution, resolve
from amlexec.packages.urls import Secret
from amlexec.values import Place, Project
from tests.engines import packages
from tests.engines.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ProjectFolder

FILE = "aml_config/conda_dependencies.yml"
LOCK = "aml_config/conda_dependencies.lock"
PLATFORM = Platform(packages.subdir())


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "CONDA")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AMLEXEC_CACHE", str(cache))


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
        lines = ["name: test", "channels:", *(f"  - '{one}'" for one in channels)]
        lines += ["dependencies:", *(f"  - {one}" for one in specs)]
        lines += ["  - pip:", *(f"    - {one}" for one in pip)] if pip else []
        self.folder.write(FILE, "\n".join(lines) + "\n")
        return self

    def resolve(self, **options: object) -> Resolution:
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
        found = self.resolve(**options)
        return [
            *(f"{one.name.normalized} {one.version}" for one in found.records),
            *(f"{one.name}=={one.version}" for one in found.pins),
        ]

    def lock(self, *arguments: str) -> int:
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        return command.run(parser.parse_args(["lock", "-c", "docker", "-p", self.project.root, *arguments]))

    def read(self) -> lockfile.Lock:
        found = lockfile.read(self.project, FILE)
        assert found is not None
        return found

    def locked(self) -> dict[str, str]:
        return {one.name: one.version for one in self.read().packages(PLATFORM.name)}

    def digest(self) -> str:
        dependencies = config.load_conda(self.project, FILE)
        lock = lockfile.read(self.project, FILE)
        return of_bytes(canonical(spec_of(self.project, "debian:12", dependencies, PLATFORM, lock=lock)))


@pytest.fixture
def declared(project: ProjectFolder) -> Declared:
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
    from rattler.index import index_fs

    async def run() -> None:
        await index_fs(folder, write_shards=False, write_zst=False, force=True)

    (folder / "noarch").mkdir(exist_ok=True)
    asyncio.run(run())


def package(name: str, version: str, *depends: str) -> packages.Package:
    return packages.Package(name, version, "0", depends=depends, noarch="generic")


def failed(
    declared: Declared, kind: type[ConfigurationError | TargetError] = ConfigurationError
) -> list[str]:
    with pytest.raises(kind) as caught:
        declared.resolve()
    assert type(caught.value) is kind
    return said(caught.value)


def said(error: AmlexecError) -> list[str]:
    return [line.strip() for line in error.lines()]


class TestSolve:
    def test_python_and_pip_are_implied(self, declared: Declared, channel: str, wheels: str) -> None:
        found = declared.write([channel], ["six"], ["--no-index", f"-f {wheels}", "tabulate"]).names()
        assert [one.split()[0] for one in found] == ["pip", "python", "six", "tabulate==0.9.0"]
        assert [one.split()[0] for one in declared.write([channel], []).names()] == ["python"]

    def test_versions(self, declared: Declared, channel: str) -> None:
        assert "six 1.16.0" in declared.write([channel], ["python", "needs-old-six", "six"]).names()
        assert "six 1.17.0" in declared.write([channel], ["python", "six"]).names()
        assert "six 1.16.0" in declared.write([channel], ["python", "six=1.16"]).names()

    def test_first_channel_that_has_a_name_is_the_only_one(
        self, declared: Declared, channel: str, own_channel: Callable[..., Path]
    ) -> None:
        own = own_channel(package("six", "1.0")).as_uri()
        assert "six 1.0" in declared.write([own, channel], ["six"]).names()
        assert "six 1.17.0" in declared.write([channel, own], ["six"]).names()
        assert "available: 1.0" in failed(declared.write([own, channel], ["six>=1.16"]))[1]

    def test_channel_by_path(self, declared: Declared, own_channel: Callable[..., Path]) -> None:
        own = own_channel(package("thing", "1.0"))
        own.rename(declared.folder.root / "channel")
        assert "thing 1.0" in declared.write(["./channel"], ["thing"]).names()

    def test_defaults_and_aliases(
        self, declared: Declared, own_channel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = own_channel(package("thing", "1.0"))
        condarc = declared.folder.write("condarc", f"default_channels: ['{own.as_uri()}']\n")
        monkeypatch.setenv("CONDARC", str(condarc))
        assert "thing 1.0" in declared.write(["defaults"], ["thing"]).names()
        monkeypatch.setenv("CONDA_CHANNEL_ALIAS", own.parent.as_uri())
        assert "thing 1.0" in declared.write(["own"], ["thing"]).names()

    def test_the_target_decides_what_fits(self, declared: Declared, own_channel: Callable[..., Path]) -> None:
        own = own_channel(
            package("thing", "1.0"),
            package("thing", "2.0", "__glibc >=2.30"),
            package("thing", "3.0", "__cuda >=12"),
        ).as_uri()
        declared.write([own], ["thing"])
        assert "thing 1.0" in declared.names()
        dependencies = config.load_conda(declared.project, FILE)
        for platform, version in (
            (Platform(packages.subdir(), "2.31"), "2.0"),
            (Platform(packages.subdir(), cuda="12.4"), "3.0"),
        ):
            found = conda_solve.solve(
                declared.project, dependencies, platform, network.settings(), cache=network.cache_folder()
            )
            assert version in [str(one.version) for one in found if one.name.normalized == "thing"]

    def test_package_that_no_channel_has(self, declared: Declared, channel: str) -> None:
        lines = failed(declared.write([channel], ["python", "tabulat", "six", "xyzzy=1"]))
        assert lines[0] == (
            f"{FILE}:6:5: error: there is no conda package tabulat for {PLATFORM.subdir} in {channel}"
        )
        assert lines[1].startswith("hint: did you mean tabulate?")
        assert lines[2].startswith(f"{FILE}:8:5: error: there is no conda package xyzzy")

    def test_module_of_the_standard_library(self, declared: Declared, channel: str) -> None:
        # A name that is a conda package in some channels, so that only the solve can find the mistake.
        lines = failed(declared.write([channel], ["python", "statistics"]))
        assert lines[0].startswith(f"{FILE}:6:5: error: there is no conda package statistics")
        assert lines[1] == "hint: statistics is a module of Python's standard library: remove the line"

    def test_version_that_no_channel_has(self, declared: Declared, channel: str) -> None:
        assert failed(declared.write([channel], ["python", "six=2"])) == [
            f"{FILE}:6:5: error: there is no six 2.* among the conda packages",
            "hint: available: 1.17.0, 1.16.0",
        ]

    def test_conflicting_packages(self, declared: Declared, channel: str) -> None:
        lines = "\n".join(failed(declared.write([channel], ["python", "six>=1.17", "idna", "needs-old-six"])))
        assert lines.startswith(f"{FILE}:8:5: error: the conda packages cannot be installed together:\n")
        assert "needs-old-six 1.0 would require" in lines
        assert "hint: change one of: six>=1.17 (line 6), needs-old-six (line 8)" in lines
        assert len(lines.splitlines()) < 15

    def test_invalid_spec(self, declared: Declared, channel: str) -> None:
        lines = failed(declared.write([channel], ["python", "'six[version='"]))
        assert lines[0].startswith(f"{FILE}:6:5: error: 'six[version='")

    def test_missing_channel(self, declared: Declared, channel: str, tmp_path: Path) -> None:
        address = (tmp_path / "nowhere").as_uri()
        lines = failed(declared.write([channel, address], ["python"]), TargetError)
        assert lines[0] == f"{FILE}:4:5: error: there is no channel {address}"

    def test_channel_that_does_not_answer(self, declared: Declared, channel: str) -> None:
        declared.write([channel, "http://user:hidden@127.0.0.1:9/t/tk-hidden/private"], ["python"])
        lines = failed(declared, TargetError)
        assert lines[0].startswith(
            f"{FILE}:4:5: error: the channel http://127.0.0.1:9/private cannot be reached: "
        )
        assert "refused" in lines[0]
        assert "hidden" not in "".join(lines)

    def test_private_channel(
        self, declared: Declared, channel: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with serve(channel.removeprefix("file://"), user="me", password="hidden") as site:
            host = site.url.partition("://")[2]
            lines = failed(declared.write([site.url], ["python", "six"]), TargetError)
            assert lines[0].startswith(f"{FILE}:3:5: error: the channel {site.url} requires a password: ")
            monkeypatch.setenv("TOKEN", "hidden")
            declared.write([f"http://me:${{TOKEN}}@{host}"], ["python", "six"])
            found = declared.resolve()
            assert declared.lock() == 0
            assert "hidden" not in declared.read().text
            prefix = tmp_path / "env"
            settings = network.settings()
            sources = conda_solve.channels(
                declared.project, config.load_conda(declared.project, FILE), settings
            )
            again = lockfile.resolution_from(declared.read(), PLATFORM.name, sources)
            assert [one.url for one in again.records] == [one.url for one in found.records]
            conda_install.install(
                again.records, prefix, "/opt/env", PLATFORM, settings, cache=tmp_path / "cache"
            )
            told = "".join(path.read_text("utf-8") for path in (prefix / "conda-meta").glob("*.json"))
            assert "hidden" not in told
            assert f"{site.url}/noarch/six-1.17.0" in told

    def test_variable_that_is_not_set(self, declared: Declared) -> None:
        lines = failed(declared.write(["https://${NOBODY_SET_THIS}@h/c"], ["python"]))
        assert lines == [f"{FILE}:3:5: error: the channel https://h/c has a variable that is not set"]


class TestPip:
    def section(
        self, declared: Declared, channel: str, wheels: str, *lines: str, specs: tuple[str, ...] = ()
    ) -> Declared:
        return declared.write([channel], ["python", *specs], ["--no-index", f"--find-links {wheels}", *lines])

    def test_pins(self, declared: Declared, channel: str, wheels: str) -> None:
        found = self.section(declared, channel, wheels, "amlexec-test-greet<1.1").resolve()
        assert [(one.name, one.version) for one in found.pins] == [
            ("amlexec-test-greet", "1.0"),
            ("tabulate", "0.9.0"),
        ]
        greet = found.pins[0]
        assert hashlib.sha256(Path(greet.location).read_bytes()).hexdigest() == greet.sha256

    def test_conda_packages_take_precedence(self, declared: Declared, channel: str, wheels: str) -> None:
        self.section(declared, channel, wheels, "amlexec-test-greet", "six", specs=("tabulate", "six=1.16"))
        assert [one.name for one in declared.resolve().pins] == ["amlexec-test-greet"]

    def test_version_against_conda(self, declared: Declared, channel: str, wheels: str) -> None:
        lines = failed(self.section(declared, channel, wheels, "six>=1.17", specs=("six=1.16",)))
        assert lines[0].startswith(f"{FILE}:10:7: error: the pip section cannot be resolved: ")
        assert lines[1] == "hint: six 1.16.0 is installed by conda: change its version there, or this line"

    def test_package_that_no_index_has(self, declared: Declared, channel: str, wheels: str) -> None:
        lines = failed(self.section(declared, channel, wheels, "tabulate", "amlexec-test-orphan"))
        assert lines[0].startswith(f"{FILE}:10:7: error: the pip section cannot be resolved: ")
        assert "amlexec-test-nowhere was not found" in lines[0]

    def test_constraints(self, declared: Declared, channel: str, wheels: str) -> None:
        declared.folder.write("limits.txt", "amlexec-test-greet<1.1\nidna\n")
        found = self.section(declared, channel, wheels, "amlexec-test-greet", "-c limits.txt").resolve()
        assert [one.name for one in found.pins] == ["amlexec-test-greet", "tabulate"]
        assert found.pins[0].version == "1.0"

    def test_sources_and_wheels_of_the_project(self, declared: Declared, channel: str, wheels: str) -> None:
        project = '[build-system]\nrequires = []\n[project]\nname = "mine"\nversion = "0.1"\n'
        project += 'dependencies = ["idna"]\n'
        declared.folder.write("lib/mine/pyproject.toml", project)
        packages.write_wheel(declared.folder.root, "other", "2.0", "", ["six"])
        found = self.section(
            declared, channel, wheels, "-e lib/mine", "./other-2.0-py3-none-any.whl", specs=("six",)
        ).resolve()
        assert [(one.name, one.location) for one in found.pins if one.location.startswith("./")] == [
            ("mine", "./lib/mine"),
            ("other", "./other-2.0-py3-none-any.whl"),
        ]
        assert [one.name for one in found.pins] == ["idna", "mine", "other"]

    def test_index_with_a_password(self, declared: Declared, channel: str, wheels: str) -> None:
        with serve(wheels, user="me", password="hidden") as site:
            host = site.url.partition("://")[2]
            declared.write(
                [channel], ["python"], [f"--index-url http://me:hidden@{host}/simple/", "tabulate"]
            )
            found = declared.resolve()
            assert found.pins[0].location == f"{site.url}/tabulate-0.9.0-py3-none-any.whl"
            told = requirements_of(declared.project, config.load_conda(declared.project, FILE))
            (line,) = pip_lines(declared.project.root, found.pins, told)
            assert line == (f"tabulate==0.9.0 --hash=sha256:{found.pins[0].sha256}", "")
            (where,) = index_lines(told, network.settings())
            assert where == f"--index-url http://me:hidden@{host}/simple/"
            assert "hidden" not in repr([found, told, line, where])
            declared.write(
                [channel], ["python"], [f"--index-url http://me:wrong-one@{host}/simple/", "colorama"]
            )
            with pytest.raises((TargetError, ConfigurationError)) as caught:
                declared.resolve()
            assert "wrong-one" not in "".join(said(caught.value))

    def test_index_of_the_users_own_settings(
        self, declared: Declared, channel: str, wheels: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serve(wheels) as site:
            settings = declared.folder.write("pip.conf", f"[global]\nindex-url = {site.url}/simple/\n")
            monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
            found = declared.write([channel], ["python"], ["tabulate"]).resolve()
        assert found.pins[0].location.startswith(site.url)

    def test_index_that_does_not_answer(self, declared: Declared, channel: str) -> None:
        declared.write([channel], ["python"], ["-i http://me:hidden@127.0.0.1:9/simple/", "tabulate"])
        lines = failed(declared, TargetError)
        assert (
            "a file of the pip section cannot be fetched: http://127.0.0.1:9/simple/tabulate/: " in lines[0]
        )
        assert "hidden" not in "".join(lines)

    def test_lines_for_pip(self, tmp_path: Path) -> None:
        from amlexec.packages.requirements import RequirementEntry, Requirements
        from amlexec.values import Place

        raw = Secret("https://me:hidden@h/x-1.0-py3-none-any.whl?sig=s")
        found = Requirements(
            (RequirementEntry("address", "https://h/x-1.0-py3-none-any.whl", Place(""), raw),)
        )
        pins = (
            Pin("a", "1", "https://h/a-1-py3-none-any.whl", "a" * 64),
            Pin("x", "1.0", "https://h/x-1.0-py3-none-any.whl", "b" * 64),
            Pin("mine", "", "./lib/mine", ""),
            Pin("r", "1", "git+https://h/r@0123", ""),
        )
        assert [tuple(line) for line in pip_lines(str(tmp_path), pins, found)] == [
            (f"a==1 --hash=sha256:{'a' * 64}", ""),
            (f"x @ {raw} --hash=sha256:{'b' * 64}", ""),
            ("{}", str(tmp_path / "lib/mine")),
            ("r @ git+https://h/r@0123", ""),
        ]

    def test_lines_without_a_hash(self, tmp_path: Path) -> None:
        from amlexec.packages.requirements import RequirementEntry, Requirements
        from amlexec.values import Place

        def entry(kind: str, text: str, path: str = "") -> RequirementEntry:
            return RequirementEntry(kind, text, Place(""), Secret(text), path=path)

        lib, archive = str(tmp_path / "lib"), "https://u:p@h/a.zip"
        found = Requirements(
            (
                entry("editable", f"-e {lib}[extra]", lib),
                entry("address", "git+https://u:p@h/r.git@main#subdirectory=sub"),
                entry("address", "git+ssh://git@h/q.git"),
                entry("address", f"a @ {archive}#subdirectory=sub&egg=a"),
            )
        )
        vcs = {"type": "git", "url": "https://h/r.git", "commit-id": "01", "subdirectory": "sub"}
        pins = (
            pin_of(str(tmp_path), {"name": "r", "vcs": vcs}, found, "3.12", PLATFORM),
            Pin("lib", "1", "./lib", ""),
            Pin("q", "1", "git+ssh://h/q.git@02", ""),
            Pin("a", "1", "https://h/a.zip", "c" * 64),
        )
        assert [str(line.text) for line in pip_lines(str(tmp_path), pins, found)] == [
            "r @ git+https://u:p@h/r.git@01#subdirectory=sub",
            "-e {}",
            "q @ git+ssh://git@h/q.git@02",
            f"a @ {archive}#subdirectory=sub --hash=sha256:{'c' * 64}",
        ]


class TestLock:
    @pytest.fixture
    def both(self, declared: Declared, channel: str, wheels: str) -> Declared:
        return declared.write(
            [channel], ["python", "six=1.16"], ["--no-index", f"-f {wheels}", "amlexec-test-greet<1.1"]
        )

    def test_file(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        assert both.lock() == 0
        out = capsys.readouterr().out.splitlines()
        assert "+ six 1.16.0 py_0" in out
        assert out[-1] == f"{LOCK}: 5 packages for {PLATFORM.name}"
        found = lockfile.resolution_from(both.read(), PLATFORM.name)
        assert found == lockfile.resolution_from(both.read(), PLATFORM.name)._replace(records=found.records)
        fresh = both.resolve()
        assert found.pins == fresh.pins
        assert [(one.url, one.sha256) for one in found.records] == [
            (one.url, one.sha256) for one in fresh.records
        ]
        assert found.python == fresh.python

    def test_other_tools_read_it(self, both: Declared) -> None:
        from rattler import LockFile

        assert both.lock() == 0
        file = LockFile.from_path(both.folder.root / LOCK)
        environment = file.default_environment()
        assert environment is not None
        pins = environment.pypi_packages()[PLATFORM.name]
        assert {one.name: one.hashes.sha256 is not None for one in pins if one.hashes} == {
            "amlexec-test-greet": True,
            "tabulate": True,
        }

    def test_same_dependencies_give_the_same_bytes(self, both: Declared) -> None:
        both.lock()
        first = both.read().text
        (both.folder.root / LOCK).unlink()
        both.lock()
        assert both.read().text == first

    def test_up_to_date_is_left_alone(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        both.lock()
        before = (both.folder.root / LOCK).stat()
        capsys.readouterr()
        assert both.lock() == 0
        assert (both.folder.root / LOCK).stat().st_mtime_ns == before.st_mtime_ns
        assert capsys.readouterr().out == f"{LOCK} is up to date\n"

    def test_check(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        assert both.lock("--check") == 1
        assert capsys.readouterr().out == f"out of date: there is no {LOCK}\n"
        both.lock()
        text = (both.folder.root / FILE).read_text()
        both.folder.write(FILE, f"# comment\n{text}".replace("six=1.16", "SIX = 1.16 # why"))
        capsys.readouterr()
        assert both.lock("--check") == 0
        both.folder.write(FILE, text.replace("six=1.16", "six=1.17"))
        assert both.lock("--check") == 1
        assert capsys.readouterr().out == f"{LOCK} is up to date\nout of date: {FILE}:6: six 1.16 -> 1.17\n"
        assert both.lock("--check", "-o", "json") == 1
        assert json.loads(capsys.readouterr().out) == {
            "lock": LOCK,
            "up_to_date": False,
            "reason": f"{FILE}:6: six 1.16 -> 1.17",
        }

    def test_check_solves_nothing(self, both: Declared) -> None:
        both.lock()
        program = (
            "import sys, argparse\n"
            "from amlexec.commands import lock\n"
            "parser = argparse.ArgumentParser()\n"
            "lock.add(parser.add_subparsers())\n"
            "code = lock.run(parser.parse_args(sys.argv[1:]))\n"
            "heavy = {'rattler', 'uv', 'jsonschema', 'asyncio', 'subprocess'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if 'rattler' in heavy or 'uv' in heavy else code)\n"
        )
        done = both.folder.call(sys.executable, "-c", program, "lock", "-c", "docker", "--check")
        assert (done.code, done.err) == (0, "")

    def test_pins_stay_if_they_fit(self, both: Declared) -> None:
        both.lock()
        text = (both.folder.root / FILE).read_text()
        both.folder.write(FILE, text.replace("six=1.16", "six").replace("greet<1.1", "greet"))
        both.lock()
        assert (both.locked()["six"], both.locked()["amlexec-test-greet"]) == ("1.16.0", "1.0")
        both.lock("--upgrade", "amlexec_test-greet")
        assert (both.locked()["six"], both.locked()["amlexec-test-greet"]) == ("1.16.0", "1.1")
        both.lock("--upgrade")
        assert both.locked()["six"] == "1.17.0"

    def test_upgrade_of_a_package_that_is_not_locked(self, both: Declared) -> None:
        both.lock()
        with pytest.raises(UsageError) as caught:
            both.lock("--upgrade", "sixx")
        assert said(caught.value) == ["error: no package sixx is locked", "hint: did you mean six?"]

    def test_configurations_with_and_without_spark_share_the_file(
        self, declared: Declared, own_channel: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Spark is added for one of them; locking that one does not take the other's packages."""
        own = own_channel(package("pyspark", "4.0.1"), package("openjdk", "17.0.2")).as_uri()
        declared.write([own], ["python"])
        declared.folder.write("aml_config/docker.compute", "type: docker\n")
        runs = declared.folder.write("aml_config/docker.runconfig", "Target: docker\nFramework: Python\n")
        assert declared.lock() == 0
        plain = declared.read().packages(PLATFORM.name)
        runs.write_text("Target: docker\nFramework: PySpark\n")
        assert declared.lock("--check") == 1
        assert capsys.readouterr().out.endswith(
            f"{LOCK} has no packages for {PLATFORM.name}-spark, only for {PLATFORM.name}\n"
        )
        assert declared.lock() == 0
        both = declared.read()
        assert both.packages(PLATFORM.name) == plain
        spark = sorted(one.name for one in both.packages(f"{PLATFORM.name}-spark"))
        assert spark == ["openjdk", "pyspark", "python"]
        for framework in ("Python", "PySpark"):
            runs.write_text(f"Target: docker\nFramework: {framework}\n")
            assert declared.lock() == declared.lock("--check") == 0
            assert declared.read().text == both.text

    def test_changes_as_json(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        both.lock()
        text = (both.folder.root / FILE).read_text()
        both.folder.write(FILE, text.replace("six=1.16", "six=1.17"))
        capsys.readouterr()
        both.lock("-o", "json")
        told = json.loads(capsys.readouterr().out)
        assert told["changes"] == [
            {"kind": "conda", "name": "six", "before": "1.16.0 py_0", "after": "1.17.0 py_0"}
        ]

    def test_other_platforms_stay(self, both: Declared) -> None:
        both.lock()
        one = both.read()
        other = Platform(PLATFORM.subdir, "2.17", "12.0")
        dependencies = config.load_conda(both.project, FILE)
        found = requirements_of(both.project, dependencies)
        basis = lock_basis(spec_of(both.project, "", dependencies, other, pip=found), found)
        resolution = lockfile.resolution_from(one, PLATFORM.name)
        kept = resolution._replace(records=resolution.records[:1], pins=resolution.pins[:1])
        lockfile_write.write(both.project, dependencies, other, basis, kept, one)
        both_now = both.read()
        assert both_now.packages(PLATFORM.name) == one.packages(PLATFORM.name)
        assert len(both_now.packages(other.name)) == 2
        assert both_now.reason(basis, other.name) == ""
        assert lockfile.resolution_from(both_now, other.name).pins == kept.pins
        missing = Platform(PLATFORM.subdir, "2.40")
        assert both_now.reason(basis, missing.name) == (
            f"{LOCK} has no packages for {missing.name}, only for {PLATFORM.name}, {other.name}"
        )

    def test_digest_is_of_the_locked_packages(self, both: Declared) -> None:
        unlocked = both.digest()
        both.lock()
        first = both.digest()
        assert first != unlocked
        text = (both.folder.root / FILE).read_text()
        both.folder.write(FILE, text.replace("six=1.16", "six"))
        with pytest.raises(ConfigurationError) as caught:
            both.digest()
        assert said(caught.value) == [
            f"{LOCK}: error: the lock file is out of date: {FILE}:6: six =1.16 -> any",
            "hint: `amlexec lock -c NAME` brings it up to date",
        ]
        both.lock()
        assert both.digest() == first
        both.lock("--upgrade", "six")
        assert both.digest() != first

    def test_sources_of_the_project_are_not_locked_but_count(self, declared: Declared, channel: str) -> None:
        project = '[build-system]\nrequires = []\n[project]\nname = "mine"\nversion = "0.1"\n'
        declared.folder.write("mine/pyproject.toml", project)
        declared.write([channel], ["python"], ["--no-index", "./mine"]).lock()
        first = declared.digest()
        declared.folder.write("mine/code.py", "x = 1\n")
        assert declared.lock("--check") == 0
        assert declared.digest() != first
        declared.folder.write("mine/pyproject.toml", project.replace("0.1", "0.2"))
        assert declared.lock("--check") == 1

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text.replace("version: 7", "<<<<<<< HEAD\nversion: 7"),
            lambda text: text.replace("version: 7", "version: 3"),
            lambda text: text[: len(text) // 2],
            lambda text: text.replace("packages:", "parcels:"),
        ],
    )
    def test_damaged_file(
        self, both: Declared, damage: Callable[[str], str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        both.lock()
        both.folder.write(LOCK, damage(both.read().text))
        with pytest.raises(ConfigurationError) as caught:
            both.digest()
        lines = said(caught.value)
        assert lines[0].startswith(f"{LOCK}: error: the lock file cannot be read: ")
        assert both.lock("--upgrade") == 0
        assert f"{LOCK} is replaced" in capsys.readouterr().err
        assert both.locked()["six"] == "1.16.0"

    def test_truncated_anywhere(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        """`lock --check` detects each missing byte; other commands may still read the intact part."""
        both.lock()
        whole = both.read()
        basis = dict(whole.bases)[PLATFORM.name]
        assert whole.reason(basis, PLATFORM.name) == whole.damage() == ""
        for size in [*range(0, len(whole.text), 13), *range(len(whole.text) - 200, len(whole.text))]:
            both.folder.write(LOCK, whole.text[:size])
            cut = both.read()
            assert cut.reason(basis, PLATFORM.name) or cut.damage(), size
        both.folder.write(LOCK, "\n".join(whole.text.splitlines()[:-1]) + "\n")
        capsys.readouterr()
        assert both.lock("--check") == 1
        assert capsys.readouterr().out.startswith(f"out of date: {LOCK} is truncated: it has ")
        with pytest.raises(
            ConfigurationError, match="the lock file cannot be read: it is truncated: it has "
        ):
            both.digest()
        assert both.lock() == 0
        assert both.read().text == whole.text

    def test_changed_by_hand(self, both: Declared, capsys: pytest.CaptureFixture[str]) -> None:
        both.lock()
        text = both.read().text
        both.folder.write(LOCK, text.replace("six-1.16.0", "six-1.17.0"))
        capsys.readouterr()
        assert both.lock("--check") == 1
        assert capsys.readouterr().out == f"out of date: {LOCK} was changed after it was written\n"
        both.folder.write(LOCK, text.replace("\n", "\r\n"))
        assert both.lock("--check") == 0, "as git may check it out"

    def test_file_of_an_earlier_version(self, both: Declared) -> None:
        both.lock()
        lines = both.read().text.splitlines(keepends=True)
        both.folder.write(LOCK, "".join(line for line in lines if "# amlexec body" not in line))
        assert both.lock("--check") == 0
        assert both.locked()["six"] == "1.16.0"
        both.folder.write(
            LOCK, (both.folder.root / LOCK).read_text().replace("packages:\n- conda", "- conda")
        )
        assert both.lock("--check") == 1

    def test_file_of_another_tool(self, both: Declared) -> None:
        both.lock()
        text = "".join(
            line for line in both.read().text.splitlines(keepends=True) if not line.startswith("#")
        )
        both.folder.write(LOCK, text)
        assert both.lock("--check") == 1
        with pytest.raises(ConfigurationError, match="does not say what it was made from"):
            both.digest()
        assert both.lock() == 0

    def test_disk_is_full(self, both: Declared, small_disk: Path) -> None:
        folder = small_disk / "demo"
        shutil.copytree(both.folder.root, folder)
        (small_disk / "filler").write_bytes(b"x" * 3_000_000)
        with pytest.raises(OSError, match="No space"), (small_disk / "rest").open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        resolution = both.resolve()
        with pytest.raises(TargetError, match="cannot write") as caught:
            lockfile_write.write(
                Project(str(folder)), CondaDependencies(Place(FILE)), PLATFORM, b"{}", resolution
            )
        assert "No space left" in caught.value.message
        assert not list(folder.glob("aml_config/*.new"))


class Installed(NamedTuple):
    """A file of an environment."""

    mode: int
    content: bytes


def files_of(prefix: Path) -> dict[str, Installed]:
    found = {}
    for path in sorted(prefix.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[str(path.relative_to(prefix))] = Installed(path.lstat().st_mode, content)
    return found


class TestInstall:
    def install(self, declared: Declared, prefix: Path, cache: Path, **more: object) -> list[object]:
        records = declared.resolve().records
        conda_install.install(records, prefix, "/opt/env", PLATFORM, network.settings(), cache=cache, **more)  # type: ignore[arg-type]
        return list(records)

    def test_final_prefix_and_progress(
        self, declared: Declared, channel: str, tmp_path: Path, cache: Path
    ) -> None:
        declared.write([channel], ["python", "prefixtool=2.0", "pip"])
        seen: list[tuple[int, int]] = []
        self.install(declared, tmp_path / "env", cache, progress=lambda *at: seen.append(at))
        tool = (tmp_path / "env/bin/prefixtool").read_text()
        assert tool.startswith("#!/opt/env/bin/python\n")
        assert str(tmp_path) not in tool
        assert (tmp_path / "env/bin/pip").read_text().startswith("#!/opt/env/bin/python")
        done = subprocess.run(
            [tmp_path / "env/bin/python", "-c", "import pip; print('ok')"], capture_output=True, text=True
        )
        assert done.stdout == "ok\n", done.stderr
        assert seen[-1][0] == seen[-1][1] > 0
        assert [one[0] for one in seen] == sorted(one[0] for one in seen)

    def test_same_lock_gives_the_same_files(
        self, declared: Declared, channel: str, tmp_path: Path, cache: Path
    ) -> None:
        declared.write([channel], ["python", "six", "prefixtool"])
        self.install(declared, tmp_path / "one", cache)
        self.install(declared, tmp_path / "another/place", tmp_path / "other-cache")
        one, other = files_of(tmp_path / "one"), files_of(tmp_path / "another/place")
        assert one.keys() == other.keys()
        assert [name for name in one if one[name] != other[name]] == []
        assert not [name for name, file in one.items() if str(tmp_path).encode() in file.content]

    def test_files_are_hard_links(self, declared: Declared, channel: str, cache: Path) -> None:
        declared.write([channel], ["python", "six"])
        prefix = cache / "an-environment"
        self.install(declared, prefix, cache)
        (module,) = prefix.glob("lib/python*/site-packages/six.py")
        assert module.stat().st_nlink > 1

    def test_package_that_was_removed_from_the_channel(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path
    ) -> None:
        own = own_channel(package("thing", "1.0"))
        with serve(str(own)) as site:
            for address in (own.as_uri(), site.url):
                records = declared.write([address], ["thing"]).resolve().records
                gone = own / "noarch/thing-1.0-0.tar.bz2"
                gone.rename(tmp_path / "kept")
                with pytest.raises(TargetError) as caught:
                    conda_install.install(
                        records,
                        tmp_path / "env",
                        "/opt/env",
                        PLATFORM,
                        network.settings(),
                        cache=tmp_path / "c",
                    )
                (tmp_path / "kept").rename(gone)
                assert said(caught.value) == [
                    f"error: thing-1.0-0.tar.bz2 is no longer in its channel {address}/",
                    "hint: `amlexec lock -c NAME --upgrade thing` takes an available one",
                ]

    def test_package_with_another_content(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path
    ) -> None:
        own = own_channel(package("thing", "1.0"))
        with serve(str(own)) as site:
            for number, address in enumerate((own.as_uri(), site.url)):
                records = declared.write([address], ["thing"]).resolve().records
                packages.write_package(own, package("thing", "1.0", "python"))
                with pytest.raises(TargetError) as caught:
                    conda_install.install(
                        records,
                        tmp_path / f"env{number}",
                        "/opt/env",
                        PLATFORM,
                        network.settings(),
                        cache=tmp_path / f"c{number}",
                    )
                lines = said(caught.value)
                assert lines[0].startswith(f"error: {address}/noarch/thing-1.0-0.tar.bz2 has the sha256 ")
                assert re.search(r" has the sha256 [0-9a-f]{64}; expected [0-9a-f]{64}$", lines[0])
                own_channel(package("thing", "1.0"))

    @pytest.mark.parametrize(
        "damage",
        ["empty", "another byte", "file gone", "list cut off", "index gone", "all gone"],
    )
    def test_package_that_was_damaged_in_the_cache(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path, damage: str
    ) -> None:
        kept = tmp_path / "cache/packages/thing-1.0-0"
        own = own_channel(
            package("thing", "1.0")._replace(files=[packages.Entry("share/thing", b"content\n")])
        )
        records = declared.write([own.as_uri()], ["thing"]).resolve().records
        records = tuple(one for one in records if one.name.normalized == "thing")

        def install(name: str) -> str:
            conda_install.install(
                records, tmp_path / name, "/opt/env", PLATFORM, network.settings(), cache=tmp_path / "cache"
            )
            return (tmp_path / name / "share/thing").read_text()

        assert install("before") == "content\n"
        lacking = functools.partial(conda_cache.lacking, records, tmp_path / "cache/packages")
        assert asyncio.run(lacking()) == []
        shutil.rmtree(tmp_path / "before")  # its files are hard links to the cache
        if damage == "all gone":
            shutil.rmtree(kept)
        else:
            name, text = {
                "empty": ("share/thing", ""),
                "another byte": ("share/thing", "Content\n"),
                "file gone": ("share/thing", None),
                "list cut off": ("info/paths.json", "{"),
                "index gone": ("info/index.json", None),
            }[damage]
            (kept / name).unlink()
            if text is not None:
                (kept / name).write_text(text)
        assert asyncio.run(lacking()) == ["thing-1.0-0.tar.bz2"]
        assert install("after") == "content\n"
        assert asyncio.run(lacking()) == []

    def test_disk_is_full(self, declared: Declared, channel: str, small_disk: Path) -> None:
        records = declared.write([channel], ["python"]).resolve().records
        with pytest.raises(TargetError) as caught:
            conda_install.install(
                records, small_disk / "env", "/opt/env", PLATFORM, network.settings(), cache=small_disk / "c"
            )
        assert caught.value.message == "the disk is full: the conda packages cannot be unpacked"


class TestPlatforms:
    def test_of_an_image(self) -> None:
        assert of_image("linux", "amd64") == Platform("linux-64")
        assert of_image("linux", "arm64", glibc="2.31").uv_platform == "aarch64-manylinux_2_31"
        for system, architecture in (("windows", "amd64"), ("linux", "riscv64")):
            with pytest.raises(TargetError, match=f"no environment can be made for {system}/{architecture}"):
                of_image(system, architecture)

    def test_of_a_target(self) -> None:
        from amlexec.values import ComputeTarget, Place

        remote = ComputeTarget("r", "remotedocker", Place(""))
        assert of_target(remote) == Platform("linux-64")
        assert of_target(remote._replace(nvidia_docker=True)).cuda

    def test_wheels(self) -> None:
        tags = Platform("linux-64", "2.17").wheel_platforms
        assert tags[:2] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
        assert tags[-1] == "linux_x86_64"
        assert Platform("linux-64", "2.20").uv_platform == "x86_64-manylinux_2_17"
        with pytest.raises(TargetError, match="cannot be resolved for linux-ppc64le"):
            _ = Platform("linux-ppc64le").uv_platform


class TestNetwork:
    def test_no_secret_is_printed(self, tmp_path: Path) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.write_text("")
        found = network.settings(
            {
                "HOME": str(tmp_path),
                "PIP_CONFIG_FILE": os.devnull,
                "https_proxy": "http://me:hidden@127.0.0.1:3128",
                "HTTP_PROXY": "127.0.0.1:3128",
                "PIP_INDEX_URL": "https://me:hidden@h/simple",
                "PIP_EXTRA_INDEX_URL": "https://hidden@e/simple https://f/simple",
                "PIP_CERT": str(bundle),
                "UV_DEFAULT_INDEX": "https://other/simple",
                "UV_PRERELEASE": "allow",
            }
        )
        assert "hidden" not in repr(found)
        assert network.uv_variables(found) == {
            "HOME": str(tmp_path),
            "HTTPS_PROXY": "http://me:hidden@127.0.0.1:3128",
            "HTTP_PROXY": "http://127.0.0.1:3128",
            "SSL_CERT_FILE": str(bundle),
        }
        assert (
            network.build_variables(found)["PIP_EXTRA_INDEX_URL"]
            == "https://hidden@e/simple https://f/simple"
        )
        assert "hidden" not in repr(network.build_variables(found))
        network.client(found)

    def test_pip_settings_nearest_first(self, tmp_path: Path) -> None:
        (tmp_path / ".config/pip").mkdir(parents=True)
        (tmp_path / ".config/pip/pip.conf").write_text(
            "[global]\nindex-url = https://user/simple\nextra_index_url =\n  https://a/simple\n  https://b/simple\n"
            "[install]\nno-index = true\n"
        )
        own = tmp_path / "own.conf"
        own.write_text("[global]\nindex-url = https://own/simple\n")
        home = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
        found = network.settings(home)
        assert found.index_url == "https://user/simple"
        assert found.extra_index_urls == ("https://a/simple", "https://b/simple")
        assert found.no_index
        assert network.settings(home | {"PIP_CONFIG_FILE": str(own)}).index_url == "https://own/simple"
        assert network.settings(home | {"PIP_INDEX_URL": "https://v/simple"}).index_url == "https://v/simple"

    def test_conda_settings(self, tmp_path: Path) -> None:
        """Files in conda's order; variables are expanded, and the environment takes precedence."""
        bundle = tmp_path / "ca.pem"
        bundle.write_text("certificates")
        (tmp_path / ".condarc").write_text(
            "proxy_servers:\n  https: http://u:${HUSH}@proxy:3128\n  http: http://proxy:3128\n"
            f"ssl_verify: {bundle}\nchannel_alias: https://${{HOST}}/conda\ndefault_channels: [https://$HOST/d]\n"
        )
        variables = {"HOME": str(tmp_path), "HUSH": "hidden", "HOST": "h", "PIP_CONFIG_FILE": os.devnull}
        found = network.settings(variables)
        assert dict(found.channel_proxies) == {
            "https_proxy": "http://u:hidden@proxy:3128",
            "http_proxy": "http://proxy:3128",
        }
        assert found.proxies == found.channel_proxies, "where nobody else says one, pip needs it too"
        assert (found.channel_ca_bundle, found.ca_bundle) == (str(bundle), str(bundle))
        assert (found.channel_alias, found.default_channels) == ("https://h/conda", ("https://h/d",))
        assert "hidden" not in repr(found)
        assert 'https = "http://u:hidden@proxy:3128"' in network.rattler_settings(found)
        told = network.settings({**variables, "PIP_PROXY": "pip:1"})
        assert dict(told.proxies)["https_proxy"] == "http://pip:1"
        assert told.channel_proxies == found.channel_proxies
        told = network.settings({**variables, "HTTPS_PROXY": "own:1"})
        assert dict(told.proxies) == dict(told.channel_proxies) == {"https_proxy": "http://own:1"}
        (tmp_path / "other").write_text("ssl_verify: false\n")
        told = network.settings({**variables, "CONDARC": str(tmp_path / "other")})
        assert (told.verifies_channels, told.channel_ca_bundle) == (False, "")
        assert "tls-no-verify = true" in network.rattler_settings(told)
        assert dict(told.channel_proxies) == dict(found.channel_proxies), "the files come together"
        with pytest.raises(
            ConfigurationError, match="there is no CA bundle /nowhere, which conda's ssl_verify"
        ):
            network.settings({**variables, "CONDA_SSL_VERIFY": "/nowhere"})

    @pytest.mark.parametrize(("verify", "is_reached"), [("true", False), ("false", True), ("{bundle}", True)])
    def test_a_channel_with_its_own_certificate(
        self,
        declared: Declared,
        own_channel: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        verify: str,
        is_reached: bool,
    ) -> None:
        key, bundle, leaf = (tmp_path / name for name in ("key.pem", "ca.pem", "leaf.pem"))
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        own_ca = ["-subj", "/CN=ca", "-keyout", str(tmp_path / "ca.key"), "-out", str(bundle)]
        signed = ["-CA", str(bundle), "-CAkey", str(tmp_path / "ca.key"), "-subj", "/CN=localhost"]
        signed += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        for more in (own_ca, [*signed, "-keyout", str(key), "-out", str(leaf)]):
            subprocess.run([*new, *more], check=True, capture_output=True)
        own = own_channel(package("thing", "1.0"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf, key)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(own))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "condarc").write_text(f"ssl_verify: {verify.format(bundle=bundle)}\n")
        monkeypatch.setenv("CONDARC", str(tmp_path / "condarc"))
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        declared.write([f"https://127.0.0.1:{server.server_port}"], ["thing"])
        try:
            if is_reached:
                assert "thing 1.0" in declared.names()
            else:
                assert "cannot be reached" in failed(declared, TargetError)[0]
        finally:
            server.shutdown()
            server.server_close()
        assert "SSL_CERT_FILE" not in os.environ

    def test_missing_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            network.settings({"HOME": str(tmp_path), "SSL_CERT_FILE": "/nowhere/ca.pem"})
        assert caught.value.message == "there is no CA bundle /nowhere/ca.pem, which SSL_CERT_FILE names"

    def test_unreadable_settings(self, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_text("index-url = x\n")
        with pytest.raises(ConfigurationError, match="pip's settings cannot be read"):
            network.settings({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})

    def test_cache(self, tmp_path: Path) -> None:
        assert network.cache_folder({"AMLEXEC_CACHE": str(tmp_path)}) == tmp_path
        assert network.cache_folder({}).name == "amlexec"


def test_canonical_value_is_in_the_lock_file(declared: Declared, channel: str) -> None:
    declared.write([channel], ["python"]).lock()
    (basis,) = [value for name, value in declared.read().bases if name == PLATFORM.name]
    told = json.loads(basis)
    assert told["specs"] == ["python"]
    assert "base_image" not in told
    dependencies = config.load_conda(declared.project, FILE)
    assert b"base_image" in canonical(spec_of(declared.project, "debian:12", dependencies, PLATFORM))
