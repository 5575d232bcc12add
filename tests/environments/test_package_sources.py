"""A package of the project is installed without the files that the ignore rules exclude."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from amlexec.environments.pip_files import write_sources
from amlexec.errors import ConfigurationError
from amlexec.prepare import prepare as preparation
from amlexec.snapshots import sources
from amlexec.values import ComputeTarget, Place, Project

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.environments.request import BuildRequest

FILE = "aml_config/conda_dependencies.yml"
RULES = ".env\ndata/\n/notes\n*.key\n"


class Folder:
    """A project that is a package too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("pyproject.toml", "[project]\nname = 'mine'\nversion = '1'\n")
        self.write("mine/__init__.py", "")
        self.write(FILE, "dependencies:\n  - pip:\n    - -e .\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def order(self) -> BuildRequest:
        project = Project(str(self.root))
        target = ComputeTarget("docker", "docker", Place("x"))
        return preparation.wanted(project, "docker", target, FILE).request

    def files(self) -> list[str]:
        (entry,) = self.order().requirements.entries
        return list(entry.files)

    def archived(self) -> dict[str, tarfile.TarInfo]:
        """The files that go into an image, and to a machine."""
        order, held = self.order(), io.BytesIO()
        path = order.requirements.entries[0].path
        with tarfile.open(fileobj=held, mode="w") as archive:
            write_sources(archive, [(path, "src")], order)
        held.seek(0)
        with tarfile.open(fileobj=held) as archive:
            return {one.name.removeprefix("src/"): one for one in archive}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "demo")


@pytest.mark.parametrize("rules", [".amlignore", ".gitignore"])
def test_ignored_files_are_not_installed(folder: Folder, rules: str) -> None:
    folder.write(rules, RULES)
    before = folder.order().digest
    kept = folder.files()
    assert kept == [rules, "mine/__init__.py", "pyproject.toml"]
    for name in (
        *(".env", "mine/.env", "data/train.csv", "mine/data/x.csv", "notes", "mine/id.key"),
        *(".amlexec/runs/1/run.json", "outputs/model.bin", "artifacts/demo_1/run.json"),
        *("aml_config/other.runconfig", "aml_config/docker.compute", "mine/x.runconfig", ".azureml/a.yml"),
        *("build/lib/x.py", "mine.egg-info/PKG-INFO", "mine/__pycache__/x.pyc", ".git/HEAD"),
    ):
        folder.write(name, "secret")
        assert folder.files() == kept, name
    assert set(folder.archived()) == set(kept)
    assert folder.order().digest == before
    for name in ("mine/notes", "mine/outputs/x.py", "mine/artifacts/x.py", "setup.cfg"):
        folder.write(name, "counts")
        assert name in folder.files()
        assert folder.order().digest != before
    assert set(folder.archived()) == set(folder.files())


def test_comments_in_the_configuration_do_not_change_the_package(folder: Folder) -> None:
    """Also if the dependencies file is beside the package."""
    folder.write("environment.yml", "dependencies:\n  - pip:\n    - -e .\n")
    project = Project(str(folder.root))
    target = ComputeTarget("docker", "docker", Place("x"))

    def found() -> str:
        return preparation.wanted(project, "docker", target, "environment.yml").digest

    before = found()
    folder.write("environment.yml", "# Looked through.\ndependencies:\n  - pip:\n    - -e .\n")
    folder.write(FILE, "# Another.\n")
    assert found() == before


def test_a_folder_in_the_project(folder: Folder) -> None:
    """The project's rules hold in it, and its own; `outputs` and `aml_config` are ordinary names."""
    folder.write(".amlignore", ".env\n/lib/big\n")
    folder.write("lib/.amlignore", "*.tmp\n")
    for name in ("pyproject.toml", "lib.py", "outputs/a.py", "aml_config/b.py", "big/c", "x.tmp", ".env"):
        folder.write(f"lib/{name}", "x")
    found = sources.files(str(folder.root), str(folder.root / "lib"))
    assert found == [".amlignore", "aml_config/b.py", "lib.py", "outputs/a.py", "pyproject.toml"]


def test_a_folder_that_is_ignored_but_named(folder: Folder) -> None:
    """Snapshots need not contain an installed package; other ignored files stay out of it."""
    folder.write(".amlignore", "/vendor\n.env\n")
    for name in ("pyproject.toml", "lib.py", ".env"):
        folder.write(f"vendor/lib/{name}", "x")
    found = sources.files(str(folder.root), str(folder.root / "vendor/lib"))
    assert found == ["lib.py", "pyproject.toml"]


def test_a_repository_in_the_project(folder: Folder) -> None:
    folder.write(".gitignore", ".env\n")
    subprocess.run(["git", "init", "-q", str(folder.root / "lib")], check=True)
    for name in ("pyproject.toml", "lib.py", ".env"):
        folder.write(f"lib/{name}", "x")
    assert sources.files(str(folder.root), str(folder.root / "lib")) == ["lib.py", "pyproject.toml"]
    assert "lib/lib.py" in folder.files()
    assert "lib/.env" not in folder.files()


def test_a_folder_outside_the_project_has_no_rules(folder: Folder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("pyproject.toml", ".gitignore", ".env"):
        (other / name).write_text(".env\n")
    assert sources.files(str(folder.root), str(other)) == [".env", ".gitignore", "pyproject.toml"]
    (folder.root / "lib").symlink_to(other)
    assert ".env" in sources.files(str(folder.root), str(folder.root / "lib"))


def test_odd_names(folder: Folder) -> None:
    root = folder.root / "a [b] *c"
    root.mkdir()
    names = ["pyproject.toml", "\udcff.py", "-x.py", ":y.py", "z\n.py"]
    for name in names:
        (root / name).write_text("x")
    assert sources.files(str(folder.root), str(root)) == sorted(names)


def test_modes_and_links(folder: Folder) -> None:
    """An image has the modes of the digest: the executable bit, but not read permissions."""
    folder.write("mine/tool", "#!/bin/sh\n").chmod(0o700)
    (folder.root / "mine/__init__.py").chmod(0o600)
    (folder.root / "mine/link").symlink_to("tool")
    found = folder.archived()
    assert {name: one.mode for name, one in found.items() if one.isfile()} == {
        "mine/__init__.py": 0o644,
        "mine/tool": 0o755,
        "pyproject.toml": 0o644,
    }
    assert found["mine/link"].linkname == "tool"
    assert {(one.uid, one.gname) for one in found.values()} == {(0, "")}


def test_a_rule_that_excludes_the_package(folder: Folder) -> None:
    folder.write(".amlignore", "pyproject.toml\n")
    with pytest.raises(ConfigurationError) as caught:
        folder.order()
    assert caught.value.lines() == [
        f"{FILE}:3:7: error: an ignore rule excludes pyproject.toml of ., so pip cannot install it",
        "  hint: change the rule in .amlignore, or without one, in .gitignore",
    ]
