"""A scoring script as a process of this machine, to try it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.runtime import SERVE
from amlexec.services import models, server_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.services.models import ServedModel

__all__ = ["LocalService", "active_python", "started"]

_ASK = "import sys\ntry:\n    import click, h11, uvicorn\n    has = 1\nexcept ImportError:\n    has = 0\n"
_ASK += "sys.stdout.write('%d.%d.%d %d' % (sys.version_info[:3] + (has,)))"
_LISTENS = re.compile(rb" listens on 127\.0\.0\.1:([0-9]+)$")
_LAST_LINES = 20


class LocalService(NamedTuple):
    """A service that is ready."""

    port: int
    key: str
    process: subprocess.Popen[bytes]


def active_python() -> str:
    """The Python of the active environment, else the one that runs amlexec."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        python = Path(os.environ.get(variable) or "/nonexistent", "bin", "python")
        if os.access(python, os.X_OK):
            return str(python)
    return sys.executable


@contextlib.contextmanager
def started(
    script: Path, served: Sequence[ServedModel], python: str, *, port: int = 0, key: str = ""
) -> Iterator[LocalService]:
    """Run a service during the block, once it is ready. Its messages go to standard error.

    `python` runs it; "" is the active environment's Python.

    Raises:
        TargetError: it is not ready; with the end of its log.
    """
    python = python or active_python()
    packages = _packages(python)
    key = key or secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="amlexec-service-") as folder:
        models.lay_out(served, Path(folder, "models"))
        settings = {
            "script": str(script.absolute()),
            "name": script.stem,
            "models": [{"name": one.name, "version": one.version} for one in served],
            "model_root": str(Path(folder, "models")),
        }
        path = Path(folder, "service.json")
        path.write_text(json.dumps(settings), "utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        environment |= {
            "AMLEXEC_SERVICE_PORT": str(port),
            "AMLEXEC_SERVICE_KEY": key,
            "AMLEXEC_SERVICE_VENDORED": packages,
            "AZUREML_MODEL_DIR": models.model_dir(str(Path(folder, "models")), served),
            "PYTHONUNBUFFERED": "1",
        }
        process = subprocess.Popen(
            [python, str(SERVE), str(path)], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            with process:
                try:
                    yield LocalService(_port(process, script), key, process)
                finally:
                    process.terminate()
        except BaseException:
            process.kill()
            raise


def _packages(python: str) -> str:
    """The folder with uvicorn; "" if that Python has it.

    Raises:
        TargetError: it is no Python, or uvicorn can't be fetched.
    """
    try:
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        version, has_it = done.stdout.split()
    except (OSError, ValueError):
        raise TargetError(
            f"{python} does not work as a Python", hint="name another one with --python"
        ) from None
    server_packages.pins(version)  # refuses an old one
    return "" if has_it == "1" else str(server_packages.folder(version))


def _port(process: subprocess.Popen[bytes], script: Path) -> int:
    """Pass the log on until the service is ready; its port."""
    assert process.stderr is not None
    port = 0
    last: list[str] = []
    for line in process.stderr:
        last = [*last[-_LAST_LINES + 1 :], line.decode("utf-8", "replace").rstrip()]
        if match := _LISTENS.search(line.rstrip()):
            port = int(match[1])
        elif port and b" ready after " in line:
            threading.Thread(target=_passed_on, args=(process,), daemon=True).start()
            return port
    shown = "".join(f"\n  {each}" for each in last)
    code = process.wait()
    raise TargetError(
        f"the service is not ready: {script.name} ended with code {code}; the end of its log:{shown}",
        where=str(script),
    )


def _passed_on(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    with contextlib.suppress(ValueError, OSError):
        for line in process.stderr:
            sys.stderr.write(line.decode("utf-8", "replace"))
            sys.stderr.flush()
