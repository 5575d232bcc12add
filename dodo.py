"""The work on amlexec itself: `doit list` shows it, `doit test` is what CI runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tests.engines.tasks import task_engines  # noqa: F401 - a task of ours too

HERE = Path(__file__).parent
DOIT_CONFIG = {"default_tasks": ["lint", "type"], "verbosity": 2}
PYTHON = sys.executable
CODE = ["amlexec", "tests", "benchmarks", "docs", "examples", "dodo.py"]


def task_lint() -> dict[str, Any]:
    """ruff: rules and layout"""
    return {
        "actions": [
            [PYTHON, "-m", "ruff", "check", *CODE],
            [PYTHON, "-m", "ruff", "format", "--check", *CODE],
        ]
    }


def task_type() -> dict[str, Any]:
    """mypy --strict"""
    return {"actions": [[PYTHON, "-m", "mypy"]]}


def task_test() -> dict[str, Any]:
    """the whole test suite, on every processor"""
    # Most tests wait for something most of the time.
    workers = str((os.cpu_count() or 1) + 1)
    return {
        "actions": [[PYTHON, "-m", "pytest", "-q", "-n", workers, "--dist", "worksteal"]],
        "task_dep": ["engines"],
    }


def task_docs() -> dict[str, Any]:
    """write the generated part of the reference"""
    return {"actions": [[PYTHON, "docs/generate.py"]]}


def task_bench() -> dict[str, Any]:
    """measure amlexec beside its peers: medians of pairs (pip install -e '.[bench]' first)"""
    return {"actions": [[PYTHON, "-m", "benchmarks"]]}
