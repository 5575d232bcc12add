"""A Docker engine of a test's own, that may be stopped, killed and started again: nobody else's is touched.

It has its own socket, files and network name space, so it can't be seen from the other one, nor the other
way round. Its containers have no network. Where AMLEXEC_TEST_ENGINE names an engine it is one like that, in a
machine of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.client import Engine
from amlexec.docker.errors import EngineError
from tests.conftest import PATIENCE
from tests.engines.engine_kinds import chosen
from tests.engines.engine_machine import EngineMachine
from tests.support import engine_images

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OwnEngine", "own_engine", "why_none"]


def why_none(*, remapped: bool = False) -> str:
    """Why this machine can't have one, and how it could; "" where it can. `remapped` as of `OwnEngine`."""
    if kind := chosen():
        return f"{kind.what} maps no users of containers" if remapped and kind.is_podman else ""
    if os.geteuid() != 0:
        return "a second Docker engine can only be started by root"
    missing = [name for name in ("dockerd", "unshare") if shutil.which(name) is None]
    return f"no {missing[0]}: run `doit engines` on Debian as root" if missing else ""


class OwnEngine:
    """dockerd in a folder."""

    survives = False
    """Whether containers go on when it ends."""

    def __init__(self, folder: Path, *, remapped: bool = False) -> None:
        """With `remapped`, the users of its containers are no users of this machine."""
        self.folder = folder
        self.remapped = remapped
        self.address = f"unix://{folder}/s"
        self.engine = Engine(self.address)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Of one that was killed: its number may be another process's by now, or a dead one's.
        for left in ("pid", "run/containerd/containerd.pid"):
            (self.folder / left).unlink(missing_ok=True)
        words = ["unshare", "--net", "dockerd", "--host", self.address, "--bridge", "none"]
        words += [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/run"]
        words += [f"--pidfile={self.folder}/pid", "--iptables=false", "--ip6tables=false"]
        words += ["--ip-forward=false", "--ip-masq=false", "--shutdown-timeout=5"]
        if self.remapped:
            words = self._remapping(words)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.engine.version()
            except EngineError:
                said = (self.folder / "log").read_text("utf-8", "replace")[-2000:]
                assert self._process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.02)
            else:
                return

    def _remapping(self, words: list[str]) -> list[str]:
        """The command, with ranges of users of its own: nobody else's file says them."""
        self.folder.chmod(0o711)
        ranges = self.folder / "ranges"
        ranges.write_text("nobody:100000:65536\nnogroup:100000:65536\n")
        script = f'mount --bind {ranges} /etc/subuid && mount --bind {ranges} /etc/subgid && exec "$@"'
        mounting = ["unshare", "--mount", "sh", "-ec", script, "sh", *words[2:]]
        return [*words[:2], *mounting, "--userns-remap=nobody:nogroup"]

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def take(self, engine: Engine, image: str) -> None:
        """Copy an image from another engine."""
        with engine_images.save(engine, image) as stream:
            engine_images.load(self.engine, stream.pieces())


@contextlib.contextmanager
def own_engine(*, remapped: bool = False) -> Iterator[OwnEngine | EngineMachine]:
    """One that runs while the block does; nothing of it stays. `remapped` as of `OwnEngine`."""
    # Not in pytest's folder: a socket's path may have no more than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="amlexec-engine-"))
    if kind := chosen():
        machine = EngineMachine(kind, f"amlexec-test-{folder.name}", folder / "s", alone=True)
        try:
            machine.create()
            machine.start(*(machine.remapping() if remapped else ()))
            yield machine
        finally:
            machine.remove()
            shutil.rmtree(folder, ignore_errors=True)
        return
    engine = OwnEngine(folder, remapped=remapped)
    try:
        engine.start()
        yield engine
        with contextlib.suppress(EngineError):
            for one in containers.find(engine.engine, {}):
                containers.remove(engine.engine, one["Id"], force=True)
    finally:
        engine.end()
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    """Whatever a killed engine has left mounted."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
