"""The first login to a machine, and the credentials that worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.machines import check
from amlexec.ssh.connection import LoginError, SSHConnection, home_of
from amlexec.ssh.login import PlainPassword

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.machines.check_results import Finding
    from amlexec.ssh.login import Login
    from amlexec.values import ComputeTarget

__all__ = ["Credentials", "Entered", "enter", "install"]

_TRIES = 3
"""How often a password is asked for, as by ssh."""
_PASSWORDS = frozenset({"password", "keyboard-interactive"})
_INSTALL = """\
umask 077
cd "$HOME" && mkdir -p .ssh && cd .ssh && touch authorized_keys || exit
grep -qxF "$1" authorized_keys && exit
# The last line may have no newline.
[ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys || exit
printf '%s\\n' "$1" >>authorized_keys || exit
# With SELinux, sshd only reads files with the right label.
! command -v restorecon >/dev/null 2>&1 || restorecon -F . authorized_keys || :
"""
_UNINSTALL = """\
umask 077
cd "$HOME/.ssh" || exit
grep -vxF "$1" authorized_keys >.authorized_keys.amlexec
[ "$?" -le 1 ] && cat .authorized_keys.amlexec >authorized_keys
rm -f .authorized_keys.amlexec
"""


class Credentials(NamedTuple):
    """The credentials that the user passed. Without any, OpenSSH's own configuration is used."""

    password: str = ""
    """Of the user; with a key file, its passphrase."""
    key_file: str = ""
    """Path of a private key; "" for none."""

    def __repr__(self) -> str:
        """Hides the password."""
        return f"Credentials(password={'***' if self.password else ''!r}, key_file={self.key_file!r})"

    def of(self, login: Login) -> Login:
        """The login with these credentials."""
        secret = PlainPassword(self.password) if self.password else ""
        return login._replace(secret=secret, private_key=self.key_file)


class Entered(NamedTuple):
    """A successful login."""

    credentials: Credentials
    """The credentials that worked: those that were passed, or a password that was asked for."""
    findings: tuple[Finding, ...]


def enter(
    login: Login, target: ComputeTarget, given: Credentials, ask_password: Callable[[], str]
) -> Entered:
    """Log in and check the machine.

    Without credentials, and if the machine accepts passwords, `ask_password` is called; it returns "" without
    a terminal.

    Raises:
        LoginError: the machine refused the login.
        UnreachableError: the connection was lost.
    """
    try:
        return Entered(given, _check(given.of(login), target))
    except LoginError as error:
        if given != Credentials() or _PASSWORDS.isdisjoint(error.methods):
            raise
        refused = error
    for _ in range(_TRIES):
        password = ask_password()
        if not password:
            raise LoginError(
                refused.message,
                where=refused.where,
                hint="pass the password with --password-stdin or -w, or attach the target with -k",
                methods=refused.methods,
            )
        try:
            asked = Credentials(password)
            return Entered(asked, _check(asked.of(login), target))
        except LoginError as error:
            refused = error
    raise refused


def _check(login: Login, target: ComputeTarget) -> tuple[Finding, ...]:
    with SSHConnection(login, anew=True, home=home_of(target)) as connection:
        facts = check.ask(connection, target)
        return tuple(check.findings_of(connection, target, facts))


def install(login: Login, given: Credentials, handle: str, public: str) -> None:
    """Add a public key to `authorized_keys`, and check that it works; otherwise remove it again.

    Raises:
        LoginError: the machine refused the login with `given`, or with the new key.
        TargetError: the key can't be written to the machine.
    """
    with SSHConnection(given.of(login)) as connection:
        answer = connection.run(_INSTALL, public)
        if answer.exit_code != 0:
            last = answer.stderr.strip().rpartition("\n")[2]
            raise TargetError(
                f"the public key can't be added to ~/.ssh/authorized_keys: {last}", where=login.alias
            )
        try:
            with SSHConnection(login._replace(secret="", private_key=handle)) as proof:
                proof.run(":")
        except LoginError as error:
            connection.run(_UNINSTALL, public)
            raise LoginError(
                "the machine does not accept the key in ~/.ssh/authorized_keys",
                where=login.alias,
                hint="ask the administrator which keys sshd accepts, or attach the target with a password",
                methods=error.methods,
            ) from error
