"""Scripts run with the files that travel into a run, under every interpreter of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amlexec

SITE = Path(amlexec.__file__).parent / "runtime" / "site"
TIMEOUT = 120


def interpreters() -> list[str]:
    """This one, and those that pyenv holds."""
    found = [sys.executable]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        for folder in sorted(Path(root, "versions").glob("3.*")):
            minor = re.match(r"3\.(\d+)", folder.name)
            python = folder / "bin" / "python"
            if minor and int(minor[1]) >= 5 and python.is_file():
                found.append(str(python))
    return found


every_interpreter = pytest.mark.parametrize("python", interpreters())


def environment(folder: Path | None, *python_path: Path) -> dict[str, str]:
    values = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, [SITE, *python_path])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if folder is not None:
        values |= {"AMLEXEC_RUN_FOLDER": str(folder), "AMLEXEC_RUN_ID": "project_1521077190506"}
    return values


def run(
    python: str, script: str, folder: Path | None, cwd: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `script` from a file, as a run does."""
    path = cwd / "train.py"
    path.write_text(script, encoding="utf-8")
    return subprocess.run(
        [python, "-W", "error", str(path), *arguments],
        cwd=cwd,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
