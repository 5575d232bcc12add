"""Run uv with the user's package indexes and proxies, and none of uv's own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.packages.network import uv_variables

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from amlexec.packages.network import Network

__all__ = ["run"]


def run(arguments: list[str], folder: Path, network: Network, cache: Path) -> CompletedProcess[str]:
    """Run `uv ARGUMENTS` in a folder to its end; it stores packages below `cache`."""
    import subprocess

    from uv import find_uv_bin

    options = ["--no-config", "--index-strategy", "unsafe-best-match", "--no-progress", "--color", "never"]
    return subprocess.run(
        [find_uv_bin(), *arguments, *options, "--cache-dir", str(cache / "uv")],
        cwd=folder,
        env=uv_variables(network),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
