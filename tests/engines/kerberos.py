"""An image of a machine to log in to that is a Kerberos server, too: Debian's krb5, and curl.

`tests/support/kerberos.py` starts a YARN cluster on it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from amlexec.docker import images
from amlexec.errors import TargetError

from . import ssh_host, tools
from .choice import machines
from .ssh_host import _mmdebstrap as debian

__all__ = ["REFERENCE", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/kerberos:1"
_LABEL = "amlexec-test.recipe"
_SUITE = "bookworm"
_PACKAGES = ("curl", "krb5-admin-server", "krb5-kdc", "krb5-user")


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    try:
        image = images.inspect(machines(), REFERENCE)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no Kerberos: a machine to log in to is not there either")
    print("making a machine with Kerberos, of Debian's packages")
    with tempfile.TemporaryDirectory(dir=tools.roomy()) as folder:
        archive = Path(folder, "root.tar")
        *command, suite, target = debian(archive, Path(folder), _SUITE)
        more = [f"--include={','.join(_PACKAGES)}"]
        tools.run([*command, *more, suite, target], "making the root file system of a machine with Kerberos")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={_recipe()}"]
        try:
            with archive.open("rb") as file:
                images.import_root(machines(), file, REFERENCE, changes=changes)
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        machines().version()
    except TargetError:
        return
    images.remove(machines(), REFERENCE)


def _recipe() -> str:
    made = Path(__file__).read_bytes() + Path(ssh_host.__file__).read_bytes()
    return hashlib.sha256(made).hexdigest()
