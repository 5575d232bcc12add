"""Files that are sent into a run: POSIX shell to start, watch and stop it, and `site/`, its Python files.

The shell scripts only need a POSIX `sh` and `ps` or `/proc`; `site/` works on Python 3.5 and later.
"""

from pathlib import Path

__all__ = ["HERE", "SHELL", "SITE", "shell"]

SHELL = "/bin/sh"
"""The shell of this machine. Not searched on PATH, which may be a script's."""

HERE = Path(__file__).parent
"""This folder, which is sent to other machines."""
SITE = HERE / "site"
"""The folder that is added to a run's PYTHONPATH."""


def shell(name: str) -> str:
    """The absolute path of the shell script `name`: `supervisor`, `state` or `stop`."""
    return str(HERE / f"{name}.sh")
