"""Azurite, the emulator of Azure's blob storage, from npm; started by the tests on a free port of 127.0.0.1.

It checks logins, signatures of addresses, offsets and the rest as the service does; tokens it takes from
anybody.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from . import tools
from .places import can_install, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "ACCOUNT",
    "KEY",
    "Certificate",
    "certificate",
    "is_there",
    "ready",
    "remove",
    "serve",
    "serve_plain",
]

VERSION = "3.35.0"
ACCOUNT = "devstoreaccount1"
"""The one account that Azurite always has."""
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""And its key, which is written in its documentation."""
_FOLDER = f"azurite-{VERSION}"
_MAIN = "node_modules/azurite/dist/src/blob/main.js"
_START = 60.0


class Certificate(NamedTuple):
    """A certificate for 127.0.0.1 that nobody but its tests trusts."""

    file: Path
    key: Path


def is_there() -> bool:
    """Whether it can be started."""
    return (state() / _FOLDER / _MAIN).exists() and shutil.which("node") is not None


def ready() -> None:
    """Fetch it. Raises MissingError, ToolError."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        if not can_install():
            raise tools.MissingError("no node and npm: install Node.js from https://nodejs.org")
        tools.install("nodejs", "npm")
    print(f"fetching Azurite {VERSION}")
    folder = state() / _FOLDER
    new = state() / f"{_FOLDER}.new"
    for stale in (folder, new):
        shutil.rmtree(stale, ignore_errors=True)
    new.mkdir()
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--omit=dev"]
    tools.run(["npm", "install", *quiet, "--prefix", new, f"azurite@{VERSION}"], "fetching Azurite")
    new.rename(folder)


def remove() -> None:
    """Remove it."""
    shutil.rmtree(state() / _FOLDER, ignore_errors=True)


def certificate(folder: Path) -> Certificate:
    """Make a certificate for 127.0.0.1, in that folder."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(made.key), "-out", str(made.file), "-days", "2", "-subj", "/CN=127.0.0.1"]
    tools.run([*words, "-addext", "subjectAltName=IP:127.0.0.1"], "making a certificate")
    return made


@contextlib.contextmanager
def serve(folder: Path, secured: Certificate) -> Iterator[str]:
    """Azurite with nothing in it; yields the address of its account. Raises ToolError."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with _process(folder, "127.0.0.1", port, secured):
        yield f"https://127.0.0.1:{port}/{ACCOUNT}"


@contextlib.contextmanager
def serve_plain(folder: Path, host: str, port: int) -> Iterator[None]:
    """The same over HTTP, for clients that trust no certificate of ours. Raises ToolError."""
    with _process(folder, host, port, None):
        yield


@contextlib.contextmanager
def _process(folder: Path, host: str, port: int, secured: Certificate | None) -> Iterator[None]:
    words = [
        "node",
        str(state() / _FOLDER / _MAIN),
        "--silent",
        "--inMemoryPersistence",
        "--disableTelemetry",
        "--skipApiVersionCheck",  # of clients that are newer than it
    ]
    words += ["--blobHost", host, "--blobPort", str(port)]
    if secured is not None:
        words += ["--oauth", "basic", "--cert", str(secured.file), "--key", str(secured.key)]
    log = folder / "azurite.log"
    with log.open("wb") as output:
        process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait(process, (host, port), secured, log)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(
    process: subprocess.Popen[bytes], address: tuple[str, int], secured: Certificate | None, log: Path
) -> None:
    host, port = address
    deadline = time.monotonic() + _START
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=_START) as plain:
            if secured is None:
                return
            context = ssl.create_default_context(cafile=str(secured.file))
            with context.wrap_socket(plain, server_hostname=host):
                return
        if process.poll() is not None or time.monotonic() > deadline:
            said = tools.last_lines(log.read_text("utf-8", "replace"))
            raise tools.ToolError(f"Azurite does not answer on port {port}\n{said}")
        time.sleep(0.05)
