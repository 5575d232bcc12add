"""What goes into the image of a service, and which environments are refused. Without an engine."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from amlexec.environments.store import Installed
from amlexec.errors import ConfigurationError, TargetError, UsageError
from amlexec.services import environment, models, server_packages
from amlexec.services.local_imports import included
from amlexec.values import Project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder


def test_modules_beside_the_script_are_found(tmp_path: Path) -> None:
    for name, text in {
        "score.py": "import rules\nfrom shapes.round import circle\nimport json\nimport absent\n",
        "rules.py": "def f():\n    import more\n",
        "more.py": "import rules\n",
        "unused.py": "",
        "shapes/__init__.py": "",
        "shapes/round.py": "import deep\ncircle = 1\n",
        "deep.py": "",
        "words.txt": "a",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [name for _, name in included(tmp_path / "score.py", ["words.txt"])]
    assert found == ["deep.py", "more.py", "rules.py", "score.py", "shapes", "words.txt"]


def test_a_script_that_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def init(:\n")
    with pytest.raises(UsageError, match="it is not valid Python"):
        included(tmp_path / "score.py", [])


def test_a_pickle_that_the_environment_can_not_read_is_refused(project: ProjectFolder) -> None:
    project.write("model.pkl", pickle.dumps({"a": 1}, protocol=5))
    assert project.amlexec("model", "register", "-n", "iris", "model.pkl").code == 0
    own = Project(str(project.root))
    served = models.found(own, ["iris"])
    old = Installed("sha256:0", "0" * 64, "3.6.15", "linux-64")
    with pytest.raises(
        TargetError, match=r"iris:1 can't be loaded in this environment: model.pkl is a pickle"
    ):
        environment.unfit(own, served, old)
    assert environment.unfit(own, served, old._replace(python="3.12.1")) == []


def test_an_old_python_serves_nothing() -> None:
    with pytest.raises(ConfigurationError, match=r"Python 3.7.1, and a service needs 3.8 or later"):
        server_packages.pins("3.7.1")
    assert "uvicorn==" in server_packages.pins("3.8.0")
    assert server_packages.pins("3.8.0") != server_packages.pins("3.14.0")


def test_a_model_that_was_changed_after_it_was_registered(project: ProjectFolder) -> None:
    project.write("model.pkl", b"one")
    assert project.amlexec("model", "register", "-n", "iris", "model.pkl").code == 0
    own = Project(str(project.root))
    (path,) = [one.path for one in models.found(own, ["iris"])]
    path.chmod(0o600)
    path.write_bytes(b"two")
    with pytest.raises(TargetError):
        models.found(own, ["iris"])
