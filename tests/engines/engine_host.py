"""An image of a machine to log in to that has a Docker engine of its own.

`tests/support/engine_hosts.py` starts machines of it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from amlexec.docker import client, images
from amlexec.errors import TargetError

from . import ssh_host, tools
from .ssh_host import _mmdebstrap as debian

__all__ = ["REFERENCE", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/engine-host:1"
_LABEL = "amlexec-test.recipe"
_PACKAGES = ("docker.io", "iptables")


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    try:
        image = images.inspect(client.from_environment(), REFERENCE)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no machine with an engine: one without is not there either")
    print("making a machine with a Docker engine, of Debian's packages")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        archive = Path(folder, "root.tar")
        *command, suite, target = debian(archive, Path(folder))
        more = [f"--include={','.join(_PACKAGES)}"]
        # The quiet user may use the engine, the others may not.
        more.append(f'--customize-hook=chroot "$1" usermod -aG docker {ssh_host.QUIET}')
        tools.run([*command, *more, suite, target], "making the root file system of a machine")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={_recipe()}"]
        try:
            with archive.open("rb") as file:
                images.import_root(client.from_environment(), file, REFERENCE, changes=changes)
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        docker = client.from_environment()
        docker.version()
    except TargetError:
        return
    images.remove(docker, REFERENCE)


def _recipe() -> str:
    parts = (Path(__file__).read_bytes(), Path(ssh_host.__file__).read_bytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()
