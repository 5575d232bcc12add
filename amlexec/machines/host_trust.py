"""Which machine it is, when it is attached: the key that it shows, against those that are known."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError, UsageError
from amlexec.ssh import host_keys, program
from amlexec.ssh.command import trust_command
from amlexec.ssh.errors import HostKeyError, UnreachableError, error_of
from amlexec.ssh.runtime_dir import named, runtime_folder
from amlexec.ssh.waiting import connecting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.ssh.host_keys import HostKey
    from amlexec.ssh.login import Login

__all__ = ["Trust", "establish", "settings", "valid_fingerprint"]

_SSH_TIMEOUT_S = 60.0
"""Seconds until a machine must have answered, jump hosts included."""
_SHOWN = re.compile(
    r"^debug1: Server host (?:key|certificate): (\S+?)(?:-cert-v01@openssh\.com)? (SHA256:[\w+/]+)",
    re.MULTILINE,
)
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
    if fingerprint or login.known_hosts:
        _must_be(login, keys, fingerprint) if fingerprint else _must_be_pinned(login, keys)
        known = "" if fingerprint else "pinned"
        # They speak for the key. OpenSSH is asked only whether it speaks against it.
        with contextlib.suppress(_NotKnownError):
            _vouched(login, keys[0].type, is_vouched=True)
    else:
        keys, known = _of_openssh(login, keys)
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("attach")) as scratch:
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


class _NotKnownError(Exception):
    """OpenSSH's own files know nothing of a machine."""


def _of_openssh(login: Login, keys: list[HostKey]) -> tuple[list[HostKey], str]:
    """The key that OpenSSH vouches for, be it of another type than what was shown first; and by whom."""
    try:
        vouched = _vouched(login)
    except _NotKnownError:
        return keys, ""
    if vouched[1] not in {key.fingerprint for key in keys}:
        keys = host_keys.offered(login, vouched[0])
        if vouched[1] not in {key.fingerprint for key in keys}:
            raise HostKeyError(
                f"it shows one host key now ({keys[0].fingerprint}), and showed another ({vouched[1]})",
                where=login.alias,
                hint="there may be several machines behind that address, or somebody may be impersonating it",
            )
    return [key for key in keys if key.fingerprint == vouched[1]], "OpenSSH"


def _vouched(login: Login, key_type: str = "", *, is_vouched: bool = False) -> tuple[str, str]:
    """Type and fingerprint of the key that OpenSSH's own files know, by itself or by who has signed it.

    With `is_vouched`, somebody else speaks for the key, and only a key that is revoked is refused.

    Raises:
        _NotKnownError: they know nothing of the machine.
        HostKeyError: what they know speaks against it: it has changed, is revoked, or is of another type.
        UnreachableError: contact was lost.
    """
    own = login._replace(secret="", private_key="", known_hosts="")
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("knock")) as scratch:
        log = Path(scratch, "log")
        done = _run(login, [*trust_command(own, str(log), key_type), "--", login.host, "exit"])
        told = log.read_text("utf-8", "replace") if log.exists() else ""
    words = re.sub(r"^debug\d: .*\n?", "", told, flags=re.MULTILINE)
    error = error_of(login, f"{words}\n{done.stderr}")
    # An account may let everybody in.
    if done.code != 0 and isinstance(error, (HostKeyError, UnreachableError)):
        if isinstance(error, UnreachableError):
            raise error
        if error.unknown or (is_vouched and not error.is_revoked):
            if not is_vouched:
                _must_be_new(login)
            raise _NotKnownError
        raise error
    shown = _SHOWN.findall(told)
    if not shown:
        raise UnreachableError("ssh does not say which host key it has trusted", where=login.alias)
    return str(shown[-1][0]), str(shown[-1][1])


def _must_be_new(login: Login) -> None:
    """Raise HostKeyError where OpenSSH's files know who signs a machine's key, and it shows one unsigned.

    `ssh` would ask whether to trust it, as it does for a machine that is new.
    """
    told = settings(login)
    alias, port = told.get("hostkeyalias", ""), told.get("port", "22")
    host = alias or told.get("hostname", login.host)
    name = host if alias or port == "22" else f"[{host}]:{port}"
    for file in (*_files(told, "userknownhostsfile"), *_files(told, "globalknownhostsfile")):
        done = _run(login, ["ssh-keygen", "-F", name, "-f", file])
        if re.search(r"^@cert-authority\s", done.stdout, re.MULTILINE):
            raise HostKeyError(
                f"OpenSSH knows who signs its host key ({file}), and it shows one that they have not signed",
                where=login.alias,
                hint="somebody may be impersonating it: ask who runs it for the fingerprint of the key that "
                "it shows, and attach it with --fingerprint",
                changed=True,
            )


def _files(told: dict[str, str], key: str) -> list[str]:
    """The files of a setting of OpenSSH's, which prints a blank in a name like one between two names."""
    text = told.get(key, "")
    whole = os.path.expanduser(text)  # noqa: PTH111 - strings they stay
    return [whole] if Path(whole).is_file() else [os.path.expanduser(one) for one in text.split()]  # noqa: PTH111


def _run(login: Login, command: list[str]) -> program.Done:
    try:
        with connecting(login.alias):
            return program.run(command, timeout=_SSH_TIMEOUT_S)
    except program.TimedOutError:
        raise UnreachableError(
            f"ssh has come to no end within {_SSH_TIMEOUT_S:g} s", where=login.alias, hint="try again later"
        ) from None


def settings(login: Login) -> dict[str, str]:
    """What OpenSSH's configuration makes of a machine: keys in small letters, as `ssh -G` prints them.

    Raises:
        UnreachableError: a command in that configuration hangs.
        TargetError: there is no `ssh` here, or it takes the configuration for wrong.
    """
    user = ["-l", login.user] if login.user else []
    port = ["-p", str(login.port)] if login.port else []
    done = _run(login, ["ssh", "-G", *user, *port, "--", login.host])
    if done.code != 0:
        said = done.stderr.strip().rpartition("\n")[2] or "it says nothing"
        raise TargetError(f"OpenSSH's configuration can't be read: {said.rstrip('.')}", where=login.alias)
    lines = done.stdout.splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in reversed(lines))}
