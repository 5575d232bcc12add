"""The entry points of the container: a replica of the service, its listener, and requests to both."""

from __future__ import annotations

import os
import sys
from typing import Sequence

__all__ = ["main"]

_NEEDED = (3, 8)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments say; the exit code."""
    if sys.version_info < _NEEDED:
        sys.stderr.write("a service needs Python 3.8 or later, and this is %d.%d\n" % sys.version_info[:2])
        return 3
    what = arguments[0] if arguments else ""
    if what == "--listen":
        from .listener import listen

        return listen(arguments[1])
    if what == "--tell":
        from .listener import tell

        return tell(arguments[1], " ".join(arguments[2:]))
    if what == "--ask":
        from .ask import ask

        return ask(arguments[1:])
    from .server import serve
    from .settings import SettingsError, read

    try:
        settings = read(what, os.environ)
    except SettingsError as error:
        sys.stderr.write("{}\n".format(error))
        return 3
    return serve(settings)
