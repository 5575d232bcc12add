"""The environments that a machine over SSH keeps, as folders in the user's home there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from typing import TYPE_CHECKING

from amlexec.environments.store import Installed, Removal
from amlexec.errors import TargetError
from amlexec.prefixes.remote_prefix import NAME_LENGTH, failed, script

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.progress import Progress
    from amlexec.ssh.connection import SSHConnection

__all__ = ["PrefixStore"]

_TURN_TIMEOUT_S = 3600.0
"""How long somebody else may take to make the same environment before waiting for it is given up."""
_BEAT_INTERVAL_S = 5.0
_LONGEST_TEXT = 4096
_FOLDER = re.compile(r"/[^\x00-\x1f]+")
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class PrefixStore:
    """A `EnvironmentStore`. Making imports what looking must not pay for."""

    def __init__(self, connection: SSHConnection) -> None:
        """Nothing is asked yet."""
        self.connection = connection
        self._known: dict[str, Installed | None] = {}

    @property
    def address(self) -> str:
        """See `EnvironmentStore.address`."""
        return f"ssh://{self.connection.name}"

    def there(self, digest: str) -> str:
        """See `EnvironmentStore.there`."""
        return f"{self.connection.name} has {_shown(digest)}"

    def gone(self) -> str:
        """See `EnvironmentStore.gone`."""
        return f"its folder is no longer on {self.connection.name}"

    def get(self, digest: str) -> Installed | None:
        """See `EnvironmentStore.get`: one round trip."""
        if digest not in self._known:
            self.learn(digest, self._ask("get", digest[:NAME_LENGTH]))
        return self._known[digest]

    def learn(self, digest: str, said: str) -> None:
        """What somebody else has asked in the same round trip: what the verb `get` prints."""
        self._known[digest] = next((kept for kept in _read(said) if kept.digest == digest), None)

    def all(self) -> dict[str, Installed]:
        """See `EnvironmentStore.all`: one round trip."""
        found = {kept.digest: kept for kept in _read(self._ask("all"))}
        self._known |= found
        return found

    def forget(self) -> None:
        """See `EnvironmentStore.forget`."""
        self._known = {}

    @contextlib.contextmanager
    def turn(self, digest: str, progress: Progress) -> Iterator[None]:
        """See `EnvironmentStore.turn`. The lock ends with its holder: this process, or contact with it."""
        until = time.monotonic() + _TURN_TIMEOUT_S
        with contextlib.ExitStack() as held:
            reading, writing = os.pipe()
            beats = held.enter_context(os.fdopen(reading, "rb", 0))
            heart = _Heart(writing)
            channel = held.enter_context(
                self.connection.stream(script("hold"), digest[:NAME_LENGTH], _me(), input=beats)
            )
            held.callback(heart.stop)
            for line in channel.stdout:
                word, _, who = line.decode(errors="replace").strip().partition(" ")
                if word == "yours":
                    break
                if word == "wait":
                    progress.step(
                        f"waiting for {who or 'somebody'}, who prepares it on {self.connection.name}"
                    )
                if time.monotonic() > until:
                    raise TargetError(
                        "somebody else has been preparing the same environment for an hour",
                        where=self.connection.name,
                        hint="wait until that is done, or end it",
                    )
            else:
                channel.wait()
                raise failed("no environment can be made there", channel.stderr, self.connection.name)
            heart.start()
            try:
                yield
            finally:
                heart.stop()
                # The next one shall not have to wait for what is over.
                with contextlib.suppress(TargetError):
                    channel.wait()

    def moved(self, kept: Installed, request: BuildRequest, progress: Progress) -> str:
        """See `EnvironmentStore.moved`: a folder stands on nothing that could move."""
        del kept, request, progress
        return ""

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """See `EnvironmentStore.pull`: what is published are images."""
        del request, place, progress, log
        return None

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """See `EnvironmentStore.build`."""
        from amlexec.prefixes import install

        return install.make(self.connection, request, progress, log)

    def replaced(self, key: str) -> None:
        """See `EnvironmentStore.replaced`: its folder has gone before."""

    def sweep(self, project: str, owner: str) -> list[Removal]:
        """See `EnvironmentStore.sweep`: what is half-made there goes when the same is made again."""
        del project, owner
        return []

    def remove(self, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
        """See `EnvironmentStore.remove`."""
        self.forget()
        told = []
        for digest in sorted(set(digests)):
            kept = self.get(digest)
            if kept is None:
                continue
            name = f"{self.connection.name}:{_shown(digest)}"
            if kept.project != project:
                told.append(Removal(name, 0, f"it was built for the project {kept.project}"))
                continue
            said = self._ask("remove", digest[:NAME_LENGTH], "keep" if dry_run else "", keeping=True).strip()
            if said == "used":
                told.append(Removal(name, 0, "it is in use"))
            else:
                told.append(Removal(name, 1024 * int(said) if said.isdecimal() else 0))
        self.forget()
        return told

    def _ask(self, verb: str, *arguments: str, keeping: bool = False) -> str:
        answer = self.connection.run(script(verb, keeping=keeping), *arguments)
        if answer.exit_code != 0:
            raise failed("its environments can't be read", answer.stderr, self.connection.name)
        return answer.stdout


def _shown(digest: str) -> str:
    return f"~/.amlexec/envs/{digest[:NAME_LENGTH]}"


def _read(said: str) -> Iterator[Installed]:
    """Folders, each with its marker on the next line. A marker that is damaged is none."""
    lines = said.split("\n")
    for folder, marker in zip(lines[::2], lines[1::2], strict=False):
        try:
            told = json.loads(marker)
            keys = ("digest", "python", "platform", "project", "owner")
            digest, python, platform, project, owner = (told[key] for key in keys)
            parts = (folder, digest, python, platform, project, owner)
            if not all(isinstance(part, str) and len(part) < _LONGEST_TEXT for part in parts):
                continue
            if _FOLDER.fullmatch(folder) and _DIGEST.fullmatch(digest):
                yield Installed(folder, digest, python, platform, "", project, owner)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _me() -> str:
    """Who prepares, as somebody who waits wants to know it."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user} on {socket.gethostname()} (process {os.getpid()})"


class _Heart:
    """Writes a line into a pipe every few seconds, until it is stopped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and close the pipe. Twice is harmless."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._descriptor)

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT_INTERVAL_S):
            try:
                os.write(self._descriptor, b"\n")
            except OSError:
                return  # contact is lost; who makes the environment meets that too
