"""Every prepared environment has a resolved lock, which says exactly what was installed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.environments import lockfile, python_packages, resolved_lock
from amlexec.values import Project
from tests.support import own_package
from tests.support.places import PLACES, DockerProject, RemoteProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.hosts import Client, Host

SCRIPT = "import six, tabulate\nprint(six.__version__, tabulate.__version__)\n"
MANAGED = next(place for place in PLACES if place.name == "managed")


@pytest.fixture
def make(tmp_path: Path, shop: Shop) -> Callable[[str], DockerProject]:
    """Make a project of that name with a pip section and without a lock file."""

    def made(name: str) -> DockerProject:
        lines = ("--no-index", f"--find-links {shop.wheels}", "tabulate", "./lib")
        project = DockerProject(tmp_path / name, shop, conda=shop.conda("six=1.16", pip=lines))
        own_package.write(project, "lib", "libx", "")
        project.write("train.py", SCRIPT)
        return project

    return made


def packages(project: DockerProject, name: str) -> dict[str, tuple[str, str, str]]:
    """Version, address and sha256 of each package of a resolved lock, by its name."""
    at = resolved_lock.path_of(Project(str(project.root)), name)
    text = at.read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == name
    # It is a lock file as `amlexec lock` writes it.
    project.write("elsewhere/conda_dependencies.lock", text)
    lock = lockfile.read(Project(str(project.root)), "elsewhere/conda_dependencies.yml")
    assert lock is not None
    assert lock.damage() == ""
    (platform,) = [name for name, _ in lock.bases]
    return {each.name: (each.version, each.address, each.sha256) for each in lock.packages(platform)}


def check(project: DockerProject, name: str, shop: Shop) -> None:
    found = packages(project, name)
    assert found.keys() >= {"python", "pip", "six", "tabulate", "libx"}
    assert found["six"][:2] == (
        "1.16.0",
        f"{shop.channel.removeprefix('file://')}/noarch/six-1.16.0-py_0.tar.bz2",
    )
    assert all(sha256 for name, (_, _, sha256) in found.items() if name != "libx")
    wheel = Path(shop.wheels, "tabulate-0.9.0-py3-none-any.whl")
    assert found["tabulate"] == ("0.9.0", str(wheel), hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert found["libx"] == ("3", "./lib", "")


def test_a_run_names_what_was_installed(make: Callable[[str], DockerProject], shop: Shop) -> None:
    project = make("demo")
    done = project.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    name = project.record(done.run_id)["environment_lock"]
    check(project, name, shop)
    at = resolved_lock.path_of(Project(str(project.root)), name)
    text = at.read_text()
    assert resolved_lock.origin(text).declared == shop.base
    # The image carries it: another project of the same environment, or this one without its file, has it too.
    at.unlink()
    again = project.submit("train.py")
    assert again.code == 0, again.err
    assert project.record(again.run_id)["environment_lock"] == name
    assert at.read_text() == text
    # Copied beside the dependencies, it is their lock file.
    project.write("aml_config/conda_dependencies.lock", text)
    checked = project.amlexec("lock", "-c", "docker", "--check")
    assert (checked.code, checked.out) == (0, "aml_config/conda_dependencies.lock is up to date\n"), checked
    locked = project.submit("--prepare", "train.py")
    assert locked.code == 0, locked.err
    assert project.record(locked.run_id)["environment_lock"] == name


def test_an_environment_on_a_machine_carries_its_own(
    tmp_path: Path, shop: Shop, client: Client, host: Host
) -> None:
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    project = RemoteProject(tmp_path / "demo", shop, MANAGED, host)
    project.write("aml_config/conda_dependencies.yml", shop.conda("six=1.16"))
    project.write("train.py", "import six\n")
    done = project.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    name = project.record(done.run_id)["environment_lock"]
    found = packages(project, name)
    assert found["six"][:2] == (
        "1.16.0",
        f"{shop.channel.removeprefix('file://')}/noarch/six-1.16.0-py_0.tar.bz2",
    )
    at = resolved_lock.path_of(Project(str(project.root)), name)
    at.unlink()
    again = project.submit("train.py")
    assert again.code == 0, again.err
    assert at.exists()


def test_a_python_without_packages_has_no_list(tmp_path: Path) -> None:
    project = Project(str(tmp_path))
    for text in ("", "not a package\n", "../x 1.0\n"):
        (tmp_path / python_packages.FILE).write_text(text)
        assert python_packages.keep(project, tmp_path) is None
    (tmp_path / python_packages.FILE).unlink()
    assert python_packages.keep(project, tmp_path) is None
    (tmp_path / python_packages.FILE).write_text("# in /usr/lib/site-packages\nnumpy 1.26.4\n")
    name = python_packages.keep(project, tmp_path)
    assert name is not None
    assert (resolved_lock.recall(project, name) or "").endswith("numpy 1.26.4\n")


def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    project = Project(str(tmp_path))
    name = resolved_lock.keep(project, "version: 6\n")
    assert resolved_lock.recall(project, name) == "version: 6\n"
    resolved_lock.path_of(project, name).write_text("version: 7\n")
    assert resolved_lock.recall(project, name) is None
    assert resolved_lock.keep(project, "version: 6\n") == name
    assert resolved_lock.recall(project, name) == "version: 6\n"
    assert resolved_lock.recall(project, "../run") is None
