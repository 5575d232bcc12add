"""Files that are sent into a run: POSIX shell to start, watch and stop it, and `site/`, its Python files.

The shell scripts only need a POSIX `sh` and `ps` or `/proc`; `site/` works on Python 3.5 and later.
`serving/` is sent into the image of a service.
"""

from pathlib import Path

__all__ = ["HERE", "SERVE", "SERVING", "SHELL", "SITE", "shell"]

SHELL = "/bin/sh"
"""The shell of this machine. Not searched on PATH, which may be a script's."""

HERE = Path(__file__).parent
"""This folder, which is sent to other machines."""
SITE = HERE / "site"
"""The folder that is added to a run's PYTHONPATH."""
SERVING = HERE / "serving"
"""The server of a service, which works on Python 3.8 and later."""
SERVE = SERVING / "serve.py"
"""The script that starts it."""


def shell(name: str) -> str:
    """The absolute path of the shell script `name`: `supervisor`, `state` or `stop`."""
    return str(HERE / f"{name}.sh")
