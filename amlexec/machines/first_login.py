"""The first login to a machine: with what we have, what it takes, and what it then lets us in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.machines import check
from amlexec.ssh.connection import LoginError, SSHConnection
from amlexec.ssh.login import PlainPassword

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.machines.check_results import Finding
    from amlexec.model import ComputeTarget
    from amlexec.ssh.login import Login

__all__ = ["Credentials", "Entered", "enter", "install"]

_TRIES = 3
"""Passwords that may be mistyped, as with ssh."""
_PASSWORDS = frozenset({"password", "keyboard-interactive"})
_INSTALL = """\
umask 077
cd "$HOME" && mkdir -p .ssh && cd .ssh && touch authorized_keys || exit
grep -qxF "$1" authorized_keys && exit
# The last line may lack its end.
[ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys || exit
printf '%s\\n' "$1" >>authorized_keys || exit
# Where there is SELinux, sshd reads only files with the right label.
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
    """What a user gave us to log in with. With nothing, OpenSSH has to know."""

    password: str = ""
    """Of the user; with a key file, the passphrase of that."""
    key_file: str = ""
    """As ssh can open it; "" for none."""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Credentials(password={'***' if self.password else ''!r}, key_file={self.key_file!r})"

    def of(self, login: Login) -> Login:
        """The login with these."""
        secret = PlainPassword(self.password) if self.password else ""
        return login._replace(secret=secret, private_key=self.key_file)


class Entered(NamedTuple):
    """That a machine has let us in."""

    credentials: Credentials
    """With which: those that were given, or a password that was asked for."""
    findings: tuple[Finding, ...]


def enter(
    login: Login, target: ComputeTarget, given: Credentials, ask_password: Callable[[], str]
) -> Entered:
    """Log in and look round.

    Where nothing is given and the machine takes a password, `ask_password` is called; it returns "" where
    nobody can be asked.

    Raises:
        LoginError: the machine does not let us in.
        UnreachableError: contact was lost.
    """
    try:
        return Entered(given, _look_round(given.of(login), target))
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
                hint="give the password with --password-stdin or -w, or attach it with -k",
                methods=refused.methods,
            )
        try:
            asked = Credentials(password)
            return Entered(asked, _look_round(asked.of(login), target))
        except LoginError as error:
            refused = error
    raise refused


def _look_round(login: Login, target: ComputeTarget) -> tuple[Finding, ...]:
    with SSHConnection(login, anew=True) as connection:
        facts = check.ask(connection, target)
        return tuple(check.findings_of(connection, target, facts))


def install(login: Login, given: Credentials, handle: str, public: str) -> None:
    """Put a public key where sshd looks for it, and prove that it lets us in; otherwise take it away again.

    Raises:
        LoginError: the machine lets us in neither with `given`, nor with the key.
        TargetError: the key can't be written there.
    """
    with SSHConnection(given.of(login)) as connection:
        answer = connection.run(_INSTALL, public)
        if answer.exit_code != 0:
            last = answer.stderr.strip().rpartition("\n")[2]
            raise TargetError(
                f"the public key can't be put into ~/.ssh/authorized_keys: {last}", where=login.alias
            )
        try:
            with SSHConnection(login._replace(secret="", private_key=handle)) as proof:
                proof.run(":")
        except LoginError as error:
            connection.run(_UNINSTALL, public)
            raise LoginError(
                "the machine takes no key out of ~/.ssh/authorized_keys",
                where=login.alias,
                hint="ask who runs it which keys its sshd takes, or attach it with a password",
                methods=error.methods,
            ) from error
