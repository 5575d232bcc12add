"""A browser for all tests of the page, and projects with runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from amlexec.values import Project
from tests.conftest import ProjectFolder
from tests.engines.browser import environment
from tests.support.browser import open_browser
from tests.support.sample_runs import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Browser


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    with open_browser(chromium, environment(), tmp_path_factory.mktemp("browser")) as found:
        yield found


class Report(NamedTuple):
    """A project, and the file of its page."""

    folder: ProjectFolder
    path: Path

    @property
    def state(self) -> Project:
        """The project as amlexec has it."""
        return Project(str(self.folder.root))

    @property
    def address(self) -> str:
        """Of the page."""
        return self.path.as_uri()

    def write(self, *arguments: str) -> None:
        """Write the page."""
        done = self.folder.amlexec("history", "report", "-o", str(self.path), *arguments)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"{self.path}\n"


@pytest.fixture
def report(project: ProjectFolder, tmp_path: Path) -> Report:
    """A project without runs."""
    return Report(project, tmp_path / "report.html")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The page of a project with twelve runs that differ in three parameters. Not to be changed."""
    root = tmp_path_factory.mktemp("tuned")
    found = Report(ProjectFolder(root / "digits"), root / "report.html")
    tuning(found.state, 12, 3, 30)
    found.write()
    return found
