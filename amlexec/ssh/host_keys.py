"""Host keys of a machine: the key that it shows, and the keys that were pinned when it was attached."""

from __future__ import annotations

import base64
import binascii
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.keystore import store as keystore
from amlexec.ssh import program
from amlexec.ssh.command import probe_command
from amlexec.ssh.errors import UnreachableError, error_of, revoked
from amlexec.ssh.runtime_dir import named, runtime_folder
from amlexec.ssh.waiting import connecting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.ssh.login import Login

__all__ = ["HostKey", "must_not_be_revoked", "offered", "pin"]

_ANSWER = 30.0
"""Seconds until a machine must have sent its key."""


class HostKey(NamedTuple):
    """A public key of a machine."""

    type: str
    """Such as `ssh-ed25519`."""
    fingerprint: str
    """Such as `SHA256:…`, as `ssh` shows it."""
    line: str
    """Type and key, as they stand in a known_hosts file after the host."""


def offered(login: Login, key_type: str = "") -> list[HostKey]:
    """The host key that the machine shows now, over the same route as a login, with jump hosts.

    With `key_type`, such as `ssh-rsa`, the key of that type. Does not log in.

    Raises:
        UnreachableError: the machine can't be reached.
        HostKeyError: its key is revoked.
        TargetError: `ssh` is not installed on this machine.
    """
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("keys")) as scratch:
        shown, log = Path(scratch, "known_hosts"), Path(scratch, "log")
        try:
            with connecting(login.alias):
                command = probe_command(login, str(shown), str(log), key_type)
                done = program.run([*command, "--", login.host, "exit"], timeout=_ANSWER)
        except program.TimedOutError:
            raise UnreachableError(f"no answer within {_ANSWER:g} s", where=login.alias) from None
        keys = [key for line in _lines(shown) if (key := _key(line))]
        if not keys:
            words = "\n".join([*_lines(log), done.stderr])
            raise error_of(login, words)
    return keys


def pin(login: Login, keys: Sequence[HostKey]) -> Login:
    """Store these keys as the only ones of the machine; returns the login that requires them.

    Raises:
        TargetError: the key store can't be written.
    """
    path = keystore.pinned_hosts(login.address)
    keystore.write(path, "".join(f"{login.address} {key.line}\n" for key in keys).encode())
    return login._replace(known_hosts=str(path))


def must_not_be_revoked(login: Login) -> None:
    """Check whether a pinned key is now marked `@revoked` in OpenSSH's own files.

    A login to a pinned machine reads only the file of pinned keys, which has no such marks.

    Raises:
        HostKeyError: a key is revoked.
    """
    keys = {" ".join(line.split()[1:3]) for line in _lines(Path(login.known_hosts))}
    for path in (Path.home() / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts")):
        for number, line in enumerate(_lines(path), 1):
            words = line.split()
            if words[:1] == ["@revoked"] and " ".join(words[2:4]) in keys:
                raise revoked(login, f"{path}:{number}")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:  # ssh, too, reads what it can
        return []


def _key(line: str) -> HostKey | None:
    """The key in a line of a known_hosts file (hosts, type, base64 key, comment; see sshd(8))."""
    words = line.split()
    if len(words) < 3 or line.startswith(("#", "@")):
        return None
    try:
        digest = hashlib.sha256(base64.b64decode(words[2], validate=True)).digest()
    except binascii.Error:
        return None
    fingerprint = base64.b64encode(digest).decode().rstrip("=")
    return HostKey(words[1], f"SHA256:{fingerprint}", f"{words[1]} {words[2]}")
