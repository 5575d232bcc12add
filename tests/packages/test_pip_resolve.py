"""Resolving the pip section, with real wheels and a real index."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from amlexec.config import load as config
from amlexec.environments.spec import requirements_of
from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages import network
from amlexec.packages.pip_pins import Pin, pin_of, pip_lines
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.urls import Secret
from amlexec.values import Place
from tests.engines import packages
from tests.engines.serving import serve
from tests.support.declared import FILE, PLATFORM, Declared, failed, lines_of

pytestmark = pytest.mark.usefixtures("own_network")


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
            assert "wrong-one" not in "".join(lines_of(caught.value))

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
