"""The command of a run's container in a cloud service: gets the run's files from its storage, and runs them.

Nothing of it is a secret: the storage's address, the script's arguments and its variables are in variables
that the service keeps secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.images.labels import PREFIX
from amlexec.targets.script_environment import of_run
from amlexec.targets.volumes import CHECKOUT, LOGGED

if TYPE_CHECKING:
    from amlexec.targets.target import Launch

__all__ = ["COMMAND", "FILES", "variables"]

FILES = "run.tar.gz"
"""The file with the copy of the project and the runtime."""
_BOOTSTRAP = """\
import os, sys, tarfile, time, urllib.error, urllib.request
base, _, key = os.environ["AMLEXEC_STORAGE"].partition("?")
all = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
for pause in (1, 2, 4, 8, 16, 32, 0):
    try:
        asked = base + "/run.tar.gz"
        if base.startswith("/"):
            asked = "file://" + asked
        else:
            asked = urllib.request.Request(asked + "?" + key, headers={"x-ms-version": "2022-11-02"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            with tarfile.open(fileobj=answer, mode="r|gz") as archive:
                archive.extractall("/", **all)
        break
    except urllib.error.HTTPError as error:
        why = "%d %s" % (error.code, error.headers.get("x-ms-error-code") or "")
        if error.code < 500 and error.code not in (408, 429):
            pause = 0
    except Exception as error:
        why = type(error).__name__
    if not pause:
        sys.exit("amlexec: the files of the run can't be read: the storage says " + why)
    time.sleep(pause)
os.execv(sys.executable, [sys.executable, "-I", "-S", "/amlexec/site/amlexec/service_run.py"])
"""
COMMAND = (f"{PREFIX}/bin/python", "-I", "-S", "-c", _BOOTSTRAP)
_PIECE = 30_000
"""Characters of a variable; Linux allows 128 kB."""
_MOST = 1_000_000


def variables(launch: Launch, run_id: str, storage: str) -> tuple[tuple[str, str], ...]:
    """The variables of the container; `storage` is the run's own address of its storage.

    Raises:
        TargetError: the script's arguments and variables are too long.
    """
    settings = {
        "argv": launch.argv,
        "environment": {**launch.environment, **of_run(run_id, LOGGED)},
        "checkout": CHECKOUT,
        "logged": LOGGED,
    }
    text = json.dumps(settings)
    if len(text) > _MOST:
        raise TargetError(
            f"the script's arguments and variables have {len(text)} characters; the limit is {_MOST}",
            hint="write them to a file of the project",
        )
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return (
        ("AMLEXEC_STORAGE", storage),
        *((f"AMLEXEC_RUN_{number}", piece) for number, piece in enumerate(pieces)),
    )
