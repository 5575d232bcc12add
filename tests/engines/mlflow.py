"""MLflow from PyPI in a folder of its own, with an empty database. Left out is what no test touches.

It is the whole package, for its server. What else it needs is for machine learning, most of the bytes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import recipe_folder, tools
from .places import state

__all__ = ["database", "is_there", "python", "ready", "remove", "site_packages"]

VERSION = "3.17.2"
_NEWEST = "2026-11-29"
"""Of what it needs: later versions are not taken."""
_LEFT_OUT = ("pyarrow", "scipy", "scikit-learn", "matplotlib", "skops", "docker", "gunicorn", "huey")


def python() -> str:
    """The path of the Python with MLflow."""
    return str(_folder() / "bin/python")


def site_packages() -> str:
    """The folder with MLflow, for a `sys.path` of the same Python."""
    (found,) = _folder().glob("lib/python*/site-packages")
    return str(found)


def database() -> Path:
    """An empty database of this version: making one takes ten seconds."""
    return _folder() / "empty.db"


def is_there() -> bool:
    """Whether it is there, made by this recipe for this Python."""
    return recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Fetch it anew. Raises ToolError."""
    print(f"fetching MLflow {VERSION}")
    with recipe_folder.filled(_folder(), _recipe) as folder:
        _fill(folder)


def _fill(folder: Path) -> None:
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


def remove() -> None:
    """Remove its folder."""
    recipe_folder.remove(_folder())


def _folder() -> Path:
    return state() / "mlflow"


def _recipe() -> str:
    return recipe_folder.recipe(__file__, more=f"{state()} {sys.version}")
