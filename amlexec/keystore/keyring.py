"""The system's keyring, if the extra `keyring` is installed and the system has a secure service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["delete", "get", "put"]

_SERVICE = "amlexec"
"""The service name of amlexec's entries."""


def put(name: str, secret: str) -> str:
    """Store a secret under a name; returns the keyring's name, or "" if it was not stored."""
    backend = _backend()
    if backend is None:
        return ""
    from keyring.errors import KeyringError

    try:
        backend.set_password(_SERVICE, name, secret)
        return str(backend.name) if backend.get_password(_SERVICE, name) == secret else ""
    except KeyringError:
        return ""  # locked: the secret is stored in a file instead


def get(name: str) -> str | None:
    """The secret of a name; None if the keyring does not have it or is locked."""
    backend = _backend()
    if backend is None:
        return None
    from keyring.errors import KeyringError

    try:
        return backend.get_password(_SERVICE, name)
    except KeyringError:
        return None


def delete(name: str, handle: str) -> None:
    """Delete the secret of a name. Idempotent.

    Raises:
        TargetError: the keyring is locked; the message names the secret by `handle`.
    """
    backend = _backend()
    if backend is None:
        return
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        backend.delete_password(_SERVICE, name)
    except PasswordDeleteError:
        pass  # already deleted
    except KeyringError as error:
        raise TargetError(
            f"the system's keyring ({backend.name}) does not delete the secret {handle}: {error}",
            hint="unlock the keyring, and try again",
        ) from None


def _backend() -> KeyringBackend | None:
    try:
        import keyring
    except ImportError:
        return None
    backend = keyring.get_keyring()
    # Backends that https://github.com/jaraco/keyring recommends have 1 or more; a plain file has less.
    return backend if backend.priority >= 1 else None
