"""Solving, with a real channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.environments import lockfile
from amlexec.errors import TargetError
from amlexec.packages import conda_install, conda_solve, network
from amlexec.packages.platforms import Platform
from tests.engines import packages
from tests.engines.serving import serve
from tests.support.declared import FILE, PLATFORM, Declared, failed, package

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("own_network")


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
