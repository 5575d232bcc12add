"""Running the tools that make the parts ready: their last lines when they fail, and Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MissingError", "ToolError", "download", "fetch", "install", "known", "last_lines", "roomy", "run"]

_LAST = 20
_ATTEMPTS = 3
_ROOM = 3 << 30
# Another apt or dpkg may be at work; a mirror may be slow or refuse once.
_APT = ("-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0")

_ONE_APT = threading.RLock()
"""Parts are made side by side. A second apt-get that reads or fetches package lists would fail."""


class ToolError(Exception):
    """A tool failed: what it was to do, and its last lines."""


class MissingError(Exception):
    """A part can't be had on this machine by us: what is missing, and how to get it."""


def last_lines(text: str) -> str:
    """The last 20 lines, indented."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-_LAST:])


def run(
    arguments: Sequence[str | Path], purpose: str, *, folder: Path | None = None, timeout: float = 900
) -> str:
    """Run a tool to its end and return its output. Raises ToolError where it fails or takes too long."""
    words = [str(word) for word in arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        raise ToolError(
            f"{purpose}: {words[0]} has not ended after {timeout:g} s\n{last_lines(said)}"
        ) from None
    except OSError as error:
        raise ToolError(f"{purpose}: {words[0]} can't be started: {error.strerror}") from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise ToolError(f"{purpose}: `{' '.join(words)}` ended with {done.returncode}\n{last_lines(said)}")
    return said


def install(*packages: str) -> None:
    """Install Debian packages. Raises ToolError."""
    _with_lists(["apt-get", *_APT, "install", "-y", "--no-install-recommends", *packages], packages, None)


def roomy() -> str | None:
    """The folder in memory, if a root file system has room in it; None for the usual one: it is slower.

    A container has 64 MB there.
    """
    memory = Path("/dev/shm")
    return str(memory) if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM else None


def known(*packages: str) -> list[str]:
    """Those of the packages that this Debian has: their names change from one release to the next.

    Raises ToolError.
    """
    with _ONE_APT:
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
            run(["apt-get", *_APT, "update"], "fetching Debian's package lists")
    said = run(["apt-cache", "policy", *packages], "looking which packages Debian has")
    # A name that is only mentioned by others is listed with no candidate.
    found = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))", said, re.MULTILINE)
    return [package for package in packages if package in found]


def download(package: str, folder: Path) -> Path:
    """Fetch a Debian package into a folder, without installing it. Raises ToolError."""
    _with_lists(["apt-get", *_APT, "download", package], [package], folder)
    return next(folder.glob(f"{package}_*.deb"))


def fetch(folder: Path, *packages: str) -> None:
    """Fetch Debian packages, and those that they need and this machine lacks, into a folder: none is
    installed. The folder has to have a folder `partial`. Raises ToolError.
    """
    options = ["-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1"]
    options += ["--download-only", "--no-install-recommends", "-y", "install"]
    # What is installed already would not be fetched, and so may well be named.
    _with_lists(["apt-get", *_APT, *options, *packages], packages, None)


def _with_lists(arguments: list[str], packages: Sequence[str], folder: Path | None) -> None:
    """Run apt-get with the package lists that are there, and where that fails, with fresh ones."""
    purpose = f"getting {' '.join(packages)} from Debian"
    with _ONE_APT:
        _apt(arguments, purpose, folder)


def _apt(arguments: list[str], purpose: str, folder: Path | None) -> None:
    if any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        try:
            run(arguments, purpose, folder=folder)
        except ToolError:
            pass  # lists older than the archive are the usual reason; the failure to tell is the last below
        else:
            return
    for attempt in range(_ATTEMPTS):
        try:
            run(["apt-get", *_APT, "update"], "fetching Debian's package lists")
            run(arguments, purpose, folder=folder)
        except ToolError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(2.0 * (attempt + 1))
        else:
            return
