"""Printed lines and their order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ProjectFolder


def test_stderr_follows_earlier_stdout_in_one_file(project: ProjectFolder) -> None:
    done = project.amlexec("init", "other", stderr=subprocess.STDOUT)
    lines = done.out.splitlines()
    assert lines.index("created .gitignore") < lines.index("What to type next:")


def test_a_warning_of_a_snapshot(project: ProjectFolder) -> None:
    (project.root / "data").symlink_to("/data")
    project.write("train.py", "print('x')\n")
    done = project.submit("train.py")
    assert done.code == 0
    assert done.err.startswith("warning: symbolic links lead out of the project")


def test_a_warning_with_its_place(project: ProjectFolder) -> None:
    project.write("aml_config/local.runconfig", "Target: local\nFramework: python\n")
    project.write("train.py", "print('x')\n")
    done = project.submit("train.py")
    assert done.code == 0
    assert done.err.startswith("aml_config/local.runconfig:2:12: ")


def test_clean_counts_what_it_removed(project: ProjectFolder) -> None:
    project.write("train.py", "raise SystemExit(4)\n")
    assert project.submit("train.py").code == 1
    assert project.amlexec("experiment", "clean", "-a").err == "1 copy of the project removed\n"
    assert project.amlexec("experiment", "clean", "-a").err == "0 copies of the project removed\n"


class TestStreams:
    """With any standard streams, a run's end is recorded, and there is no traceback."""

    @pytest.fixture
    def project(self, new_project: Callable[[str], ProjectFolder]) -> ProjectFolder:
        made = new_project("prü ∑")
        made.write(
            "train.py",
            "import os, sys\nfrom amlexec.run import log\nlog('точность', 1)\nprint('x' * 100000)\n"
            "print('to stderr', file=sys.stderr)\n",
        )
        made.write("aml_config/local.compute", "type: local\n")
        made.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
        return made

    def call(
        self, project: ProjectFolder, how: str, *words: str, door: str = "amlexec", **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `amlexec` or `doit` from a shell that redirects its streams."""
        return subprocess.run(
            ["sh", "-c", f'"$@" {how}', "sh", sys.executable, "-m", door, *words],
            cwd=project.root,
            env={**os.environ, **variables},
            capture_output=True,
            timeout=PATIENCE,
        )

    @pytest.mark.parametrize("door", ["amlexec", "doit"])
    @pytest.mark.parametrize(
        ("how", "code"),
        [
            *((">&-", 0), ("2>&-", 0), ("<&-", 0), ("<&- >&- 2>&-", 0)),
            *((">/dev/full", 2), ("2>/dev/full", 0), (">/dev/full 2>&1", 2)),
        ],
    )
    def test_streams_that_refuse_output(self, project: ProjectFolder, door: str, how: str, code: int) -> None:
        words = {
            "amlexec": ("experiment", "submit", "-c", "local", "train.py"),
            "doit": ("submit:local", "script=train.py"),
        }
        done = self.call(project, how, *words[door], door=door)
        assert (done.returncode if door == "amlexec" else 0) == (code if door == "amlexec" else 0), (
            done.stderr
        )
        assert b"Traceback" not in done.stdout + done.stderr
        (run_id,) = project.run_ids()
        record = project.record(run_id)
        assert (record["status"], record["metrics"]) == ("Completed", {"точность": 1})
        log = (project.run_folder(run_id) / "stdout.log").read_bytes()
        assert log == b"x" * 100000 + b"\n"
        # No file was opened with the number of a closed stream, and got the output.
        for path in project.root.rglob("*"):
            if path.is_file() and path.name not in {"stdout.log", "control.log"}:
                assert b"RunId:" not in path.read_bytes(), path

    @pytest.mark.parametrize("coding", ["ascii", "latin-1", "ascii:strict", "cp1252", "utf-16"])
    def test_characters_outside_the_encoding_are_escaped(self, project: ProjectFolder, coding: str) -> None:
        variables = {"PYTHONIOENCODING": coding}
        submit = ("experiment", "submit", "-c", "local", "train.py")
        done = self.call(project, "", *submit, **variables)
        assert done.returncode == 0, done.stderr
        listed = self.call(project, "", "history", "list", **variables)
        assert listed.returncode == 0, listed.stderr
        name = "точность".encode(coding.partition(":")[0], "backslashreplace").removeprefix(b"\xff\xfe")
        assert name in listed.stdout
        told = self.call(project, "", "history", "last", "-o", "json", **variables)
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout.decode(coding.partition(":")[0]))["metrics"] == {"точность": 1}
        project.write("aml_config/grün.runconfig", "Target: grün\nFramwork: ü\n")
        beginning = "gr".encode(coding.partition(":")[0]).removeprefix(b"\xff\xfe")
        for words in (("lint",), ("lint", "-o", "json"), ("experiment", "submit", "-c", "grün", "ü.py")):
            done = self.call(project, "", *words, **variables)
            assert b"Traceback" not in done.stderr + done.stdout
            assert (done.returncode, beginning in done.stdout + done.stderr) == (3, True)
        for words in (("list", "--all"), ("lint",), ("submit:grün", "script=ü.py")):
            done = self.call(project, "", *words, door="doit", **variables)
            assert b"Traceback" not in done.stderr + done.stdout, done.stderr

    def test_a_closed_pipe(self, project: ProjectFolder) -> None:
        done = self.call(project, "| true", "experiment", "submit", "-c", "local", "train.py")
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
        (run_id,) = project.run_ids()
        told = project.amlexec("experiment", "follow", "-r", run_id)
        assert (told.code, project.record(run_id)["status"]) == (0, "Completed")
        told = self.call(project, "2>&1 >/dev/null | true", "experiment", "status", "-r", "gone")
        assert b"Traceback" not in told.stderr
        for words in (("--help",), ("history", "list"), ("experiment", "--help")):
            done = self.call(project, ">/dev/full", *words)
            assert (done.returncode, b"Traceback" in done.stderr) == (2, False), words
            assert b"output is lost: No space left on device" in done.stderr
