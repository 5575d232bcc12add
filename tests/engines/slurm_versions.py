"""The versions of Slurm that the suite can be run against; AMLEXEC_TEST_SLURM names another one.

The usual one is Debian 12's. `accounting` is the same with slurmdbd, MariaDB, and accounts that jobs need.
Each has its own image, so that all can be there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from amlexec.docker import images
from amlexec.errors import TargetError

from . import slurm, ssh_host, tools
from .choice import machines
from .ssh_host import _mmdebstrap as debian

__all__ = ["SUITES", "VARIABLE", "has_accounting", "is_there", "ready", "reference", "remove", "version"]

VARIABLE = "AMLEXEC_TEST_SLURM"
USUAL = "22.05"
ACCOUNTING = "accounting"
SUITES = {USUAL: "bookworm", "24.11": "trixie", ACCOUNTING: "bookworm"}
"""The releases of Debian that have them."""
_MORE = {ACCOUNTING: ("mariadb-server", "slurmdbd")}
_LABEL = "amlexec-test.recipe"


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
    try:
        image = images.inspect(machines(), reference())
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image. Raises MissingError, ToolError."""
    if version() == USUAL:
        slurm.ready()
        return
    if not ssh_host.is_there():
        raise tools.MissingError("no Slurm: a machine to log in to is not there either")
    print(f"making a machine with Slurm {version()}, of Debian's packages")
    with tempfile.TemporaryDirectory(dir=tools.roomy()) as folder:
        archive = Path(folder, "root.tar")
        *command, suite, target = debian(archive, Path(folder), SUITES[version()])
        more = [f"--include={','.join((*slurm._PACKAGES, *_MORE.get(version(), ())))}"]
        tools.run([*command, *more, suite, target], "making the root file system of a Slurm node")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={_recipe()}"]
        try:
            with archive.open("rb") as file:
                images.import_root(machines(), file, reference(), changes=changes)
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    if version() == USUAL:
        slurm.remove()
        return
    try:
        machines().version()
    except TargetError:
        return
    images.remove(machines(), reference())


def _recipe() -> str:
    made = b"".join(Path(str(each.__file__)).read_bytes() for each in (slurm, ssh_host))
    return hashlib.sha256(Path(__file__).read_bytes() + made).hexdigest()
