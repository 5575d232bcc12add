"""The installer: made here, and unpacked and used on an empty machine."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rattler import RepoDataRecord
from rattler.index import index_fs

from amlexec.config import load as config
from amlexec.environments.request import BuildRequest
from amlexec.environments.spec import requirements_of, spec_of
from amlexec.errors import TargetError
from amlexec.packages import conda_bootstrap, conda_install, conda_remote, conda_solve, network
from amlexec.packages.conda_logins import logins
from amlexec.packages.platforms import Platform
from amlexec.values import Place, Project
from tests.engines import packages
from tests.engines.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.packages.network import Network
    from tests.conftest import ProjectFolder

PLATFORM = Platform(packages.subdir())
FILE = "aml_config/conda_dependencies.yml"


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "CONDA", "RATTLER_", "SSL_CERT", "NETRC")):
            monkeypatch.delenv(name)
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def ordered(folder: ProjectFolder, channel: str, *specs: str, platform: Platform = PLATFORM) -> BuildRequest:
    """A build request for the packages of these specs."""
    lines = ["channels:", f"  - {channel}", "dependencies:", *(f"  - {spec}" for spec in specs)]
    folder.write(FILE, "\n".join(lines) + "\n")
    project = Project(str(folder.root))
    dependencies = config.load_conda(project, FILE)
    spec = spec_of(project, "", dependencies, platform)
    found = requirements_of(project, dependencies)
    return BuildRequest(project, spec, "0" * 64, dependencies, found, Place(""))


def installer_of(order: BuildRequest, settings: Network, cache: Path) -> Path | None:
    return conda_bootstrap.archive(order.project, order.dependencies, order.spec.platform, settings, cache)


def solved(order: BuildRequest, cache: Path, settings: Network) -> list[RepoDataRecord]:
    return conda_solve.solve(order.project, order.dependencies, order.spec.platform, settings, cache=cache)


def channel_of(folder: Path, channel: str, *chosen: packages.Package, kind: str = "tar.bz2") -> Path:
    """A channel with these packages, and with the real channel's Python if it is named."""
    for source in Path(channel.removeprefix("file://")).glob("*/python-*") if channel else ():
        (folder / source.parent.name).mkdir(parents=True)
        os.link(source, folder / source.parent.name / source.name)
    for one in chosen:
        packages.write_package(folder, one, kind)
    asyncio.run(index_fs(folder, write_shards=False, write_zst=False, force=True))
    return folder


