"""Answers the password prompt of `ssh`. The password is never on a command line, in an environment or a file.

`ssh` runs the program in SSH_ASKPASS with the question as its argument. Here that is a small script, which
passes the question on through a pipe that only its owner can open. Only the question for this password is
answered, and only once: a wrong password is not tried again, and a jump host, which inherits the environment,
does not get the password of the machine behind it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.ssh import program
from amlexec.ssh.login import PlainPassword
from amlexec.ssh.runtime_dir import named, runtime_folder

if TYPE_CHECKING:
    from amlexec.ssh.login import Login

__all__ = ["Asking", "Identity", "is_for_us"]

_SCRIPT = """\
#!/bin/sh
printf '%s' "$1" >"$AMLEXEC_ASKPASS/question" || exit 1
IFS= read -r answer <"$AMLEXEC_ASKPASS/answer" || exit 1
case $answer in +*) printf '%s\\n' "${answer#+}" ;; *) exit 1 ;; esac
"""
_LONGEST_QUESTION = 4096
_MORE = re.compile(r"new|retype|again|current|expired|one[- ]?time|otp|code|token|pin\b", re.IGNORECASE)
"""A question with one of these words asks for something else than the password."""

_ASK_TIMEOUT_S = 10.0
"""For OpenSSH to read its configuration, in seconds."""


class Identity(NamedTuple):
    """User and host, as `ssh` names them in its questions."""

    user: str
    host: str


def is_for_us(question: str, identity: Identity, private_key: str) -> bool:
    """Whether `ssh` asks for our secret: the passphrase of that key, else the password of that user.

    The questions are those of OpenSSH's sshconnect2.c; the last form is keyboard-interactive
    authentication, where the machine words the question. There OpenSSH before 8.5 does not name the host: it
    could be a jump host, so the question is not answered.
    """
    if private_key:
        return question == f"Enter passphrase for key '{private_key[:100]}': "
    who = f"{identity.user}@{identity.host}"
    if question == f"{who}'s password: ":
        return True
    asker, _, words = question.partition(") ")
    return asker == f"({who}" and "password" in words.lower() and not _MORE.search(words)


class Asking:
    """Answers the questions of one `ssh` while it logs in."""

    def __init__(self, login: Login) -> None:
        """Create the pipes and the script. The key store is read when `ssh` asks."""
        self._login = login
        self._answered = False
        self.refused: str = ""
        """The question that was not answered; "" for none."""
        self._folder = Path(tempfile.mkdtemp(dir=runtime_folder(), prefix=named("ask")))
        self._elsewhere: Path | None = None
        for name in ("question", "answer"):
            os.mkfifo(self._folder / name, 0o600)
        # Open in both directions, so that neither side waits for the other to open it.
        self.question = os.open(self._folder / "question", os.O_RDWR | os.O_NONBLOCK)
        """A descriptor that becomes readable when `ssh` asks something; then call `answer`."""
        self._answer = os.open(self._folder / "answer", os.O_RDWR | os.O_NONBLOCK)

    def environment(self) -> dict[str, str]:
        """The environment variables for `ssh`. They contain no secret."""
        return {
            "SSH_ASKPASS": str(self._script()),
            "SSH_ASKPASS_REQUIRE": "force",
            # OpenSSH before 8.4 uses SSH_ASKPASS only where DISPLAY is set.
            "DISPLAY": os.environ.get("DISPLAY") or "none:0",
            "AMLEXEC_ASKPASS": str(self._folder),
        }

    def answer(self) -> None:
        """Read the question, and answer or refuse it.

        Raises:
            TargetError: the key store has no such secret, or others can read it.
        """
        question = os.read(self.question, _LONGEST_QUESTION).decode(errors="replace")
        reply = b"-\n"
        try:
            if not self._answered and is_for_us(question, _identity(self._login), self._login.private_key):
                reply = b"+" + self._secret().encode("utf-8", "surrogateescape") + b"\n"
                self._answered = True
            else:
                self.refused = question.strip()
        finally:
            os.write(self._answer, reply)

    def close(self) -> None:
        """Remove the pipes and the script. Idempotent."""
        for descriptor in (self.question, self._answer):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.question = self._answer = -1
        for folder in (self._folder, self._elsewhere):
            if folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _script(self) -> Path:
        script = _write_script(self._folder)
        if not os.access(script, os.X_OK):  # a file system that is mounted `noexec`
            from amlexec.keystore import store as keystore

            prefix = keystore.scratch_name()
            self._elsewhere = Path(tempfile.mkdtemp(dir=keystore.own_folder(), prefix=prefix, suffix=".new"))
            script = _write_script(self._elsewhere)
        return script

    def _secret(self) -> str:
        if isinstance(self._login.secret, PlainPassword):
            return str(self._login.secret)
        from amlexec.keystore import store as keystore

        return keystore.get(self._login.secret)


def _write_script(folder: Path) -> Path:
    script = folder / "askpass"
    script.write_text(_SCRIPT, "utf-8")
    script.chmod(0o700)
    return script


def _identity(login: Login) -> Identity:
    """User and host of the login, after `~/.ssh/config` is applied."""
    command = ["ssh", "-G", *(["-l", login.user] if login.user else []), "--", login.host]
    try:
        done = program.run(command, timeout=_ASK_TIMEOUT_S)
    except program.TimedOutError as error:
        raise TargetError(str(error), where=login.alias) from None
    if done.code:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.code}"
        raise TargetError(f"OpenSSH's configuration can't be read: {reason.rstrip('.')}", where=login.alias)
    options = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    host = options.get("hostkeyalias") or options.get("hostname", login.host)
    return Identity(options.get("user", login.user), login.address if login.known_hosts else host)
