"""The installer: a Python with rattler that is sent to a machine once, and fetches packages there.

It is relocatable. Its name depends only on what it can do, so a new build of Python in a channel does not
cause another transfer.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from amlexec import locks, private_folders
from amlexec.dependencies import Line
from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages import conda_errors, conda_install, conda_solve, scratch, stable_tar
from amlexec.packages.network import uv_variables

if TYPE_CHECKING:
    from amlexec.dependencies import CondaDependencies
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform
    from amlexec.values import Project

__all__ = ["archive", "name_of"]

_FORM = 1
"""Raise it when the layout of the installer, or what is left out of it, changes."""
_PYTHON = "3.10"
"""The oldest Python that rattler supports."""
_NOT_NEEDED = frozenset(
    [
        *("conda-meta", "doc", "etc", "include", "man", "sbin", "share", "ssl", "cmake", "pkgconfig"),
        *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo"),
    ]
)
"""Folders of a Python, at any depth, that are not needed to install packages."""
_LEVEL = 4
_LOCK_TIMEOUT_S = 1800.0
"""How long to wait for another process that makes the installer."""


def name_of(platform: Platform) -> str:
    """The installer's name for that platform: the name of the only folder in its archive."""
    return f"rattler-{_version()}-{platform.subdir}-{_FORM}"


def archive(
    project: Project, dependencies: CondaDependencies, platform: Platform, network: Network, cache: Path
) -> Path | None:
    """The installer for a platform, as a `.tar.gz` in the folder `cache`; made now if it is missing.

    Its Python is `NAME/bin/python`. Returns None if no channel of `dependencies` has a Python that rattler
    supports.

    Raises:
        TargetError: a channel or an index can't be reached, or rattler is not available for that platform.
    """
    path = cache / "installers" / f"{name_of(platform)}.tar.gz"
    if _is_whole(path):
        return path
    try:
        private_folders.make(path.parent)
    except OSError as error:
        raise conda_errors.no_cache(path.parent, error) from error
    with locks.exclusive(f"{path}.lock", _LOCK_TIMEOUT_S):
        return (
            path if _is_whole(path) or _make(path, project, dependencies, platform, network, cache) else None
        )


def _is_whole(path: Path) -> bool:
    """Whether the archive exists and is intact: gzip stores a checksum at its end."""
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
    """Make the archive; returns False if no channel has a suitable Python."""
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
            name for name in folders if name in _NOT_NEEDED or name.startswith(("tcl", "tk", "config-"))
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
        _compile(site)
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
    more = {"UV_INDEX": network.extra_index_urls, "UV_FIND_LINKS": network.find_links}
    variables |= {name: " ".join(map(str, values)) for name, values in more.items() if values}
    done = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise _no_rattler(platform, done.stderr, network)


def _compile(site: Path) -> None:
    """Compile rattler's modules: the installer keeps nothing that it compiles when it starts.

    Its Python is the one that can, if it runs here. The times of the files do not survive the archive.
    """
    python, unchecked = site.parents[2] / "bin/python", ("--invalidation-mode", "unchecked-hash")
    with contextlib.suppress(OSError):
        subprocess.run(
            [python, "-I", "-m", "compileall", "-q", *unchecked, "rattler"],
            cwd=site,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )


def _fits(platform: Platform) -> bool:
    """Whether the rattler of this Python also runs on that platform."""
    from importlib.metadata import distribution

    wheel = distribution("py-rattler").read_text("WHEEL") or ""
    tags = [line.partition(": ")[2] for line in wheel.splitlines() if line.startswith("Tag: ")]
    return any(
        tag.split("-")[1] == "abi3" and tag.rpartition("-")[2] in platform.wheel_platforms for tag in tags
    )


def _no_rattler(platform: Platform, output: str, network: Network) -> TargetError:
    from amlexec.packages.urls import hidden

    lines = [line.strip() for line in hidden(output, network.addresses).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("hint:")]
    return TargetError(
        f"py-rattler {_version()} is not available for {platform.subdir}; it is needed to install packages: "
        f"{lines[-1] if lines else 'uv gives no reason'}",
        hint="it comes from the index of pip's settings: check the network, PIP_INDEX_URL and HTTPS_PROXY",
    )
