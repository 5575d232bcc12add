"""`python -m amlexec`, and the `amlexec` command."""

from __future__ import annotations

import gc
import os
import sys

_COLLECT_AFTER = 50_000
"""New objects until garbage is looked for. Python's 700 cost a short command a tenth of its time."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    gc.set_threshold(_COLLECT_AFTER)
    from amlexec import console

    console.open_streams()
    from amlexec.cli import run

    code = run(sys.argv[1:])
    lost = console.finish()
    # All output is written; a normal shutdown of the interpreter would only take time.
    os._exit(code or lost)


if __name__ == "__main__":
    main()
