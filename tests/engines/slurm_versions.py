"""The versions of Slurm that the suite can be run against; AMLEXEC_TEST_SLURM names another one.

The usual one is Debian 12's. `accounting` is the same with slurmdbd, MariaDB, and accounts that jobs need.
Each has its own image, so that all can be there.
"""

from __future__ import annotations

import os

from . import debian_image, slurm, ssh_host, tools

__all__ = ["SUITES", "VARIABLE", "has_accounting", "is_there", "ready", "reference", "remove", "version"]

VARIABLE = "AMLEXEC_TEST_SLURM"
USUAL = "22.05"
ACCOUNTING = "accounting"
SUITES = {USUAL: "bookworm", "24.11": "trixie", ACCOUNTING: "bookworm"}
"""The releases of Debian that have them."""
_MORE = {ACCOUNTING: ("mariadb-server", "slurmdbd")}


def version() -> str:
    """The version of this session. Raises MissingError if it is none that is known."""
    found = os.environ.get(VARIABLE) or USUAL
    if found not in SUITES:
        raise tools.MissingError(f"{VARIABLE} is {found!r}; expected {' or '.join(SUITES)}")
    return found


def has_accounting() -> bool:
    """Whether the clusters of this session keep accounts."""
    return version() == ACCOUNTING


def reference() -> str:
    """The name of the image of a node."""
    return slurm.REFERENCE if version() == USUAL else f"amlexec-test/slurm-{version()}:1"


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    if version() == USUAL:
        return slurm.is_there()
    return debian_image.is_there(reference(), _recipe())


def ready() -> None:
    """Make the image. Raises MissingError, ToolError."""
    if version() == USUAL:
        slurm.ready()
        return
    if not ssh_host.is_there():
        raise tools.MissingError("no Slurm: a machine to log in to is not there either")
    packages = (*slurm.PACKAGES, *_MORE.get(version(), ()))
    command = ssh_host.with_packages(packages, SUITES[version()])
    debian_image.make(reference(), _recipe(), f"a machine with Slurm {version()}", command)


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    if version() == USUAL:
        slurm.remove()
        return
    debian_image.remove(reference())


def _recipe() -> str:
    return debian_image.recipe(__file__, slurm.__file__, ssh_host.__file__)
