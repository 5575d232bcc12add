"""What the measurements over SSH share: a machine, a home to use it from, and a wire that counts and cuts."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker import archives, containers
from amlexec.docker.client import from_environment
from benchmarks.timing import Command, script
from tests.conftest import PATIENCE
from tests.engines import ssh_host
from tests.engines.places import HOW
from tests.engines.ssh_host import QUIET
from tests.support.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Station", "Wire", "machine", "station"]

_BLOCK = 1 << 16


class Wire:
    """A port of the loopback that leads to another one; it counts what goes through, and can be cut.

    `sent` and `received` are the bytes towards the machine and from it, SSH's own among them.
    """

    def __init__(self, port: int, cut_after: int = 0, cuts: int = 0) -> None:
        """Each of the first `cuts` connections ends when `cut_after` bytes have come through it."""
        self.sent = self.received = self.made = 0
        self._to, self._cut_after, self._cuts = port, cut_after, cuts
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """Count from nothing."""
        self.sent = self.received = 0

    def close(self) -> None:
        """Take no more connections."""
        # A closed socket is not enough: somebody waits in accept.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self.made += 1
            left = [self._cut_after if self.made <= self._cuts else -1]
            threading.Thread(target=self._join, args=(near, far, left), daemon=True).start()

    def _join(self, near: socket.socket, far: socket.socket, left: list[int]) -> None:
        """Let bytes through in both directions until both ends have closed."""
        with near, far:
            back = threading.Thread(target=self._pump, args=(far, near, True, left), daemon=True)
            back.start()
            self._pump(near, far, False, left)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_back: bool, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK):
                sink.sendall(data)
                with self._lock:
                    if is_back:
                        self.received += len(data)
                    else:
                        self.sent += len(data)
                if is_back and left[0] >= 0:
                    left[0] -= len(data)
                    if left[0] < 0:
                        break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Station(NamedTuple):
    """A home from which `ssh` reaches the machine, and nothing of the developer's own is used."""

    home: Path
    runtime: Path
    programs: Path

    def knows(self, host: Host, port: int) -> None:
        """Let it reach the host at that port, by its address and by the name `bench-PORT`.

        The first host's key is used for all.
        """
        with (self.home / ".ssh/known_hosts").open("a", encoding="utf-8") as file:
            file.write(f"[127.0.0.1]:{port} {host.host_key}\n")
        configuration = self.home / ".ssh/config"
        told = configuration.read_text("utf-8") if configuration.exists() else ""
        entry = [f"Host bench-{port}", "HostName 127.0.0.1", f"Port {port}", f"User {QUIET}"]
        for_all = [
            "Host *",
            f"IdentityFile {host.key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.home}/.ssh/known_hosts",
            "GlobalKnownHostsFile /dev/null",
        ]
        # Of what is said of all hosts the first counts.
        configuration.write_text("\n".join([*entry, told or "\n".join(for_all), ""]), "utf-8")

    def command(self, folder: Path, *arguments: str) -> Command:
        """A command as somebody in this home would type it."""
        return Command(("env", *self.variables(), *arguments), folder)

    def amlexec(self, folder: Path, *arguments: str) -> Command:
        """`amlexec` in this home."""
        return self.command(folder, script("amlexec"), *arguments)

    def variables(self) -> list[str]:
        """As `env` takes them."""
        return [
            f"HOME={self.home}",
            f"XDG_RUNTIME_DIR={self.runtime}",
            f"PATH={self.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON_KEYRING_BACKEND=keyring.backends.fail.Keyring",
        ]

    def hang_up(self) -> None:
        """End every connection, so that the next command has to make its own."""
        folder = self.runtime / "amlexec"
        for path in sorted(folder.iterdir()) if folder.exists() else ():
            if path.is_socket():
                command = ["ssh", "-F", "none", "-S", str(path), "-O", "exit", "connection"]
                subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)


@contextlib.contextmanager
def station(folder: Path) -> Iterator[Station]:
    """A home below `folder`."""
    real = shutil.which("ssh")
    if real is None:
        raise RuntimeError(f"there is no ssh: {HOW}")
    home, programs = folder / "home", folder / "programs"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    programs.mkdir()
    program = programs / "ssh"
    # ssh looks for its files in the home that the user database names, whatever HOME says.
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -F "$HOME/.ssh/config" "$@"\n', "utf-8")
    program.chmod(0o755)
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="ab-", dir="/tmp") as runtime:
        made = Station(home, Path(runtime), programs)
        try:
            yield made
        finally:
            made.hang_up()


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Host]:
    """A machine to log in to, with rsync on it where it is here."""
    if not ssh_host.is_there():
        raise RuntimeError(f"a Docker engine or the image of a host is not there: {HOW}")
    engine = from_environment()
    host = Host(engine, folder)
    try:
        host.create()
        if program := shutil.which("rsync"):
            _lend(host, program)
        yield host
    finally:
        containers.remove(engine, host.name, force=True)


def _lend(host: Host, program: str) -> None:
    """Copy a program of this machine, and the libraries that it needs, to a host of the same system."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    held = BytesIO()
    with tarfile.open(fileobj=held, mode="w", dereference=True) as archive:
        archive.add(program, "usr/bin/rsync")
        for path in re.findall(r"=> (/\S+/)(\S+) ", listed):
            if not path[1].startswith("libc."):
                archive.add("".join(path), f"usr/local/lib/{path[1]}")
    archives.put(host.engine, host.name, "/", held.getvalue())
    host.ssh("ldconfig")
