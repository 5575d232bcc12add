"""MLflow from PyPI in a folder of its own, with an empty database. Left out is what no test touches.

It is the whole package, for its server. What else it needs is for machine learning, most of the bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from . import tools
from .places import state

__all__ = ["database", "is_there", "python", "ready", "remove", "site_packages"]

VERSION = "3.17.2"
_NEWEST = "2026-11-29"
"""Of what it needs: later versions are not taken."""
_FOLDER = "mlflow"
_RECIPE = "recipe.txt"
_LEFT_OUT = ("pyarrow", "scipy", "scikit-learn", "matplotlib", "skops", "docker", "gunicorn", "huey")


def python() -> str:
    """The path of the Python with MLflow."""
    return str(state() / _FOLDER / "bin/python")


def site_packages() -> str:
    """The folder with MLflow, for a `sys.path` of the same Python."""
    (found,) = (state() / _FOLDER).glob("lib/python*/site-packages")
    return str(found)


def database() -> Path:
    """An empty database of this version: making one takes ten seconds."""
    return state() / _FOLDER / "empty.db"


def is_there() -> bool:
    """Whether it is there, made by this recipe for this Python."""
    try:
        return (state() / _FOLDER / _RECIPE).read_text("utf-8") == _recipe()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Fetch it anew. Raises ToolError."""
    folder = state() / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    print(f"fetching MLflow {VERSION}")
    tools.run(
        [sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder], "making a venv"
    )
    overrides = folder / "left-out.txt"
    overrides.write_text("".join(f"{name}; python_version < '3'\n" for name in _LEFT_OUT), "utf-8")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python()]
    install += ["--overrides", overrides, "--exclude-newer", _NEWEST, "--compile-bytecode"]
    tools.run([*install, f"mlflow=={VERSION}"], "fetching MLflow")
    module = "mlflow.store.tracking.sqlalchemy_store"
    make = f"from {module} import SqlAlchemyStore; SqlAlchemyStore('sqlite:///{database()}', '/tmp')"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    tools.run([python(), "-c", make], "making a database", folder=folder)
    (folder / _RECIPE).write_text(_recipe(), "utf-8")


def remove() -> None:
    """Remove its folder."""
    shutil.rmtree(state() / _FOLDER, ignore_errors=True)


def _recipe() -> str:
    return f"{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} {state()} {sys.version}"
