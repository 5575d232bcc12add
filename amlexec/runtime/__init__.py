"""Files that are sent into a run: POSIX shell to start, watch and stop it, and `site/`, its Python files.

The shell scripts only need a POSIX `sh` and `ps` or `/proc`; `site/` works on Python 3.5 and later.
`serving/` is sent into the image of a service.
"""

from __future__ import annotations

import os

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HERE", "SERVE", "SERVING", "SHELL", "SITE", "shell", "site_folder"]

SHELL = "/bin/sh"
"""The shell of this machine. Not searched on PATH, which may be a script's."""

_PLACE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - a submission needs no pathlib
_PATHS = {
    # This folder, which is sent to other machines.
    "HERE": "",
    # The folder that is added to a run's PYTHONPATH.
    "SITE": "site",
    # The server of a service, which works on Python 3.8 and later.
    "SERVING": "serving",
    # The script that starts it.
    "SERVE": "serving/serve.py",
}


def __getattr__(name: str) -> Path:
    """One of `_PATHS`."""
    if name not in _PATHS:
        raise AttributeError(name)
    from pathlib import Path

    return Path(_PLACE, _PATHS[name])


def shell(name: str) -> str:
    """The absolute path of the shell script `name`: `supervisor`, `state` or `stop`."""
    return f"{_PLACE}/{name}.sh"


def site_folder() -> str:
    """SITE, as text."""
    return f"{_PLACE}/site"
