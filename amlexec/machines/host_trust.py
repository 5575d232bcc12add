"""Host keys at attach: compares the key that a machine shows with the known keys."""

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
"""For a machine to answer, jump hosts included; in seconds."""
_SHOWN = re.compile(
    r"^debug1: Server host (?:key|certificate): (\S+?)(?:-cert-v01@openssh\.com)? (SHA256:[\w+/]+)",
    re.MULTILINE,
)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class Trust(NamedTuple):
    """A trusted host key."""

    login: Login
    """A login that requires this key and uses its own connection."""
    key: HostKey
    known: str
    """Why it is trusted: `pinned` before, known to `OpenSSH`, or "" for a key seen for the first time."""


def valid_fingerprint(text: str) -> str:
    """A fingerprint as `ssh-keygen -l` prints it; `SHA256:` may be missing.

    Raises:
        UsageError: the text is not a fingerprint.
    """
    full = text.strip().rstrip("=")
    full = full if full.startswith("SHA256:") else f"SHA256:{full}"
    if not _FINGERPRINT.fullmatch(full):
        raise UsageError(
            f"{text!r} is not a SHA256 fingerprint",
            hint="on the machine, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it",
        )
    return full


@contextlib.contextmanager
def establish(login: Login, fingerprint: str = "") -> Iterator[Trust]:
    """Get a machine's host key and decide whether to trust it; `fingerprint` is the required one, if any.

    The key must be the pinned one or the one that OpenSSH knows, unless it has the given `fingerprint`. A
    machine without a known key is trusted on first use: the caller prints the fingerprint.

    Raises:
        HostKeyError: the key is not the known or the required one.
        UnreachableError: the machine can't be reached.
    """
    keys = host_keys.offered(login)
    if fingerprint or login.known_hosts:
        _must_be(login, keys, fingerprint) if fingerprint else _must_be_pinned(login, keys)
        known = "" if fingerprint else "pinned"
        # The key is vouched for already. OpenSSH is only asked whether it is revoked.
        with contextlib.suppress(_NotKnownError):
            _vouched(login, keys[0].type, is_vouched=True)
    else:
        keys, known = _of_openssh(login, keys)
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("attach")) as scratch:
        # A new file makes a new connection: an open one would prove nothing.
        file = Path(scratch, "known_hosts")
        file.write_text("".join(f"{login.address} {key.line}\n" for key in keys), "utf-8")
        yield Trust(login._replace(known_hosts=str(file)), keys[0], known)


def _must_be(login: Login, keys: list[HostKey], fingerprint: str) -> None:
    shown = tuple(key.fingerprint for key in keys)
    if fingerprint not in shown:
        raise HostKeyError(
            f"its host key is {shown[0]} ({keys[0].type}), but --fingerprint is {fingerprint}",
            where=login.alias,
            hint="it may be another machine, or the fingerprint of another type of key: "
            "ask the administrator for the fingerprint of this type",
            fingerprints=shown,
        )


def _must_be_pinned(login: Login, keys: list[HostKey]) -> None:
    shown = tuple(key.fingerprint for key in keys)
    lines = Path(login.known_hosts).read_text("utf-8").splitlines()
    pinned = {" ".join(line.split()[1:3]) for line in lines}
    if not any(key.line in pinned for key in keys):
        raise HostKeyError(
            f"its host key has changed (it shows {shown[0]}); somebody may be impersonating it",
            where=login.alias,
            hint="ask the machine's administrator; if the change is intended, attach it with "
            f"--fingerprint {shown[0]}",
            fingerprints=shown,
            changed=True,
        )


class _NotKnownError(Exception):
    """OpenSSH's own files have no key of the machine."""


def _of_openssh(login: Login, keys: list[HostKey]) -> tuple[list[HostKey], str]:
    """The key that OpenSSH's files vouch for, possibly of another type; and "OpenSSH", or "" for none."""
    try:
        vouched = _vouched(login)
    except _NotKnownError:
        return keys, ""
    if vouched[1] not in {key.fingerprint for key in keys}:
        keys = host_keys.offered(login, vouched[0])
        if vouched[1] not in {key.fingerprint for key in keys}:
            raise HostKeyError(
                f"it showed two host keys, first {vouched[1]}, then {keys[0].fingerprint}",
                where=login.alias,
                hint="there may be several machines behind that address, or somebody may be impersonating it",
            )
    return [key for key in keys if key.fingerprint == vouched[1]], "OpenSSH"


