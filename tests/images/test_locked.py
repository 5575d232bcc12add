"""Prepare installs the locked packages, even if newer ones exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import own_package
from tests.support.places import DockerProject, Shop

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = "import six, tabulate\nprint(six.__version__, tabulate.__version__)\n"


@pytest.fixture
def project(tmp_path: Path, shop: Shop) -> DockerProject:
    return DockerProject(
        tmp_path / "demo",
        shop,
        conda=shop.conda("six=1.16", pip=("--no-index", f"--find-links {shop.wheels}", "tabulate")),
    )


def test_prepare_installs_the_locked_packages(project: DockerProject, shop: Shop) -> None:
    project.write("train.py", SCRIPT)
    locked = project.amlexec("lock", "-c", "docker")
    assert locked.code == 0, locked.err
    checked = project.prepare("--check")
    assert checked.code == 1
    prepared = project.prepare()
    assert prepared.code == 0, prepared.err
    assert "solving" not in prepared.err
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "1.16.0 " in done.out
    # The comment changes neither the lock nor the environment; the spec changes both.
    text = (project.root / "aml_config/conda_dependencies.yml").read_text()
    project.write("aml_config/conda_dependencies.yml", f"# a word\n{text}")
    assert "up to date" in project.prepare("--check").out
    project.write("aml_config/conda_dependencies.yml", text.replace("six=1.16", "six=1.17"))
    stale = project.prepare("--check")
    assert stale.code == 3
    assert "conda_dependencies.lock: error: the lock file is out of date" in stale.err
    assert "six 1.16 -> 1.17" in stale.err
    assert "amlexec lock -c" in stale.err
    assert project.amlexec("lock", "-c", "docker").code == 0
    changed = project.prepare("--check")
    assert changed.code == 1
    assert "six 1.16.0 -> 1.17.0" in changed.out, changed.out
    (project.root / "aml_config/conda_dependencies.lock").unlink()
    project.write("aml_config/conda_dependencies.yml", text)
    assert "the lock file was removed" in project.prepare("--check").out


def test_packages_without_a_hash_are_installed_beside_locked_ones(shop: Shop, tmp_path: Path) -> None:
    """pip refuses folders among lines with hashes, so they are installed in a separate step."""
    lines = ("--no-index", "--require-hashes", "--find-links ./wheels", "tabulate", "-e ./lib", "./tool")
    project = DockerProject(tmp_path / "demo", shop, conda=shop.conda(pip=lines))
    (project.root / "wheels").symlink_to(shop.wheels)
    for name in ("lib", "tool"):
        own_package.write(project, name, f"{name}x", "")
    locked = project.amlexec("lock", "-c", "docker")
    assert locked.code == 0, locked.err
    project.write("train.py", "import libx, tabulate, toolx\nprint(libx.__file__, toolx.__file__)\n")
    done = project.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    assert "/opt/amlexec/src/" in done.out
    assert "site-packages/toolx.py" in done.out


def test_a_damaged_lock_file_is_one_error(project: DockerProject) -> None:
    project.write("aml_config/conda_dependencies.lock", "version: [\n")
    done = project.prepare("--check")
    assert done.code == 3
    assert "aml_config/conda_dependencies.lock" in done.err
    assert "Traceback" not in done.err


def test_an_invalid_channel_is_an_error_with_its_line(project: DockerProject, shop: Shop) -> None:
    project.write("aml_config/conda_dependencies.yml", shop.conda(channel="http://256.0.0.1:9/x"))
    done = project.prepare()
    assert done.code == 3, done.err
    assert "aml_config/conda_dependencies.yml:2:" in done.err
    assert "Traceback" not in done.err
