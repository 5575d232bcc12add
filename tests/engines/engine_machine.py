"""A machine whose engine is used from here: it listens at a socket on this machine, and has our folders.

Which are the folder of temporary files, that of the parts, and this repository, each at the place where it is
here: what is mounted into a container of that engine is what is here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import tempfile
import time
from pathlib import Path

from amlexec.docker import containers, images
from amlexec.docker.client import Engine
from amlexec.docker.errors import EngineError
from amlexec.errors import TargetError
from tests.support import engine_images

from . import engine_host, engine_kinds, tools
from .choice import folder, machines, socket
from .engine_kinds import Kind, chosen
from .places import state

__all__ = ["EngineMachine", "is_there", "ready", "remove"]

_LABEL = "amlexec-test.recipe"
_REPOSITORY = Path(__file__).resolve().parents[2]
_START = 60.0
"""Seconds that an engine may take to answer."""
_LONGEST_SOCKET = 100
"""Bytes; the system's limit is 107."""


class EngineMachine:
    """A container of this machine's engine, with an engine that may be ended and started again."""

    def __init__(self, kind: Kind, name: str, socket: Path, *, alone: bool = False) -> None:
        """With `alone`, its containers have no network; else they may have this machine's.

        Raises:
            MissingError: the kind is none that this user can have.
        """
        if kind.is_rootless and os.getuid() == 0:
            raise tools.MissingError(f"{kind.what} is a user's: run this as one, who may use Docker")
        if len(str(socket)) > _LONGEST_SOCKET:
            raise tools.MissingError(f"{socket} is too long for a socket: set AMLEXEC_TEST_STATE")
        self._kind, self._name, self._socket, self._alone = kind, name, socket, alone
        self.address = f"unix://{socket}"
        self.engine = Engine(self.address)

    @property
    def survives(self) -> bool:
        """Whether containers go on when the engine ends."""
        return self._kind.survives

    def create(self, label: str = "") -> None:
        """Make the container and start it: the engine does not run yet."""
        settings = engine_host.settings(self._kind)
        shared = {Path(tempfile.gettempdir()), state(), _REPOSITORY, self._socket.parent}
        settings["Binds"] += [f"{path}:{path}" for path in sorted(shared)]
        settings |= {"NetworkMode": "host", "Init": True}
        wanted = {
            "Image": engine_host.reference(self._kind),
            "Cmd": ["sleep", "infinity"],
            "Labels": {_LABEL: label},
            "HostConfig": settings,
        }
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        containers.create(machines(), wanted, name=self._name)
        containers.start(machines(), self._name)

    def start(self, *options: str) -> None:
        """Start the engine, and wait until it answers. Raises ToolError."""
        script = self._kind.script(
            str(self._socket),
            self._name,
            *options,
            alone=self._alone,
            group=str(os.getgid()),
            uid=os.getuid(),
        )
        log = self._socket.with_name("log")
        # It has a session of its own: `end` is for all in it.
        begin = f"exec setsid sh /run/engine >>{log} 2>&1 </dev/null &"
        self._sh(f"echo $$ >/run/engine.pid\n{script}", begin)
        until = time.monotonic() + _START
        while True:
            try:
                self.engine.version()
            except EngineError:
                if time.monotonic() > until:
                    said = log.read_text("utf-8", "replace")
                    raise tools.ToolError(
                        f"{self._kind.what} does not answer\n{tools.last_lines(said)}"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def remapping(self) -> list[str]:
        """The options of a Docker engine whose containers have users that its machine has not."""
        self._sh("", 'echo "nobody:100000:65536\nnogroup:100000:65536" | tee /etc/subuid >/etc/subgid')
        return ["--userns-remap=nobody:nogroup"]

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the engine, and wait until it is gone. What else runs in the machine stays."""
        gone = "while kill -0 -$pid 2>/dev/null; do sleep 0.05; done"
        self._sh("", f"pid=$(cat /run/engine.pid); kill -{how.value} -$pid 2>/dev/null; {gone}")

    def remove(self) -> None:
        """Remove the machine, whatever its state."""
        if not self._alone:
            bridge = self._kind.bridge(self._name)
            with contextlib.suppress(TargetError, tools.ToolError):  # it does not run, or has none
                self._sh("", f"ip link delete {bridge}")
        containers.remove(machines(), self._name, force=True)
        engine_host.remove_groups(self._name)

    def take(self, engine: Engine, image: str) -> None:
        """Copy an image from another engine."""
        with engine_images.save(engine, image) as stream:
            engine_images.load(self.engine, stream.pieces())

    def _sh(self, file: str, script: str) -> None:
        """Write a file of a script, and run another script, both in the machine. Raises ToolError."""
        said = bytearray()
        whole = f"cat >/run/engine\n{script}" if file else script
        code = containers.execute(
            machines(), self._name, ["sh", "-c", whole], said.extend, given=file.encode() if file else None
        )
        if code:
            raise tools.ToolError(f"a script in {self._name} ended with {code}: {said.decode()}")


def is_there() -> bool:
    """Whether the engine that AMLEXEC_TEST_ENGINE names answers, in a machine of this recipe."""
    kind = chosen()
    if kind is None:
        return True
    try:
        found = containers.inspect(machines(), _name(kind))
        if found is None or (found["Config"]["Labels"] or {}).get(_LABEL) != _recipe(kind):
            return False
        Engine(f"unix://{socket(kind)}").version()
    except TargetError:
        return False
    return True


def ready() -> None:
    """Start the engine in a machine, anew. Raises MissingError, ToolError."""
    kind = chosen()
    if kind is None:
        return
    if not engine_host.is_there():
        raise tools.MissingError(f"no {kind.what}: the machine for it is not there")
    print(f"starting {kind.what} in a machine")
    machine = _machine(kind)
    try:
        machine.remove()
        machine.create(_recipe(kind))
        machine.start()
    except TargetError as error:
        raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the machine."""
    kind = chosen()
    if kind is not None:
        with contextlib.suppress(TargetError, tools.MissingError):
            _machine(kind).remove()


def _machine(kind: Kind) -> EngineMachine:
    return EngineMachine(kind, _name(kind), socket(kind))


def _name(kind: Kind) -> str:
    return f"amlexec-test-engine-{kind.name}-{hashlib.sha256(str(folder(kind)).encode()).hexdigest()[:8]}"


def _recipe(kind: Kind) -> str:
    made = [Path(module.__file__ or "").read_bytes() for module in (engine_host, engine_kinds)]
    image = images.inspect(machines(), engine_host.reference(kind)) or {}
    told = (Path(__file__).read_bytes(), *made, str(image.get("Id")).encode(), str(_REPOSITORY).encode())
    return hashlib.sha256(b"".join(told)).hexdigest()
