"""The installer: a Python with rattler in it that is sent to a machine once, and fetches packages there.

Nothing in it knows where it lies: it is unpacked anywhere, and works. What it is called says what it can do,
so a new build of Python in a channel is no reason to send another one.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from amlexec import locks, private_folders
from amlexec.errors import ConfigurationError, TargetError
from amlexec.model import Line
from amlexec.packages import conda_errors, conda_install, conda_solve, scratch, stable_tar
from amlexec.packages.network import uv_variables

if TYPE_CHECKING:
    from amlexec.model import CondaDependencies, Project
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform

__all__ = ["archive", "name_of"]

_FORM = 1
"""What is left out, and how it is laid out. Raise it when that changes."""
_PYTHON = "3.10"
"""The oldest that rattler runs on."""
_NOT_NEEDED = frozenset(
    [
        *("conda-meta", "doc", "etc", "include", "man", "sbin", "share", "ssl", "cmake", "pkgconfig"),
        *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo"),
    ]
)
"""Folders of a Python, at any depth, that nobody needs who only installs packages."""
_LEVEL = 4
_WAIT_SECONDS = 1800.0
"""For another process to make it."""


def name_of(platform: Platform) -> str:
    """What the installer for that platform is called: the name of the one folder in its archive."""
    return f"rattler-{_version()}-{platform.subdir}-{_FORM}"


def archive(
    project: Project, dependencies: CondaDependencies, platform: Platform, network: Network, cache: Path
) -> Path | None:
    """The installer for a platform, as a `.tar.gz`, made now where the folder `cache` has none.

    Its Python is `NAME/bin/python`. None where no channel of `dependencies` has a Python
    that rattler runs on.

    Raises:
        TargetError: a channel or an index can't be reached, or there is no rattler for that platform.
    """
    path = cache / "installers" / f"{name_of(platform)}.tar.gz"
    if _is_whole(path):
        return path
    try:
        private_folders.make(path.parent)
    except OSError as error:
        raise conda_errors.no_cache(path.parent, error) from error
    with locks.exclusive(f"{path}.lock", _WAIT_SECONDS):
        return (
            path if _is_whole(path) or _make(path, project, dependencies, platform, network, cache) else None
        )


def _is_whole(path: Path) -> bool:
    """Whether the archive is there, and is what was written: at its end it says what it should be."""
    try:
        with gzip.open(path) as archive:
            while archive.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _make(
    path: Path,
    project: Project,
    dependencies: CondaDependencies,
    platform: Platform,
    network: Network,
    cache: Path,
) -> bool:
    """Make it; False where no channel has a Python for it."""
    python = Line(f"python >={_PYTHON}", dependencies.place)
    alone = dependencies._replace(specs=(python,), pip=())
    try:
        records = conda_solve.solve(project, alone, platform, network, cache=cache)
    except ConfigurationError:
        return False
    with scratch.room(cache) as room:
        prefix = room / "env"
        conda_install.install(records, prefix, str(prefix), platform, network, cache=cache)
        _trim(prefix)
        (site,) = prefix.glob("lib/python3.*/")
        _add_rattler(site / "site-packages", platform, network, cache)
        beside = room / path.name
        with gzip.GzipFile(beside, "wb", _LEVEL, mtime=0) as written:
            stable_tar.write(str(prefix), name_of(platform), cast("IO[bytes]", written))
        os.replace(beside, path)  # noqa: PTH105
    return True


def _version() -> str:
    from importlib.metadata import version

    return version("py-rattler")


def _trim(prefix: Path) -> None:
    for at, folders, files in os.walk(prefix):
        for name in [
            one for one in folders if one in _NOT_NEEDED or one.startswith(("tcl", "tk", "config-"))
        ]:
            shutil.rmtree(Path(at, name))
            folders.remove(name)
        for name in files:
            if name.endswith((".a", ".tcl")):
                Path(at, name).unlink()
    for program in (prefix / "bin").iterdir():
        if not program.name.startswith("python") or program.name.endswith("-config"):
            program.unlink()


def _add_rattler(site: Path, platform: Platform, network: Network, cache: Path) -> None:
    import rattler

    if _fits(platform):
        here = Path(rattler.__file__).parent
        shutil.copytree(here, site / "rattler", ignore=shutil.ignore_patterns("__pycache__"))
        return
    from uv import find_uv_bin

    command = [
        *(find_uv_bin(), "pip", "install", f"py-rattler=={_version()}", "--target", str(site), "--no-deps"),
        *("--python", sys.executable),
        *("--only-binary", ":all:", "--python-platform", platform.uv_platform),
        *("--python-version", _PYTHON, "--no-config", "--no-progress", "--color", "never"),
        *("--cache-dir", str(cache / "uv")),
    ]
    variables = uv_variables(network)
    if network.index_url:
        variables["UV_DEFAULT_INDEX"] = str(network.index_url)
    told = {"UV_INDEX": network.extra_index_urls, "UV_FIND_LINKS": network.find_links}
    variables |= {name: " ".join(map(str, values)) for name, values in told.items() if values}
    done = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise _no_rattler(platform, done.stderr, network)


def _fits(platform: Platform) -> bool:
    """Whether the rattler that is installed here runs there as it is."""
    from importlib.metadata import distribution

    wheel = distribution("py-rattler").read_text("WHEEL") or ""
    tags = [line.partition(": ")[2] for line in wheel.splitlines() if line.startswith("Tag: ")]
    return any(
        tag.split("-")[1] == "abi3" and tag.rpartition("-")[2] in platform.wheel_platforms for tag in tags
    )


def _no_rattler(platform: Platform, said: str, network: Network) -> TargetError:
    from amlexec.packages.urls import hidden

    lines = [line.strip() for line in hidden(said, network.addresses).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("hint:")]
    return TargetError(
        f"there is no py-rattler {_version()} for {platform.subdir} to be had, which installs packages "
        f"there: {lines[-1] if lines else 'uv says no more'}",
        hint="it comes from the index of pip's settings: check the network, PIP_INDEX_URL and HTTPS_PROXY",
    )
