"""What is printed, and in which order."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder


def test_talk_comes_after_the_data_before_it_where_both_go_to_one_file(project: ProjectFolder) -> None:
    done = project.amlexec("init", "other", stderr=subprocess.STDOUT)
    lines = done.out.splitlines()
    assert lines.index("created .gitignore") < lines.index("What to type next:")


def test_a_snapshot_that_warns_says_that_it_is_a_warning(project: ProjectFolder) -> None:
    (project.root / "data").symlink_to("/data")
    project.write("train.py", "print('x')\n")
    done = project.submit("train.py")
    assert done.code == 0
    assert done.err.startswith("warning: a symbolic link leaves the project")


def test_a_warning_with_its_place_is_said_as_it_is(project: ProjectFolder) -> None:
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
