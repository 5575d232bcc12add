"""An image of a machine to log in to that is a Kerberos server, too: Debian's krb5, and curl.

`tests/support/kerberos.py` starts a YARN cluster on it.
"""

from __future__ import annotations

from . import debian_image, ssh_host, tools

__all__ = ["REFERENCE", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/kerberos:1"
_PACKAGES = ("curl", "krb5-admin-server", "krb5-kdc", "krb5-user")


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    return debian_image.is_there(REFERENCE, _recipe())


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no Kerberos: a machine to log in to is not there either")
    debian_image.make(REFERENCE, _recipe(), "a machine with Kerberos", ssh_host.with_packages(_PACKAGES))


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    debian_image.remove(REFERENCE)


def _recipe() -> str:
    return debian_image.recipe(__file__, ssh_host.__file__)
