"""Whether the package indexes still offer locked files, wherever they keep them by now."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.packages import uv
from amlexec.packages.pip_resolve import index_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.packages.network import Network
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.requirements import Requirements

__all__ = ["offered"]

_AT_ONCE = 4
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def offered(
    pins: Sequence[Pin], requirements: Requirements, python: str, network: Network, cache: Path
) -> set[Pin]:
    """Those of `pins` that the indexes of `requirements` and of the user's settings offer, by their hashes.

    `python` is the version of the environment's Python.

    pip installs them from there, whatever address they had when they were locked.
    """
    if not pins:
        return set()
    hashes = _hashes(pins, requirements, python, network, cache)
    if hashes is None and len(pins) > 1:
        # One that is gone makes the whole answer an error.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = pool.map(lambda pin: _hashes([pin], requirements, python, network, cache), pins)
            return {
                pin
                for pin, found in zip(pins, answers, strict=True)
                if found is not None and pin.sha256 in found
            }
    return {pin for pin in pins if hashes is not None and pin.sha256 in hashes}


def _hashes(
    pins: Sequence[Pin], requirements: Requirements, python: str, network: Network, cache: Path
) -> set[str] | None:
    """The hashes of all files of these versions; None if an index lacks one, or can't be reached."""
    options = [str(line) for line in index_lines(requirements, network)]
    lines = [line for line in options if line != "--require-hashes" and not line.startswith("--pre")]
    lines += [f"{pin.name}=={pin.version}" for pin in pins]
    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder:
        file = Path(folder, "requirements.in")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)  # it may hold passwords
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write("".join(f"{line}\n" for line in lines))
        command = [
            *("pip", "compile", file.name, "--no-deps", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--python", sys.executable),
            *("--universal", "--python-version", python, "--prerelease", "allow"),
        ]
        done = uv.run(command, Path(folder), network, cache)
    return set(_HASH.findall(done.stdout)) if done.returncode == 0 else None
