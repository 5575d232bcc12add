"""What can go wrong between two machines, and how OpenSSH says it.

::

    NoContactError
    ├── UnreachableError    no answer, or contact lost: it may pass
    ├── HostKeyError        the machine is not known, or not the one that was known
    └── LoginError          the machine is there and does not let us in
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.errors import NoContactError, UnreachableError

if TYPE_CHECKING:
    from amlexec.ssh.login import Login

__all__ = ["HostKeyError", "LoginError", "UnreachableError", "error_of"]


class HostKeyError(NoContactError):
    """The key that the machine shows is not known, or is not the one that is known.

    `fingerprints` are those it shows, as far as they are known, such as `SHA256:…`; `changed` says whether
    another key was known; `unknown` whether nothing is known of the machine, for it or against it;
    `is_revoked` whether the key must not be trusted any more, whoever vouches for it.
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
    """The machine is there and does not let us in. `methods` are the ways in that it would take."""

    def __init__(
        self, message: str, *, hint: str = "", where: str = "", methods: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.methods = methods


_PASSING = (
    (r"Could not resolve hostname (\S+?): (.*)", "there is no machine of the name {0} ({1})"),
    (r"[Cc]onnect to (?:host|address) \S+ port (\d+): (.*)", "no connection to port {0}: {1}"),
    (r"Connection timed out during banner exchange", "what listens there does not answer"),
    (r"Connection to \S+ port (\d+) timed out", "port {0} does not answer"),
    (r"Timeout, server \S+ not responding", "contact is lost: it does not answer any more"),
    (r"kex_exchange_identification: (.*)", "the connection ended before a word was said: {0}"),
    (r"[Bb]anner exchange: .*: (.*)", "what listens there does not speak SSH: {0}"),
    (r"Connection (?:closed|reset) by .*", "it ended the connection"),
    (r"(?:Broken pipe|Connection reset by peer|client_loop: .*)", "contact is lost"),
)
"""How ssh says that there is no way to the machine; the messages are those of LC_ALL=C."""
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed")
_REVOKED = re.compile(
    r"REVOKED HOST KEY DETECTED|was revoked and you have|Host key .* revoked by file|Key is revoked"
)
_UNKNOWN = re.compile(r"No \S+ host key is known for")
_UNSIGNED = re.compile(r"Certificate invalid|Certificate does not|Host certificate")
"""The key is signed by somebody who is trusted, and the signature is not good for this machine, or now."""
_REFUSED = re.compile(
    r"Host key verification failed|No matching host key fingerprint|in revoked keys file"
    r"|KnownHostsCommand failed"
)
"""The machine is not trusted, and not because nothing is known of it."""
_CLOSED = re.compile(r"^(?:\S+: )?Connection (?:closed|reset) by ", re.MULTILINE)
_OLD_PASSWORD = re.compile(r"[Pp]assword (?:change required|has expired|expired)|change your password")
_DENIED = re.compile(r"Permission denied \(([^)]*)\)")
_BY_PASSWORD = re.compile(r'Authenticated (?:to .* )?using "(?:password|keyboard-interactive)"')
_PROGRESS = re.compile(r"Authenticated |Transferred: |Bytes per second: ")
_OPEN_KEY = re.compile(r"UNPROTECTED PRIVATE KEY FILE|bad permissions")
_TOO_MANY = re.compile(r"Too many authentication failures")


def error_of(login: Login, words: str, refused: str = "", said: str = "") -> NoContactError:
    """The error that ssh's own words are about; `refused` is a question of it that was not answered.

    `said` is what came from the machine (or from a jump host's ssh) before a command could run there.
    """
    told = [line.strip().rstrip(".") for line in said.splitlines() if line.strip()]
    if told and _CLOSED.search(words) and not _CLOSED.search(said):
        return LoginError(
            f"it ended the connection during the login, and said: {told[-1]}",
            where=login.alias,
            hint=f"ask who runs the machine; `{_command(login)}` says the same",
        )
    words = f"{words}\n{said}"
    if _OPEN_KEY.search(words):
        return LoginError(
            f"ssh takes no private key that others can read: {login.private_key}".rstrip(": "),
            where=login.alias,
            hint="run `chmod 600` on it",
        )
    if error := _not_trusted(login, words):
        return error
    if denied := _DENIED.search(words):
        return _denied(login, tuple(denied[1].split(",")), refused)
    if refused and "kex_exchange_identification" in words:
        # Before the machine itself has said a word: a jump host. Its own words are kept from us by ssh.
        return LoginError(
            f"the jump host on the way asks: {refused.rstrip(':')}",
            where=login.alias,
            hint=f"does `{_command(login)}` work without a question? A key or an agent has to open the way",
        )
    if _TOO_MANY.search(words):
        return LoginError(
            "it lets nobody in who offers so many keys",
            where=login.alias,
            hint="name the key for it: IdentityFile and IdentitiesOnly in ~/.ssh/config, or attach it with "
            "--private-key-file",
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
        f"ssh ended without an answer: {lines[-1].rstrip('.')}"
        if lines
        else "ssh ended without a word before an answer came",
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
            hint="compare its fingerprint and attach the target anew, or log in once with "
            f"`{_command(login)}` and answer its question",
            unknown=True,
        )
    if _REFUSED.search(words):
        said = [line.strip().rstrip(".") for line in words.splitlines() if line.strip()]
        why = next((line for line in said if "verification failed" not in line and line[:1] != "@"), said[-1])
        return HostKeyError(
            f"ssh does not trust its host key: {why}",
            where=login.alias,
            hint=f"what does `{_command(login)}` say? Ask who runs the machine which host key it has",
        )
    return None


def revoked(login: Login, place: str) -> HostKeyError:
    """The error where the key must not be trusted any more; `place` is the file that says so, or ""."""
    return HostKeyError(
        f"its host key is revoked{f' by {place.rstrip()}' if place else ''}: somebody else may have it",
        where=login.alias,
        hint="ask who runs the machine for its new host key; no option lets a revoked one in",
        is_revoked=True,
    )


def _changed(login: Login, words: str) -> HostKeyError:
    fingerprints = tuple(re.findall(r"\bSHA256:[A-Za-z0-9+/]{43}", words))[:1]
    shown = f" (it shows {fingerprints[0]})" if fingerprints else ""
    place = re.search(r"Offending \S+ key in (.*:\d+)", words)
    return HostKeyError(
        f"its host key has changed{shown}; it may be another machine that says to be this one",
        where=login.alias,
        hint="ask who runs it; if the change is meant, "
        + (
            "attach the target anew"
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
        message = f"it asks {user} for more than a password: {refused.rstrip(':')}"
    elif login.secret or login.private_key:
        message = f"{offered} of {user} was not accepted"
    else:
        message = f"{user} is not let in with the keys that there are"
    return LoginError(
        f"{message}; it takes {', '.join(methods)}",
        where=login.alias,
        hint=_cure(login, methods),
        methods=methods,
    )


def _cure(login: Login, methods: tuple[str, ...]) -> str:
    if login.secret and not login.private_key:
        return "attach the target anew with the right password"
    if login.private_key:
        return f"is its public half in ~/.ssh/authorized_keys there? Does `{_command(login)}` work?"
    if "publickey" in methods:
        return f"does `{_command(login)}` work? Put a key into the agent, or attach the target with -k or -w"
    return "attach the target with a password"


def _command(login: Login) -> str:
    user = f"{login.user}@" if login.user else ""
    return f"ssh {f'-p {login.port} ' if login.port else ''}{user}{login.host}"


def password_accepted(words: str) -> bool:
    """Whether a password was (part of) what let us in, as ssh says it with LogLevel VERBOSE."""
    return _BY_PASSWORD.search(words) is not None


def without_progress(words: str) -> str:
    """The words that tell of errors: LogLevel VERBOSE tells of what goes well too."""
    return "".join(line for line in words.splitlines(keepends=True) if not _PROGRESS.match(line))


def unproven(login: Login) -> LoginError:
    """The error where a password was given, and something else has let us in."""
    user = f"user {login.user}" if login.user else "the user"
    return LoginError(
        f"a key has let {user} in, and not the password, which is wrong or was not asked for",
        where=login.alias,
        hint="attach it without a password, or with the right one",
    )


def eaten_input(login: Login) -> LoginError:
    """The error where a start-up file has read the script that was to be run."""
    return LoginError(
        "a start-up file of the login shell reads the standard input, which is not for it",
        where=login.alias,
        hint="let it do so only in a terminal: put `[ -t 0 ] || return` before that line, in ~/.bashrc "
        "or the like on that machine",
    )


def refused_shell(login: Login, status: int, said: bytes) -> LoginError:
    """The error where the login went well, and no script was run."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    if _OLD_PASSWORD.search("\n".join(lines)):
        return LoginError(
            f"the password of {login.user or 'the user'} has to be changed first: {lines[-1].rstrip('.')}",
            where=login.alias,
            hint=f"log in with `{_command(login)}` and change it; then attach anew what has the old one",
        )
    last = f": {lines[-1].rstrip('.')}" if lines else ""
    return LoginError(
        f"the login ends with {status} before a command is run{last}",
        where=login.alias,
        hint=f"what does `{_command(login)} exec /bin/sh -c true` say? Does the login shell or one "
        "of its start-up files end it?",
    )