class Elsewhere:
    """A machine: a folder with the installer, and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (self.installer,) = home.iterdir()
        self.cache = str(home / "packages")
        self.said = b""

    def ask(self, text: bytes, records: Sequence[RepoDataRecord], settings: Network, **variables: str) -> Any:
        process = subprocess.Popen(
            [self.installer / "bin/python", *conda_remote.arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"HOME": "/nonexistent", **variables},
        )
        self.said, noise = process.communicate(text, timeout=120)
        self.seen: list[tuple[int, int]] = []
        answer = conda_remote.InstallerAnswer(records, settings, "box", lambda *at: self.seen.append(at))
        for at in range(0, len(self.said), 7):
            answer.feed(self.said[at : at + 7])
        return answer.result(noise.decode())

    def install(self, records: Sequence[RepoDataRecord], settings: Network, name: str = "env") -> Any:
        """Send the request and the packages, and install."""
        here = [one for one in records if conda_remote.is_only_here(one)]
        lacking = self.ask(conda_remote.question(here, self.cache), here, settings)
        sent = self.home / "sent"
        sent.mkdir(exist_ok=True)
        wanted = [one for one in here if one.file_name in lacking]
        with (
            conda_remote.packed(wanted, settings) as archive,
            tarfile.open(fileobj=archive) as members,
        ):
            members.extractall(sent, filter="data")
        order = conda_remote.request(
            records, str(self.home / name), PLATFORM, settings, cache=self.cache, sent=str(sent)
        )
        done = self.ask(order, records, settings)
        shutil.rmtree(sent)
        return lacking, done


def unpacked(archive: Path, home: Path) -> Path:
    with tarfile.open(archive) as members:
        members.extractall(home, filter="fully_trusted")
    return home


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, channel: str) -> Iterator[tuple[Path, Path]]:
    """A package cache with an installer."""
    from tests.conftest import ProjectFolder

    cache = tmp_path_factory.mktemp("cache")
    order = ordered(ProjectFolder(tmp_path_factory.mktemp("project") / "demo"), channel, "python")
    archive = installer_of(order, network.settings({"PIP_CONFIG_FILE": os.devnull}), cache)
    assert archive is not None
    yield cache, archive
    shutil.rmtree(cache)


@pytest.fixture(scope="session")
def unpacked_once(tmp_path_factory: pytest.TempPathFactory, made: tuple[Path, Path]) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("unpacked")
    yield unpacked(made[1], home)
    shutil.rmtree(home)


@pytest.fixture
def box(tmp_path: Path, unpacked_once: Path) -> Elsewhere:
    """A machine of links to what was unpacked once: nothing writes into an installer."""
    return Elsewhere(shutil.copytree(unpacked_once, tmp_path / "box", symlinks=True, copy_function=os.link))


def contents(prefix: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(prefix)): (path.lstat().st_mode, path.read_bytes())
        for path in prefix.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != "history"
    }


def test_the_installer_is_made_once(
    made: tuple[Path, Path], project: ProjectFolder, channel: str, box: Elsewhere
) -> None:
    cache, archive = made
    before = archive.stat()
    assert installer_of(ordered(project, channel, "python"), network.settings(), cache) == archive
    assert archive.stat().st_ino == before.st_ino
    assert archive.name == f"{conda_bootstrap.name_of(PLATFORM)}.tar.gz"
    assert box.installer.name == conda_bootstrap.name_of(PLATFORM)
    assert not list(box.installer.rglob("conda-meta"))
    # It compiles nothing each time that it starts.
    start = [box.installer / "bin/python", "-v", *conda_remote.arguments()[:-1], "import rattler"]
    said = subprocess.run(start, capture_output=True, text=True, check=True).stderr.splitlines()
    assert [line for line in said if "/rattler/" in line and line.endswith(".pyc'")]
    assert not [line for line in said if line.startswith("# code object from ") and line.endswith(".py")]


def test_a_damaged_installer_is_made_again(
    made: tuple[Path, Path], project: ProjectFolder, channel: str, tmp_path: Path
) -> None:
    cache, archive = made
    whole = archive.read_bytes()
    archive.unlink()
    archive.write_bytes(whole[: len(whole) // 2])
    assert installer_of(ordered(project, channel, "python"), network.settings(), cache) == archive
    with tarfile.open(archive) as again, tarfile.open(fileobj=io.BytesIO(whole)) as before:
        assert again.getnames() == before.getnames()
    assert Elsewhere(unpacked(archive, tmp_path / "box")).installer.name == conda_bootstrap.name_of(PLATFORM)


def test_it_installs_the_same_files_as_on_this_machine(
    made: tuple[Path, Path], project: ProjectFolder, channel: str, box: Elsewhere
) -> None:
    settings = network.settings()
    records = solved(ordered(project, channel, "python", "prefixtool=2.0", "six"), made[0], settings)
    lacking, done = box.install(records, settings)
    assert sorted(lacking) == sorted(one.file_name for one in records)
    assert sorted(one[0] for one in done) == ["prefixtool", "python", "six"]
    assert box.seen[-1][0] == box.seen[-1][1] > 0
    here = box.home / "here"
    conda_install.install(records, here, str(box.home / "env"), PLATFORM, settings, cache=made[0])
    assert contents(box.home / "env") == contents(here)
    told = subprocess.run([box.home / "env/bin/prefixtool"], capture_output=True, text=True, check=True)
    assert told.stdout == f"{box.home}/env 2.0\n"
    # Packages in the other machine's cache are not sent again.
    assert box.install(records, settings, "again")[0] == []


def test_the_other_machine_fetches_packages_with_a_login_in_memory(
    made: tuple[Path, Path], project: ProjectFolder, channel: str, box: Elsewhere
) -> None:
    canary = "c4narYpw"
    with serve(channel.removeprefix("file://"), user="ann", password=canary) as site:
        # An address of this machine that does not look like one, as in another network.
        address = site.url.replace("127.0.0.1", f"ann:{canary}@0.0.0.0")
        settings = network.settings()
        records = solved(ordered(project, address, "six=1.17"), made[0], settings)
        site.requests.clear()
        lacking, _ = box.install(records, settings)
        asked = [path for path in site.requests if path.endswith((".conda", ".tar.bz2"))]
    assert lacking == []
    assert len(asked) == len(records) == 2
    told = json.loads((box.home / "env/conda-meta/six-1.17.0-py_0.json").read_text())
    assert told["url"].startswith("http://0.0.0.0:")
    found = subprocess.run(["grep", "-r", "-l", canary, box.home], capture_output=True, text=True)
    assert found.stdout == ""


@pytest.mark.parametrize("kept", ["netrc", "store"])
def test_logins_of_this_machine_are_used_on_the_other(
    kept: str,
    made: tuple[Path, Path],
    project: ProjectFolder,
    channel: str,
    box: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if kept == "netrc":
        Path(os.environ["HOME"], ".netrc").write_text("machine 0.0.0.0 login ann password pw1234\n")
    else:
        login = {"BasicHTTP": {"username": "ann", "password": "pw1234"}}
        (tmp_path / "store.json").write_text(json.dumps({"0.0.0.0": login, "elsewhere.example": login}))
        monkeypatch.setenv("RATTLER_AUTH_FILE", str(tmp_path / "store.json"))
    assert list(logins(["http://0.0.0.0:80/x", "http://other.example/"])) == ["0.0.0.0"]
    with serve(channel.removeprefix("file://"), user="ann", password="pw1234") as site:
        address = site.url.replace("127.0.0.1", "0.0.0.0")
        settings = network.settings()
        records = solved(ordered(project, address, "six=1.17"), made[0], settings)
        box.install(records, settings)
    assert (box.home / "env/bin/python").exists()


def test_errors_are_the_same_as_on_this_machine(
    made: tuple[Path, Path],
    project: ProjectFolder,
    box: Elsewhere,
    tmp_path: Path,
    small_disk: Path,
    channel: str,
) -> None:
    settings = network.settings()
    python = solved(ordered(project, channel, "python"), made[0], settings)
    own = channel_of(tmp_path / "own", channel, packages.Package("thing", "1.0", "0", noarch="generic"))
    with serve(str(own)) as site:
        address = site.url.replace("127.0.0.1", "0.0.0.0")
        found = solved(ordered(project, address, "thing"), made[0], settings)
        record = next(one for one in found if one.name.normalized == "thing")
        packages.write_package(own, packages.Package("thing", "1.0", "0", depends=["six"], noarch="generic"))
        with pytest.raises(TargetError, match=r"has the sha256 .*; expected ") as caught:
            box.install([record], settings)
        assert caught.value.where == "box"
        (own / "noarch/thing-1.0-0.tar.bz2").unlink()
        with pytest.raises(TargetError, match=r"thing-1.0-0.tar.bz2 is no longer in its channel"):
            box.install([record], settings)
        gone = RepoDataRecord(record, record.file_name, f"file://{own}/{record.file_name}", own.as_uri())
        with pytest.raises(TargetError, match=r"thing-1.0-0.tar.bz2 is no longer in its channel"):
            box.install([gone], settings)
    box.cache = str(small_disk / "packages")
    with pytest.raises(TargetError, match="the disk is full"):
        box.install(python, settings)


def test_a_process_that_is_killed(box: Elsewhere) -> None:
    answer = conda_remote.InstallerAnswer([], network.settings(), "box")
    answer.feed(b'{"at": [1, 2]}\nKilled\n')
    with pytest.raises(TargetError, match="for an unknown reason: Killed") as caught:
        answer.result()
    assert caught.value.where == "box"


def test_a_channel_without_a_suitable_python(project: ProjectFolder, tmp_path: Path) -> None:
    own = channel_of(tmp_path / "own", "", packages.Package("python", "3.8.1", "0", noarch="generic"))
    order = ordered(project, own.as_uri(), "python")
    assert installer_of(order, network.settings(), tmp_path / "cache") is None


def test_another_platform_and_no_index(
    project: ProjectFolder, channel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "5")
    other = Platform("linux-aarch64" if PLATFORM.subdir == "linux-64" else "linux-64")
    files = [packages.Entry("lib/python3.12/os.py"), packages.Entry("bin/python", mode=0o755)]
    own = channel_of(tmp_path / "own", "", packages.Package("python", "3.12.0", "0", files, noarch="generic"))
    order = ordered(project, own.as_uri(), "python", platform=other)
    with pytest.raises(TargetError, match=f"py-rattler .* is not available for {other.subdir}") as caught:
        installer_of(order, network.settings(), tmp_path / "cache")
    assert "PIP_INDEX_URL" in caught.value.hint
    assert not list((tmp_path / "cache/installers").glob("*.gz"))
