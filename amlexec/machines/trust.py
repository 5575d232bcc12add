"""Which machine it is, when it is attached: the key that it shows, against those that are known."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError
from amlexec.ssh import host_keys
from amlexec.ssh.command import no_ssh, ssh_command
from amlexec.ssh.private import runtime_folder
from amlexec.ssh.words import HostKeyError, UnreachableError, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.ssh.host_keys import HostKey
    from amlexec.ssh.login import Login

__all__ = ["Trust", "establish", "settings", "valid_fingerprint"]

_PATIENCE = 60.0
"""Seconds until a machine must have answered, jump hosts included."""
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class Trust(NamedTuple):
    """What is known of a machine's key, by which it may be logged in to."""

    login: Login
    """One that insists on the key that was shown, on a connection of its own."""
    key: HostKey
    known: str
    """`pinned` before, known to `OpenSSH`, or "": nobody has vouched for it."""


def valid_fingerprint(text: str) -> str:
    """A fingerprint as `ssh-keygen -l` prints it; `SHA256:` may be missing.

    Raises:
        UsageError: it is none.
    """
    full = text.strip().rstrip("=")
    full = full if full.startswith("SHA256:") else f"SHA256:{full}"
    if not _FINGERPRINT.fullmatch(full):
        raise UsageError(
            f"{text!r} is no SHA256 fingerprint of a key",
            hint="on the machine, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it",
        )
    return full


@contextlib.contextmanager
def establish(login: Login, fingerprint: str = "") -> Iterator[Trust]:
    """Look which key a machine shows, and whether it may be trusted; `fingerprint` says which it must be.

    A key that is pinned or that OpenSSH knows must be the one that is shown, unless `fingerprint` vouches
    for that. A machine that nobody knows yet is trusted as it shows itself: the caller shows the fingerprint.

    Raises:
        HostKeyError: it is another machine than the one that is known, or than the one that is meant.
        UnreachableError: there is no way to it.
    """
    keys = host_keys.offered(login)
    if fingerprint:
        _must_be(login, keys, fingerprint)
        known = ""
    elif login.known_hosts:
        _must_be_pinned(login, keys)
        known = "pinned"
    else:
        known = "OpenSSH" if _knows(login) else ""
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix="attach-") as scratch:
        # A file of its own makes a connection of its own: one that stands already would prove nothing.
        file = Path(scratch, "known_hosts")
        file.write_text("".join(f"{login.address} {key.line}\n" for key in keys), "utf-8")
        yield Trust(login._replace(known_hosts=str(file)), keys[0], known)


def _must_be(login: Login, keys: list[HostKey], fingerprint: str) -> None:
    shown = tuple(key.fingerprint for key in keys)
    if fingerprint not in shown:
        raise HostKeyError(
            f"its host key is {shown[0]} ({keys[0].type}), and --fingerprint says {fingerprint}",
            where=login.alias,
            hint="it may be another machine, or the fingerprint of a key of another type: "
            "ask who runs it for the one of that type",
            fingerprints=shown,
        )


def _must_be_pinned(login: Login, keys: list[HostKey]) -> None:
    shown = tuple(key.fingerprint for key in keys)
    lines = Path(login.known_hosts).read_text("utf-8").splitlines()
    pinned = {" ".join(line.split()[1:3]) for line in lines}
    if not any(key.line in pinned for key in keys):
        raise HostKeyError(
            f"its host key has changed (it shows {shown[0]}); it may be another machine in its place",
            where=login.alias,
            hint=f"ask who runs it; if the change is meant, attach it with --fingerprint {shown[0]}",
            fingerprints=shown,
            changed=True,
        )


def _knows(login: Login) -> bool:
    """Whether OpenSSH's own files know the machine, by its key or by who has signed it."""
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix="knock-") as scratch:
        log = Path(scratch, "log")
        ssh, *options = ssh_command(login._replace(secret="", private_key=""), "none", str(log))
        # The first value of an option counts. Nobody logs in.
        command = [ssh, "-o", "PreferredAuthentications=none", *options, "--", login.host, "exit"]
        done = _run(login, command)
        words = log.read_text("utf-8", "replace") if log.exists() else ""
    if done.returncode == 0:  # an account that lets everybody in
        return True
    error = error_of(login, f"{words}\n{done.stderr.decode(errors='replace')}")
    if isinstance(error, UnreachableError) or (isinstance(error, HostKeyError) and error.changed):
        raise error
    return not isinstance(error, HostKeyError)


def _run(login: Login, command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C"},
            timeout=_PATIENCE,
            start_new_session=True,  # or ssh could ask on the terminal
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"ssh has come to no end within {_PATIENCE:g} s", where=login.alias, hint="try again later"
        ) from None
    except OSError as error:
        raise no_ssh(error) from None


def settings(login: Login) -> dict[str, str]:
    """What OpenSSH's configuration makes of a machine: keys in small letters, as `ssh -G` prints them.

    Raises:
        UnreachableError: a command in that configuration hangs.
        TargetError: there is no `ssh` here.
    """
    user = ["-l", login.user] if login.user else []
    done = _run(login, ["ssh", "-G", *user, "--", login.host])
    lines = done.stdout.decode(errors="replace").splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in reversed(lines))}
