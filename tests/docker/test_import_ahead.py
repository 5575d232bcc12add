"""docker-py, which costs 50 ms to import, is imported while something else is waited for, or not at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.places import DockerProject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.places import Shop

IMPORTS = """\
import importlib.abc, sys, threading
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("docker", "plumbum"):
            where = "at once" if threading.current_thread() is threading.main_thread() else "aside"
            sys.stderr.write(f"{name} is imported {where}\\n")
sys.meta_path.insert(0, Finder())
from amlexec.cli import run
sys.exit(run(sys.argv[1:]))
"""
"""Says where docker-py and plumbum are imported while it does what `amlexec` does."""


@pytest.fixture
def project(shop: Shop, tmp_path: Path) -> DockerProject:
    """A project on a Docker target."""
    # No other test has these dependencies: where the image exists, no docker-py is needed at all.
    found = DockerProject(tmp_path / "demo", shop, conda=shop.conda("six", "tabulate", "idna"))
    found.write("train.py", "print('hello')\n")
    return found


def imports(project: DockerProject, *arguments: str) -> list[str]:
    """What is said of imports while a command does its work."""
    done = project.call(sys.executable, "-c", IMPORTS, "experiment", *arguments)
    assert done.code == 0, done.err
    return [line for line in done.err.splitlines() if " is imported " in line]


def test_while_dependencies_are_solved_and_while_a_snapshot_is_taken(project: DockerProject) -> None:
    assert imports(project, "prepare", "-c", "docker") == ["docker is imported aside"]
    assert imports(project, "submit", "-c", "docker", "train.py") == ["docker is imported aside"]


def test_neither_for_a_local_run_nor_where_nothing_is_to_do(project: DockerProject) -> None:
    assert project.prepare().code == 0
    assert imports(project, "prepare", "-c", "docker") == []
    project.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    assert imports(project, "submit", "-c", "local", "train.py") == []
