"""Secrets outside the project: a `.compute` file only has a handle, `amlexec:RANDOM`.

Passwords are in the system's keyring if there is one (the extra `keyring`), else in files that only their
owner can read. Private keys are always such files, since OpenSSH reads them itself. AMLEXEC_KEYSTORE names
another folder, which a group may share: everybody who can read it can use its targets.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from amlexec import redaction, temporaries
from amlexec.errors import TargetError
from amlexec.files import sync_folder, write_atomically
from amlexec.keystore import keyring

__all__ = [
    "PARTS",
    "KeyPair",
    "delete",
    "files",
    "folder",
    "get",
    "guard",
    "is_handle",
    "keys_folder",
    "new_handle",
    "own_folder",
    "pinned_hosts",
    "private_key_file",
    "public_key",
    "put_key_pair",
    "put",
    "scratch_name",
    "unusable",
    "write",
]

_HANDLE = re.compile(r"amlexec:([0-9a-f]{32})")
_PASSWORDS, _KEYS, _HOSTS = PARTS = "passwords", "keys", "hosts"


class KeyPair(NamedTuple):
    """A key pair whose private key is in the store."""

    handle: str
    public: str
    """The line for `authorized_keys`."""


def is_handle(text: str) -> bool:
    """Whether `text` is a handle of the key store."""
    return _HANDLE.fullmatch(text) is not None


def new_handle() -> str:
    """A handle that no secret has."""
    return f"amlexec:{os.urandom(16).hex()}"


def put(secret: str, about: str = "", handle: str = "") -> str:
    """Store a password or passphrase, and return its handle: the given one, or a new one.

    Raises:
        TargetError: the store can't be written, or others can read it; the secret has several lines.
    """
    if "\n" in secret or "\0" in secret:
        raise TargetError("a password can't have line ends or NUL characters")
    handle = handle or new_handle()
    name = _name(handle)
    entry = {"about": about, "secret": secret}
    if not _shared() and (keeper := keyring.put(name, secret)):
        entry = {"about": about, "keyring": keeper}
    write(folder() / _PASSWORDS / name, json.dumps(entry).encode())
    return handle


def get(handle: str) -> str:
    """The password or passphrase of a handle.

    Raises:
        TargetError: the secret is missing, others can read it, or the keyring does not return it.
    """
    path = folder() / _PASSWORDS / _name(handle)
    entry = _entry(path, handle)
    if "keyring" not in entry:
        redaction.learn(entry["secret"])
        return entry["secret"]
    secret = keyring.get(path.name)
    if secret is None:
        raise TargetError(
            f"the system's keyring ({entry['keyring']}) does not return the secret {handle}",
            hint="unlock the keyring, or attach the target again",
        )
    redaction.learn(secret)
    return secret


def delete(handle: str) -> None:
    """Delete the secret of a handle. Idempotent.

    Raises:
        TargetError: the store can't be written, or the keyring is locked.
    """
    name = _name(handle)
    try:
        found = [path for path in files(handle) if path.exists()]
        password = next((path.read_bytes() for path in found if path.parent.name == _PASSWORDS), b"")
        # Without a file: the process may have been killed after it gave the keyring the secret.
        if b'"keyring"' in password or not (found or _shared()):
            keyring.delete(name, handle)
        for path in found:
            path.unlink(missing_ok=True)
            # A power loss must not bring it back after its last name has gone.
            sync_folder(path.parent)
    except OSError as error:
        raise unusable(error) from None


def files(handle: str) -> tuple[Path, ...]:
    """Where a secret may be in the store."""
    key = folder() / _KEYS / _name(handle)
    return (folder() / _PASSWORDS / key.name, key, key.with_suffix(".pub"))


def put_key_pair(private: bytes, public: bytes, handle: str = "") -> KeyPair:
    """Store a key pair; its private key never leaves the store. Raises TargetError: it can't be written."""
    handle = handle or new_handle()
    path, line = files(handle)[1:]
    write(path, private)
    write(line, public)
    return KeyPair(handle, public.decode().strip())


def scratch_name() -> str:
    """The beginning of the name of a folder in the store; with the end `.new`, its process is known."""
    return f".{temporaries.owner()}-"


def keys_folder() -> Path:
    """The folder of key pairs, created if missing; `ssh-keygen` may write to it. Raises TargetError."""
    return _made(folder() / _KEYS)


def public_key(handle: str) -> str:
    """The public key of a pair: the line for `authorized_keys`. Raises TargetError."""
    return _read(folder() / _KEYS / f"{_name(handle)}.pub", handle).decode().strip()


