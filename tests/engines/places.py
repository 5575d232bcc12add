"""Where the parts are kept, and what is true of this machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ALL", "CHANNEL", "HOW", "REGISTRY", "WHEELS", "can_install", "is_ci", "is_required", "state"]

CHANNEL = "channel"
WHEELS = "wheels"
REGISTRY = "registry"
HOW = "run `doit engines`"
ALL = "all"
"""In AMLEXEC_REQUIRE: no test may be skipped."""


def state() -> Path:
    """The folder of what is kept from one test run to the next: AMLEXEC_TEST_STATE, else beside the code."""
    given = os.environ.get("AMLEXEC_TEST_STATE")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / ".amlexec-test"
    folder = folder.absolute()
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        # It says itself that it is not part of the repository.
        (folder / ".gitignore").write_text("*\n", "utf-8")
    return folder


def is_ci() -> bool:
    """Whether this is continuous integration, where nothing may be missing."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def is_required(part: str) -> bool:
    """Whether a test may not be skipped for want of `part`: in CI, or where AMLEXEC_REQUIRE names it."""
    named = os.environ.get("AMLEXEC_REQUIRE", "").replace(",", " ").split()
    return is_ci() or part in named or ALL in named


def can_install() -> bool:
    """Whether this is Debian or a child of it, and we may install packages here."""
    return Path("/etc/debian_version").exists() and os.geteuid() == 0
