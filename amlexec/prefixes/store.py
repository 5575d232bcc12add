"""The store of environments on a machine over SSH, as folders in the user's home."""

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
    from amlexec.values import Place

__all__ = ["PrefixStore"]

_TURN_TIMEOUT_S = 3600.0
"""How long to wait for another process that builds the same environment."""
_BEAT_INTERVAL_S = 5.0
_LONGEST_TEXT = 4096
_FOLDER = re.compile(r"/[^\x00-\x1f]+")
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class PrefixStore:
    """An `EnvironmentStore`. Methods that build import their modules, to keep lookups fast."""

    def __init__(self, connection: SSHConnection) -> None:
        """No I/O."""
        self.connection = connection
        self._cached: dict[str, Installed | None] = {}

    @property
    def address(self) -> str:
        """See `EnvironmentStore.address`."""
        return f"ssh://{self.connection.name}"

    def exists_message(self, digest: str) -> str:
        """See `EnvironmentStore.exists_message`."""
        return f"{self.connection.name} has {_shown(digest)}"

    def missing_message(self) -> str:
        """See `EnvironmentStore.missing_message`."""
        return f"its folder is no longer on {self.connection.name}"

    def get(self, digest: str) -> Installed | None:
        """See `EnvironmentStore.get`: one round trip."""
        if digest not in self._cached:
            self.learn(digest, self._ask("get", digest[:NAME_LENGTH]))
        return self._cached[digest]

    def learn(self, digest: str, output: str) -> None:
        """Cache an answer from another round trip; `output` is what the verb `get` printed."""
        self._cached[digest] = next((kept for kept in _read(output) if kept.digest == digest), None)

    def all(self) -> dict[str, Installed]:
        """See `EnvironmentStore.all`: one round trip."""
        found = {kept.digest: kept for kept in _read(self._ask("all"))}
        self._cached |= found
        return found

    def forget(self) -> None:
        """See `EnvironmentStore.forget`."""
        self._cached = {}

    @contextlib.contextmanager
    def locked(self, digest: str, progress: Progress) -> Iterator[None]:
        """See `EnvironmentStore.locked`. The lock ends with this process, or with its connection."""
        until = time.monotonic() + _TURN_TIMEOUT_S
        with contextlib.ExitStack() as stack:
            reading, writing = os.pipe()
            beats = stack.enter_context(os.fdopen(reading, "rb", 0))
            heart = _Heart(writing)
            channel = stack.enter_context(
                self.connection.stream(script("hold"), digest[:NAME_LENGTH], _me(), input=beats)
            )
            stack.callback(heart.stop)
            for line in channel.stdout:
                word, _, who = line.decode(errors="replace").strip().partition(" ")
                if word == "yours":
                    break
                if word == "wait":
                    progress.step(
                        f"waiting for {who or 'somebody'}, who is building it on {self.connection.name}"
                    )
                if time.monotonic() > until:
                    raise TargetError(
                        "another process has been building the same environment for an hour",
                        where=self.connection.name,
                        hint="wait until it is done, or stop it",
                    )
            else:
                channel.wait()
                raise failed("the environment can't be locked", channel.stderr, self.connection.name)
            heart.start()
            try:
                yield
            finally:
                heart.stop()
                # So that the next process does not wait for a lock that is released.
                with contextlib.suppress(TargetError):
                    channel.wait()

    def lock_of(self, kept: Installed) -> str:
        """See `EnvironmentStore.lock_of`: a file in the environment's folder."""
        from amlexec.environments import resolved_lock

        text = self._ask("lock", kept.digest[:NAME_LENGTH], str(resolved_lock.LARGEST))
        if resolved_lock.name_of(text) != kept.lock:
            raise TargetError(
                f"the environment does not have the resolved lock {kept.lock[:12]} that its marker names",
                where=f"{self.connection.name}:{_shown(kept.digest)}",
            )
        return text

    def same_base(self, pinned: str, place: Place, progress: Progress) -> str:
        """See `EnvironmentStore.same_base`: a folder has no base image."""
        del pinned, place, progress
        return ""

    def moved(self, kept: Installed, request: BuildRequest, progress: Progress) -> str:
        """See `EnvironmentStore.moved`: a folder has no base image, so ""."""
        del kept, request, progress
        return ""

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """See `EnvironmentStore.pull`: only images are published, so None."""
        del request, place, progress, log
        return None

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """See `EnvironmentStore.build`."""
        from amlexec.prefixes import install

        return install.make(self.connection, request, progress, log)

    def replaced(self, key: str) -> None:
        """See `EnvironmentStore.replaced`: the build has removed the old folder already."""

    def sweep(self, project: str, owner: str) -> list[Removal]:
        """See `EnvironmentStore.sweep`: nothing to do, every build removes leftovers on the machine."""
        del project, owner
        return []

    def remove(self, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
        """See `EnvironmentStore.remove`."""
        self.forget()
        removals = []
        for digest in sorted(set(digests)):
            kept = self.get(digest)
            if kept is None:
                continue
            name = f"{self.connection.name}:{_shown(digest)}"
            if kept.project != project:
                removals.append(Removal(name, 0, f"it was built for the project {kept.project}"))
                continue
            answer = self._ask("remove", digest[:NAME_LENGTH], "keep" if dry_run else "", keeping=True)
            kilobytes = answer.strip()
            if kilobytes == "used":
                removals.append(Removal(name, 0, "it is in use"))
            else:
                removals.append(Removal(name, 1024 * int(kilobytes) if kilobytes.isdecimal() else 0))
        self.forget()
        return removals

    def _ask(self, verb: str, *arguments: str, keeping: bool = False) -> str:
        answer = self.connection.run(script(verb, keeping=keeping), *arguments, is_probe=verb == "get")
        if answer.exit_code != 0:
            raise failed("its environments can't be read", answer.stderr, self.connection.name)
        return answer.stdout


def _shown(digest: str) -> str:
    return f"~/.amlexec/envs/{digest[:NAME_LENGTH]}"


def _read(output: str) -> Iterator[Installed]:
    """The environments in the output of `get` or `all`: a folder, and its marker on the next line.

    Skips damaged markers.
    """
    lines = output.split("\n")
    for folder, marker in zip(lines[::2], lines[1::2], strict=False):
        try:
            values = json.loads(marker)
            keys = ("digest", "python", "platform", "project", "owner")
            digest, python, platform, project, owner = (values[key] for key in keys)
            # Markers of earlier versions name no lock.
            lock = values.get("lock", "")
            parts = (folder, digest, python, platform, project, owner, lock)
            if not all(isinstance(part, str) and len(part) < _LONGEST_TEXT for part in parts):
                continue
            if _FOLDER.fullmatch(folder) and _DIGEST.fullmatch(digest):
                yield Installed(folder, digest, python, platform, "", project, owner, lock)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _me() -> str:
    """The lock's holder, as shown to users who wait for it."""
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
        """Stop, and close the pipe. Idempotent."""
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
                return  # the connection is lost; the build fails too
