"""The system's keyring, where there is one: the extra `keyring` and a service that keeps secrets secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["delete", "get", "put"]

_SERVICE = "amlexec"
"""What our entries are called there."""


def put(name: str, secret: str) -> str:
    """Keep a secret under a name; what keeps it, or "" where nothing does."""
    backend = _backend()
    if backend is None:
        return ""
    from keyring.errors import KeyringError

    try:
        backend.set_password(_SERVICE, name, secret)
        return str(backend.name) if backend.get_password(_SERVICE, name) == secret else ""
    except KeyringError:
        return ""  # locked, or nobody there to unlock it: the owner's own file has it then


def get(name: str) -> str | None:
    """The secret of a name; None where the keyring does not have it, or does not give it."""
    backend = _backend()
    if backend is None:
        return None
    from keyring.errors import KeyringError

    try:
        return backend.get_password(_SERVICE, name)
    except KeyringError:
        return None


def delete(name: str, handle: str) -> None:
    """Forget the secret of a name. Twice is harmless.

    Raises:
        TargetError: the keyring is locked; `handle` is what the message calls the secret.
    """
    backend = _backend()
    if backend is None:
        return
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        backend.delete_password(_SERVICE, name)
    except PasswordDeleteError:
        pass  # somebody deleted it there
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
    # What https://github.com/jaraco/keyring recommends has 1 or more; a plain file has less.
    return backend if backend.priority >= 1 else None
