"""The lock file, and the command that writes it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.dependencies import CondaDependencies
from amlexec.environments import lockfile, lockfile_write
from amlexec.environments.spec import canonical, lock_basis, requirements_of, spec_of
from amlexec.errors import ConfigurationError, TargetError, UsageError
from amlexec.packages.platforms import Platform
from amlexec.values import Place, Project
from tests.support.declared import FILE, LOCK, PLATFORM, Declared, lines_of, package

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("own_network")


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
        assert lines_of(caught.value) == ["error: no package sixx is locked", "hint: did you mean six?"]

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
        assert lines_of(caught.value) == [
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
        lines = lines_of(caught.value)
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


def test_canonical_value_is_in_the_lock_file(declared: Declared, channel: str) -> None:
    declared.write([channel], ["python"]).lock()
    (basis,) = [value for name, value in declared.read().bases if name == PLATFORM.name]
    told = json.loads(basis)
    assert told["specs"] == ["python"]
    assert "base_image" not in told
    dependencies = config.load_conda(declared.project, FILE)
    assert b"base_image" in canonical(spec_of(declared.project, "debian:12", dependencies, PLATFORM))
