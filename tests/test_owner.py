"""The name that marks what a project owns elsewhere."""

from __future__ import annotations

import subprocess

import pytest

from amlexec.owner import owner_of
from amlexec.values import Project

_KEPT = 'echo "$1" >owner && read -r found <owner && printf %s "$found"'
"""How a machine keeps it, and reads it before it removes anything."""


@pytest.mark.parametrize("name", ["demo", "new\nline", "a\\nb", " blank", "tab\t", "-n", "a 'b\"; $HOME ü"])
def test_a_shell_reads_it_as_it_was(name: str, tmp_path: object) -> None:
    owner = owner_of(Project(f"/home/ada/{name}"))
    told = subprocess.run(
        ["sh", "-c", _KEPT, "sh", owner], cwd=str(tmp_path), check=True, capture_output=True
    )
    assert told.stdout.decode() == owner


def test_names_that_are_alike_are_of_different_projects() -> None:
    assert owner_of(Project("/home/ada/a\nb")) != owner_of(Project("/home/ada/a-b"))
    assert owner_of(Project("/home/ada/my demo")).startswith("my demo-")
