"""`python -m amlexec`, and the `amlexec` command."""

from __future__ import annotations

import gc
import os
import sys

_COLLECT_AFTER = 50_000
"""New objects until garbage is looked for. Python's 700 cost a short command a tenth of its time."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        code = _run()
    except KeyboardInterrupt:  # while modules are imported, or the last output is written
        os.write(2, b"interrupted\n")
        code = 130
    # All output is written; a normal shutdown of the interpreter would only take time.
    os._exit(code)


def _run() -> int:
    gc.set_threshold(_COLLECT_AFTER)
    from amlexec import console, interrupts

    interrupts.begin()
    console.open_streams()
    from amlexec.cli import run

    code = run(sys.argv[1:])
    lost = console.finish()
    return code or lost


if __name__ == "__main__":
    main()
