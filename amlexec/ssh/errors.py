"""Errors of SSH connections, and the messages of OpenSSH that tell which one it is.

::

    NoContactError
    ├── UnreachableError    no answer, or the connection was lost: a later try may succeed
    ├── HostKeyError        the host key is unknown, has changed or is revoked
    └── LoginError          the machine refused the login
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.errors import NoContactError, UnreachableError

if TYPE_CHECKING:
    from amlexec.ssh.login import Login

__all__ = ["HostKeyError", "LoginError", "UnreachableError", "error_of"]


class HostKeyError(NoContactError):
    """The machine's host key is not known, or is not the known one.

    `fingerprints` are those that it shows, if they are known, such as `SHA256:…`; `changed` says whether
    another key was known; `unknown` whether no key of the machine is known; `is_revoked` whether the key must
    no longer be trusted.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        fingerprints: tuple[str, ...] = (),
        changed: bool = False,
        unknown: bool = False,
        is_revoked: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.fingerprints = fingerprints
        self.changed = changed
        self.unknown = unknown
        self.is_revoked = is_revoked


class LoginError(NoContactError):
    """The machine refused the login. `methods` are the authentication methods that it accepts."""

    def __init__(
        self, message: str, *, hint: str = "", where: str = "", methods: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.methods = methods


_PASSING = (
    (r"Could not resolve hostname (\S+?): (.*)", "the host name {0} can't be resolved ({1})"),
    (r"[Cc]onnect to (?:host|address) \S+ port (\d+): (.*)", "no connection to port {0}: {1}"),
    (r"Connection timed out during banner exchange", "the server on that port does not answer"),
    (r"Connection to \S+ port (\d+) timed out", "port {0} does not answer"),
    (r"Timeout, server \S+ not responding", "the connection was lost: the machine no longer answers"),
    (r"kex_exchange_identification: (.*)", "the connection ended before the SSH handshake: {0}"),
    (r"[Bb]anner exchange: .*: (.*)", "the server on that port does not speak SSH: {0}"),
    (r"Connection (?:closed|reset) by .*", "the machine closed the connection"),
    (r"(?:Broken pipe|Connection reset by peer|client_loop: .*)", "the connection was lost"),
)
"""ssh's messages for an unreachable machine, with LC_ALL=C, and ours for each."""
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed")
_REVOKED = re.compile(
    r"REVOKED HOST KEY DETECTED|was revoked and you have|Host key .* revoked by file|Key is revoked"
)
_UNKNOWN = re.compile(r"No \S+ host key is known for")
_UNSIGNED = re.compile(r"Certificate invalid|Certificate does not|Host certificate")
"""The key has a certificate of a trusted authority that is not valid for this machine, or not now."""
_REFUSED = re.compile(
    r"Host key verification failed|No matching host key fingerprint|in revoked keys file"
    r"|KnownHostsCommand failed"
)
"""The host key is refused for another reason than that it is unknown."""
_CLOSED = re.compile(r"^(?:\S+: )?Connection (?:closed|reset) by ", re.MULTILINE)
_OLD_PASSWORD = re.compile(r"[Pp]assword (?:change required|has expired|expired)|change your password")
_DENIED = re.compile(r"Permission denied \(([^)]*)\)")
_BY_PASSWORD = re.compile(r'Authenticated (?:to .* )?using "(?:password|keyboard-interactive)"')
_PROGRESS = re.compile(r"Authenticated |Transferred: |Bytes per second: ")
_OPEN_KEY = re.compile(r"UNPROTECTED PRIVATE KEY FILE|bad permissions")
_TOO_MANY = re.compile(r"Too many authentication failures")


def error_of(login: Login, words: str, refused: str = "", output: str = "") -> NoContactError:
    """The error that ssh's messages `words` describe; `refused` is a question of ssh that was not answered.

    `output` is what the machine (or a jump host's ssh) printed before the command started.
    """
    printed = [line.strip().rstrip(".") for line in output.splitlines() if line.strip()]
    if printed and _CLOSED.search(words) and not _CLOSED.search(output):
        return LoginError(
            f"the machine closed the connection during the login: {printed[-1]}",
            where=login.alias,
            hint=f"ask the machine's administrator; `{_command(login)}` shows the same message",
        )
    words = f"{words}\n{output}"
    if _OPEN_KEY.search(words):
        return LoginError(
            f"ssh refuses a private key that others can read: {login.private_key}".rstrip(": "),
            where=login.alias,
            hint="run `chmod 600` on it",
        )
    if error := _not_trusted(login, words):
        return error
    if denied := _DENIED.search(words):
        return _denied(login, tuple(denied[1].split(",")), refused)
    if refused and "kex_exchange_identification" in words:
        # The question came before the machine's greeting: a jump host asks. ssh hides its messages.
        return LoginError(
            f"the jump host asks: {refused.rstrip(':')}",
            where=login.alias,
            hint=f"use a key or an agent for the jump host: `{_command(login)}` must work without a question",
        )
    if _TOO_MANY.search(words):
        return LoginError(
            "the server refused the login: too many keys were offered",
            where=login.alias,
            hint="choose one key: set IdentityFile and IdentitiesOnly in ~/.ssh/config, or attach the target "
            "with --private-key-file",
        )
    for pattern, message in _PASSING:
        if found := re.search(pattern, words):
            return UnreachableError(
                message.format(*(group.strip().rstrip(".").lower() for group in found.groups())),
                where=login.alias,
                hint=f"does `{_command(login)}` work?",
            )
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return UnreachableError(
        f"ssh failed: {lines[-1].rstrip('.')}" if lines else "ssh failed without a message",
        where=login.alias,
        hint=f"does `{_command(login)}` work?",
    )


def _not_trusted(login: Login, words: str) -> HostKeyError | None:
    if _REVOKED.search(words):
        found = re.search(r"revoked by file (.*)", words)
        return revoked(login, found[1] if found else "")
    if _CHANGED.search(words):
        return _changed(login, words)
    if _UNKNOWN.search(words) and not _UNSIGNED.search(words):
        return HostKeyError(
            "its host key is not known",
            where=login.alias,
            hint="attach the target again and compare the fingerprint, or log in once with "
            f"`{_command(login)}` and answer its question",
            unknown=True,
        )
    if _REFUSED.search(words):
        lines = [line.strip().rstrip(".") for line in words.splitlines() if line.strip()]
        reasons = (line for line in lines if "verification failed" not in line and line[:1] != "@")
        why = next(reasons, lines[-1])
        return HostKeyError(
            f"ssh does not trust its host key: {why}",
            where=login.alias,
            hint=f"run `{_command(login)}` for details, and ask the machine's administrator for its host key",
        )
    return None


def revoked(login: Login, place: str) -> HostKeyError:
    """The error for a revoked key; `place` is the file that revokes it, or ""."""
    return HostKeyError(
        f"its host key is revoked{f' by {place.rstrip()}' if place else ''}: somebody else may have it",
        where=login.alias,
        hint="ask the machine's administrator for its new host key; no option accepts a revoked key",
        is_revoked=True,
    )


def _changed(login: Login, words: str) -> HostKeyError:
    fingerprints = tuple(re.findall(r"\bSHA256:[A-Za-z0-9+/]{43}", words))[:1]
    shown = f" (it shows {fingerprints[0]})" if fingerprints else ""
    place = re.search(r"Offending \S+ key in (.*:\d+)", words)
    return HostKeyError(
        f"its host key has changed{shown}; somebody may be impersonating it",
        where=login.alias,
        hint="ask the machine's administrator; if the change is intended, "
        + (
            "attach the target again"
            if login.known_hosts
            else f"remove {place[1] if place else 'the old key'}"
        ),
        fingerprints=fingerprints,
        changed=True,
    )


def _denied(login: Login, methods: tuple[str, ...], refused: str) -> LoginError:
    user = f"user {login.user}" if login.user else "the user"
    offered = "the password" if login.secret and not login.private_key else "the key"
    if refused and offered == "the password":
        message = f"the machine asks {user} for more than a password: {refused.rstrip(':')}"
    elif login.secret or login.private_key:
        message = f"{offered} of {user} was not accepted"
    else:
        message = f"none of the available keys of {user} was accepted"
    return LoginError(
        f"{message}; the machine accepts {', '.join(methods)}",
        where=login.alias,
        hint=_cure(login, methods),
        methods=methods,
    )


def _cure(login: Login, methods: tuple[str, ...]) -> str:
    if login.secret and not login.private_key:
        return "attach the target again with the right password"
    if login.private_key:
        return f"its public key must be in ~/.ssh/authorized_keys on the machine; try `{_command(login)}`"
    if "publickey" in methods:
        return f"try `{_command(login)}`; add a key to the agent, or attach the target with -k or -w"
    return "attach the target with a password"


def _command(login: Login) -> str:
    user = f"{login.user}@" if login.user else ""
    return f"ssh {f'-p {login.port} ' if login.port else ''}{user}{login.host}"


def password_accepted(words: str) -> bool:
    """Whether the login used a password, as ssh logs it with LogLevel VERBOSE."""
    return _BY_PASSWORD.search(words) is not None


def without_progress(words: str) -> str:
    """ssh's messages without those about progress, which LogLevel VERBOSE adds."""
    return "".join(line for line in words.splitlines(keepends=True) if not _PROGRESS.match(line))


def unproven(login: Login) -> LoginError:
    """The error for a password that was given but not used for the login."""
    user = f"user {login.user}" if login.user else "the user"
    return LoginError(
        f"{user} was logged in with a key, not with the password: it is wrong or was not asked for",
        where=login.alias,
        hint="attach the target without a password, or with the right one",
    )


def eaten_input(login: Login) -> LoginError:
    """The error for a start-up file that has read the script from standard input."""
    return LoginError(
        "a start-up file of the login shell reads standard input, which is for the command alone",
        where=login.alias,
        hint="make it read only in a terminal: put `[ -t 0 ] || return` before that line, in ~/.bashrc "
        "or a similar file on that machine",
    )


def refused_shell(login: Login, status: int, output: bytes) -> LoginError:
    """The error for a login that succeeded, but whose shell did not run the script."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    if _OLD_PASSWORD.search("\n".join(lines)):
        return LoginError(
            f"the password of {login.user or 'the user'} must be changed first: {lines[-1].rstrip('.')}",
            where=login.alias,
            hint=f"log in with `{_command(login)}` and change it; then attach the targets with it again",
        )
    last = f": {lines[-1].rstrip('.')}" if lines else ""
    return LoginError(
        f"the login ended with exit code {status} before a command was run{last}",
        where=login.alias,
        hint=f"run `{_command(login)} exec /bin/sh -c true` for details: the login shell or one of its "
        "start-up files may end it",
    )
