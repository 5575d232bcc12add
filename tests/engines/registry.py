"""Debian's Docker registry: unpacked beside the tests, not installed; started by the tests on a free port."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from . import tools
from .engine_kinds import PLAIN_PORTS, chosen
from .places import REGISTRY, can_install, state

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["free_port", "is_there", "ready", "remove", "serve"]

_START = 60.0
"""Seconds that a registry may take to answer."""


def is_there() -> bool:
    """Whether a registry can be started."""
    return _program() is not None


def ready() -> None:
    """Unpack Debian's registry. Raises MissingError, ToolError."""
    if not Path("/etc/debian_version").exists():
        raise tools.MissingError(
            "no Docker registry: put `registry` on the PATH,"
            " from https://github.com/distribution/distribution/releases"
        )
    print("unpacking Debian's Docker registry")
    folder = state() / REGISTRY
    fetched = state() / f"{REGISTRY}.new"
    for stale in (folder, fetched):
        shutil.rmtree(stale, ignore_errors=True)
    fetched.mkdir()
    try:
        package = tools.download("docker-registry", fetched)
    except tools.ToolError as error:
        if can_install():
            raise
        # Without package lists, which only root may fetch.
        raise tools.MissingError(f"no Docker registry: run `sudo apt-get update`\n{error}") from None
    tools.run(["dpkg", "-x", package, fetched / "root"], "unpacking docker-registry")
    (fetched / "root").rename(folder)
    shutil.rmtree(fetched)


def remove() -> None:
    """Remove what was unpacked."""
    shutil.rmtree(state() / REGISTRY, ignore_errors=True)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A registry with its data in `folder`, on a port of its own; yields `127.0.0.1:PORT`.

    Engines take 127.0.0.0/8 for registries that need no certificate.

    Raises:
        ToolError: it can't be started.
    """
    program = _program()
    if program is None:
        raise tools.ToolError("there is no Docker registry")
    address = f"127.0.0.1:{free_port()}"
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder / 'data'}'}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}'}}\n",
        "utf-8",
    )
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "serve", str(settings)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait(process, address, log)
        yield address
    finally:
        process.terminate()
        process.wait()


def _program() -> str | None:
    unpacked = state() / REGISTRY / "usr" / "bin" / "docker-registry"
    return str(unpacked) if unpacked.exists() else shutil.which("docker-registry") or shutil.which("registry")


def free_port() -> int:
    """A port that nobody has, and where the engine of the suite takes a registry without a certificate."""
    kind = chosen()
    for port in random.sample(PLAIN_PORTS, len(PLAIN_PORTS)) if kind and kind.is_podman else [0]:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise tools.ToolError("no port is free for a registry")


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(f"http://{address}/v2/", timeout=_START).close()
        except (urllib.error.URLError, ConnectionError):
            pass  # not yet
        else:
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = tools.last_lines(log.read_text("utf-8", "replace"))
            raise tools.ToolError(f"the Docker registry at {address} does not answer\n{said}")
        time.sleep(0.02)
