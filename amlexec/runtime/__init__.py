"""What travels into a run: POSIX shell that starts, watches and stops it, and `site/`, Python for the script.

The shell scripts need nothing but a POSIX `sh` and `ps` or `/proc`; `site/` works on Python 3.5 and later.
"""

from pathlib import Path

__all__ = ["HERE", "SHELL", "SITE", "shell"]

SHELL = "/bin/sh"
"""The shell of this machine. Not looked for: PATH may be one that was made for a script."""

HERE = Path(__file__).parent
"""This folder: what goes to another machine, where it isn't there already."""
SITE = HERE / "site"
"""The folder that goes on a run's PYTHONPATH."""


def shell(name: str) -> str:
    """The absolute path of the shell script `name`: `supervisor`, `state` or `stop`."""
    return str(HERE / f"{name}.sh")