def _vouched(login: Login, key_type: str = "", *, is_vouched: bool = False) -> tuple[str, str]:
    """Type and fingerprint of the key that OpenSSH's own files vouch for, directly or by an authority.

    With `is_vouched`, the key is already trusted for another reason, and only a revoked key is refused.

    Raises:
        _NotKnownError: the files have no key of the machine.
        HostKeyError: the key has changed, is revoked, or is of another type.
        UnreachableError: the connection was lost.
    """
    own = login._replace(secret="", private_key="", known_hosts="")
    with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("knock")) as scratch:
        log = Path(scratch, "log")
        done = _run(login, [*trust_command(own, str(log), key_type), "--", login.host, "exit"])
        text = log.read_text("utf-8", "replace") if log.exists() else ""
    words = re.sub(r"^debug\d: .*\n?", "", text, flags=re.MULTILINE)
    error = error_of(login, f"{words}\n{done.stderr}")
    # Exit code 0: the account needs no authentication.
    if done.code != 0 and isinstance(error, (HostKeyError, UnreachableError)):
        if isinstance(error, UnreachableError):
            raise error
        if error.unknown or (is_vouched and not error.is_revoked):
            if not is_vouched:
                _must_be_new(login)
            raise _NotKnownError
        raise error
    shown = _SHOWN.findall(text)
    if not shown:
        raise UnreachableError("ssh did not report which host key it trusted", where=login.alias)
    return str(shown[-1][0]), str(shown[-1][1])


def _must_be_new(login: Login) -> None:
    """Raise HostKeyError if OpenSSH's files have a certificate authority for a machine whose key is unsigned.

    `ssh` would ask whether to trust that key, as for a new machine.
    """
    options = settings(login)
    alias, port = options.get("hostkeyalias", ""), options.get("port", "22")
    host = alias or options.get("hostname", login.host)
    name = host if alias or port == "22" else f"[{host}]:{port}"
    for file in (*_files(options, "userknownhostsfile"), *_files(options, "globalknownhostsfile")):
        done = _run(login, ["ssh-keygen", "-F", name, "-f", file])
        if re.search(r"^@cert-authority\s", done.stdout, re.MULTILINE):
            raise HostKeyError(
                f"its host key must be signed by a certificate authority ({file}), but is not",
                where=login.alias,
                hint="somebody may be impersonating it: ask the administrator for the key's fingerprint, and "
                "attach it with --fingerprint",
                changed=True,
            )


def _files(options: dict[str, str], key: str) -> list[str]:
    """The files in a setting of OpenSSH, which does not quote blanks in names."""
    text = options.get(key, "")
    whole = os.path.expanduser(text)  # noqa: PTH111 - they stay strings
    return [whole] if Path(whole).is_file() else [os.path.expanduser(name) for name in text.split()]  # noqa: PTH111


def _run(login: Login, command: list[str]) -> program.Done:
    try:
        with connecting(login.alias):
            return program.run(command, timeout=_SSH_TIMEOUT_S)
    except program.TimedOutError:
        raise UnreachableError(
            f"ssh has not ended within {_SSH_TIMEOUT_S:g} s", where=login.alias, hint="try again later"
        ) from None


def settings(login: Login) -> dict[str, str]:
    """The options of OpenSSH's configuration for a machine; keys in lower case, as `ssh -G` prints them.

    Raises:
        UnreachableError: a command in that configuration hangs.
        TargetError: `ssh` is not installed, or rejects the configuration.
    """
    user = ["-l", login.user] if login.user else []
    port = ["-p", str(login.port)] if login.port else []
    done = _run(login, ["ssh", "-G", *user, *port, "--", login.host])
    if done.code != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.code}"
        raise TargetError(f"OpenSSH's configuration can't be read: {reason.rstrip('.')}", where=login.alias)
    lines = done.stdout.splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in reversed(lines))}