def private_key_file(handle: str, scratch: Path) -> Path:
    """A private key file that OpenSSH accepts; `scratch` is a folder that only its owner can enter.

    Raises:
        TargetError: the key is missing, or others can read it.
    """
    path = folder() / _KEYS / _name(handle)
    data = _read(path, handle)
    if not _shared():
        return path
    # OpenSSH refuses a key that the group can read.
    copy = scratch / path.name
    write_atomically(copy, data)
    return copy


def pinned_hosts(address: str) -> Path:
    """The path of the file of pinned host keys for an address; it need not exist."""
    return folder() / _HOSTS / re.sub(r"[^A-Za-z0-9._:\[\]-]", "_", address)


def folder() -> Path:
    """The store's folder."""
    given = os.environ.get("AMLEXEC_KEYSTORE")
    return Path(given).expanduser().absolute() if given else _own()


def _own() -> Path:
    import platformdirs

    return platformdirs.user_data_path("amlexec", appauthor=False) / "keystore"


def own_folder() -> Path:
    """The user's own store, created if missing. Raises TargetError."""
    found = _own()
    try:
        if not found.is_dir():
            found.parent.mkdir(parents=True, exist_ok=True)
            found.mkdir(mode=0o700, exist_ok=True)
            found.chmod(0o700)  # whatever the umask
    except OSError as error:
        raise unusable(error) from None
    return found


def write(path: Path, data: bytes) -> None:
    """Write a file of the store atomically, with the store's permissions. Raises TargetError."""
    _made(path.parent)
    try:
        write_atomically(path, data, mode=0o640 if _shared() else 0o600, exact_mode=True)
    except OSError as error:
        raise unusable(error) from None


def _shared() -> bool:
    return bool(os.environ.get("AMLEXEC_KEYSTORE"))


def _name(handle: str) -> str:
    match = _HANDLE.fullmatch(handle)
    if match is None:
        raise TargetError(f"{handle!r} is not a handle of a secret")
    return match[1]


def _made(path: Path) -> Path:
    """Create a folder of the store with the store's own permissions."""
    # A missing shared store is not created: its file system may not be mounted.
    store = path.parent if _shared() else own_folder()
    try:
        guard(store)
        if not path.is_dir():
            # In a shared store, also with its setgid bit.
            _make(path, stat.S_IMODE(store.stat().st_mode) & 0o2770 if _shared() else 0o700)
        guard(path)
    except OSError as error:
        raise unusable(error) from None
    return path


def _make(path: Path, mode: int) -> None:
    """Make a folder that is never seen with another mode, in which the store would be refused."""
    beside = path.with_name(f"{scratch_name()}{os.urandom(4).hex()}.new")
    beside.mkdir(mode=0o700)
    try:
        beside.chmod(mode)
        beside.rename(path)
    except OSError:
        beside.rmdir()
        if not path.is_dir():  # another process was faster
            raise


def _read(path: Path, handle: str) -> bytes:
    """Read a file of the store, after checking its permissions."""
    try:
        guard(path.parent.parent)
        guard(path.parent)
        with path.open("rb") as file:
            guard(path, os.fstat(file.fileno()))
            return file.read()
    except FileNotFoundError:
        raise TargetError(
            f"the key store has no secret {handle}",
            where=str(folder()),
            hint="attach the target again, or set AMLEXEC_KEYSTORE to the key store that has it",
        ) from None
    except OSError as error:
        raise unusable(error) from None


def _entry(path: Path, handle: str) -> dict[str, str]:
    """The content of a password's file: `about`, and `secret` or `keyring`."""
    try:
        entry = json.loads(_read(path, handle))
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not {"about"} < entry.keys():
        raise TargetError(
            f"the file of the secret {handle} is damaged", where=str(path), hint="attach the target again"
        )
    return entry


def guard(path: Path, found: os.stat_result | None = None) -> None:
    """Refuse a file or folder that others can read or change."""
    found = found or path.stat()
    if _shared():
        wrong = found.st_mode & (0o002 if stat.S_ISDIR(found.st_mode) else 0o007)
        cure = f"chmod {'o-w' if stat.S_ISDIR(found.st_mode) else 'o-rwx'} {path}"
    else:
        wrong = found.st_mode & 0o077 or found.st_uid != os.getuid()
        cure = f"chmod {'700' if stat.S_ISDIR(found.st_mode) else '600'} {path}"
    if wrong:
        raise TargetError(
            "others can read or change the key store",
            where=str(path),
            hint=f"run `{cure}`; change passwords that others may have read",
        )


def unusable(error: OSError) -> TargetError:
    """The error for a store whose files can't be read or written."""
    return TargetError(
        f"the key store can't be used: {error.strerror}",
        where=str(error.filename or folder()),
        hint="get access to this folder, or set AMLEXEC_KEYSTORE to another one",
    )
