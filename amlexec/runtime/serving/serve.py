"""Start a service: `python serve.py SETTINGS.json`; `amlexec_serving/main.py` has its other commands.

The folder of uvicorn and what it needs is the last on the path, so that what the scoring script imports is
what its environment has. `shims` and `site` have what scripts of Azure ML import.
"""

import os
import sys


def paths(here: str) -> None:
    """Set `sys.path`. `site` is beside this file in an image, and its sibling in an installation."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    site = [os.path.join(here, "site"), os.path.join(os.path.dirname(here), "site")]
    sys.path[:0] = [os.path.join(here, "shims"), *filter(os.path.isdir, site)]
    sys.path.append(here)
    vendored = os.environ.get("AMLEXEC_SERVICE_VENDORED") or os.path.join(here, "vendored")
    if os.path.isdir(vendored):
        sys.path.append(vendored)


if __name__ == "__main__":
    paths(os.path.dirname(os.path.abspath(__file__)))
    from amlexec_serving.main import main

    sys.exit(main(sys.argv[1:]))
