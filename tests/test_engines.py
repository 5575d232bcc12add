"""The real parts of the tests: made right, and honest where they can't be had."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doit.exceptions import TaskFailed

from tests.engines import base_image, daemon, packages, places, recipe_folder, serving, tasks, tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def _get(error: Exception) -> TaskFailed | None:
    def fail() -> None:
        raise error

    return tasks.get_part("part", fail)


class TestTasks:
    def test_every_part_has_its_task(self) -> None:
        names = [task["name"] for task in tasks.task_engines()]
        assert names == [
            None,
            "git",
            "docker",
            "base_image",
            "channel",
            "registry",
            "ssh_host",
            "engine_host",
            "spark",
            "spark_channel",
            "slurm",
            "hadoop",
            "hadoop_azure",
            "fast_java",
            "kerberos",
            "mlflow",
            "azurite",
            "object_store",
            "server_wheels",
            "kubernetes",
            "strace",
            "browser",
        ]

    @pytest.mark.parametrize(("ci", "fails"), [("true", True), ("1", True), ("false", False), ("", False)])
    def test_what_cannot_be_had_fails_in_ci_alone(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, fails: bool
    ) -> None:
        monkeypatch.setenv("CI", ci)
        assert isinstance(_get(tools.MissingError("get it there")), TaskFailed) is fails
        assert ("get it there" in capsys.readouterr().out) is not fails

    def test_tool_that_fails_shows_its_last_lines(self) -> None:
        with pytest.raises(tools.ToolError) as caught:
            tools.run(["sh", "-c", "seq 30; echo last >&2; exit 3"], "counting")
        told = str(caught.value).splitlines()
        assert told[0] == "counting: `sh -c seq 30; echo last >&2; exit 3` ended with 3"
        assert [line.strip() for line in told[1:]] == [*map(str, range(12, 31)), "last"]
        assert isinstance(_get(caught.value), TaskFailed)

    def test_tool_that_hangs(self) -> None:
        with pytest.raises(tools.ToolError, match=r"waiting: sh has not ended after 0.5 s\n    begun"):
            tools.run(["sh", "-c", "echo begun; exec sleep 1000"], "waiting", timeout=0.5)

    def test_engine_that_somebody_has_named_is_not_ours_to_start(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        monkeypatch.setenv("AMLEXEC_TEST_STATE", str(tmp_path / "state"))
        assert not daemon.answers()
        with pytest.raises(tools.MissingError, match="no Docker engine answers"):
            daemon.ready()
        assert not (tmp_path / "state").exists()

    def test_process_that_is_not_our_engine_is_not_stopped(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AMLEXEC_TEST_STATE", str(tmp_path))
        record = tmp_path / "dockerd.json"
        with subprocess.Popen(["sleep", "1000"]) as other:
            record.write_text(f'{{"pid": {other.pid}, "born": "1"}}', "utf-8")
            daemon.stop()
            assert other.poll() is None
            other.kill()
        assert not record.exists()


class TestFolders:
    def test_folder_is_of_its_recipe(self, tmp_path: Path) -> None:
        folder, recipe = tmp_path / "part", recipe_folder.recipe(__file__, more="1")
        assert not recipe_folder.is_there(folder, recipe)
        with recipe_folder.replaced(folder, lambda: recipe) as new:
            (new / "file").write_text("first")
            assert not folder.exists()
        assert recipe_folder.is_there(folder, recipe)
        assert not recipe_folder.is_there(folder, recipe_folder.recipe(__file__, more="2"))
        assert (folder / "file").read_text() == "first"

    def test_folder_that_is_not_made_to_its_end(self, tmp_path: Path) -> None:
        folder = tmp_path / "part"
        with recipe_folder.replaced(folder, lambda: "first"):
            pass

        def fail(make: Callable[..., AbstractContextManager[Path]]) -> None:
            with pytest.raises(tools.ToolError), make(folder, lambda: "second"):
                raise tools.ToolError

        fail(recipe_folder.replaced)
        assert recipe_folder.is_there(folder, "first"), "the former one stays"
        fail(recipe_folder.filled)
        assert not recipe_folder.is_there(folder, "first")
        assert not recipe_folder.is_there(folder, "second")
        assert list(tmp_path.iterdir()) == [folder]


class TestParts:
    def test_base_image_is_the_same_each_time(self) -> None:
        first = base_image.archive()
        assert first == base_image.archive()
        with tarfile.open(fileobj=io.BytesIO(first)) as archive:
            names = set(archive.getnames())
        assert {"usr/bin/sh", "tmp", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"} <= names
        assert not any("python" in name for name in names)

    def test_channel_has_a_solution_and_a_dead_end(self, channel: str) -> None:
        assert {"python", "pip", "needs-old-six", "six-1.16.0"} <= _solved(channel, "pip", "needs-old-six")
        with pytest.raises(Exception, match="needs-old-six"):
            _solved(channel, "needs-old-six", "six >=1.17")

    def test_pip_takes_wheels_from_the_index(self, simple_index: serving.Site, tmp_path: Path) -> None:
        _download(f"{simple_index.url}/simple/", tmp_path)
        found = {path.name.split("-")[0] for path in tmp_path.glob("*.whl")}
        assert found == {"amlexec_test_greet", "tabulate"}
        assert "/simple/amlexec-test-greet/" in simple_index.requests

    def test_index_behind_a_login(self, wheels: str, tmp_path: Path) -> None:
        with serving.serve(wheels, user="me", password="it") as site:
            with pytest.raises(tools.ToolError):
                _download(f"{site.url}/simple/", tmp_path)
            _download(f"{site.url}/simple/".replace("//", "//me:it@", 1), tmp_path)


class TestPlaces:
    def test_state_is_where_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AMLEXEC_TEST_STATE", str(tmp_path / "a" / "b"))
        assert places.state() == tmp_path / "a" / "b"
        assert (tmp_path / "a" / "b" / ".gitignore").read_text("utf-8") == "*\n"

    @pytest.mark.parametrize(
        ("ci", "require", "is_required"),
        [
            ("", "", False),
            ("true", "", True),
            ("", "ssh,docker", True),
            ("", "ssh", False),
            ("", "all", True),
        ],
    )
    def test_what_may_not_be_skipped(
        self, monkeypatch: pytest.MonkeyPatch, ci: str, require: str, is_required: bool
    ) -> None:
        monkeypatch.setenv("CI", ci)
        monkeypatch.setenv("AMLEXEC_REQUIRE", require)
        assert places.is_required("docker") is is_required


def _solved(channel: str, *specs: str) -> set[str]:
    """The names, and the names with versions, of a solution."""
    from rattler import BuildString, Channel, GenericVirtualPackage, MatchSpec, PackageName, Version, solve

    virtual = GenericVirtualPackage(PackageName("__glibc"), Version("2.36"), BuildString("0"))
    records = asyncio.run(
        solve(
            [Channel(channel)],
            [MatchSpec(spec) for spec in specs],
            platforms=[packages.subdir(), "noarch"],  # type: ignore[list-item]
            virtual_packages=[virtual],
        )
    )
    names = [(record.name.source, str(record.version)) for record in records]
    return {name for name, _ in names} | {f"{name}-{version}" for name, version in names}


def _download(index: str, folder: Path) -> None:
    """Have pip fetch a wheel and what it needs from an index alone, whatever this machine's settings are."""
    words = [
        "download",
        "--no-input",
        "--disable-pip-version-check",
        "--index-url",
        index,
        "--dest",
        str(folder),
    ]
    clean = ["env", "-i", "PIP_CONFIG_FILE=/dev/null", "NO_PROXY=127.0.0.1", f"HOME={folder}"]
    tools.run([*clean, sys.executable, "-m", "pip", *words, "amlexec-test-greet"], "fetching a wheel")
