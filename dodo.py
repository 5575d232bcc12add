"""The work on amlexec itself: `doit list` shows it, `doit test` is what CI runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines.tasks import task_engines  # noqa: F401 - a task of ours too

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
# Half of the time that the engines of the tests take to make is waiting for downloads.
DOIT_CONFIG = {"default_tasks": ["lint", "type"], "verbosity": 2, "num_process": 2, "par_type": "thread"}
PYTHON = sys.executable
CODE = ["amlexec", "tests", "benchmarks", "docs", "examples", "dodo.py"]
CONSTRAINTS = "tests/constraints.txt"
"""The versions that the README's test command installs, so that it passes unchanged next year."""
# Many tests wait for something.
SUITE = ["-m", "pytest", "-q", "-n", str((os.cpu_count() or 1) + 2), "--dist", "loadfile"]
SUITE += ["--no-loadscope-reorder"]  # tests/support/distribution.py has put the longest first


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
    return {"actions": [[PYTHON, *SUITE]], "task_dep": ["engines"]}


def task_crash() -> dict[str, Any]:
    """crash commands at every durable step, in six ways, and print how many were tried"""
    counts = HERE / ".amlexec-test" / "crash.txt"
    variables = ["AMLEXEC_TEST_CRASH=all", f"AMLEXEC_TEST_CRASH_COUNTS={counts}"]
    return {
        "actions": [
            ["rm", "-f", str(counts), f"{counts}.points"],
            ["env", *variables, PYTHON, "-m", "pytest", "-q", "-n", str(os.cpu_count() or 1), "tests/crash"],
            ["sort", str(counts)],
        ],
        "task_dep": ["engines"],
    }


def task_constraints() -> dict[str, Any]:
    """write tests/constraints.txt again: the newest versions of today, for every Python"""
    uv = ["-m", "uv", "pip", "compile", "--universal", "--upgrade", "--python-version", "3.10", "--quiet"]
    told = ["--extra", "test", "--no-annotate", "--no-header", "--output-file", CONSTRAINTS, "pyproject.toml"]
    return {"actions": [[PYTHON, *uv, *told]], "verbosity": 1}


def task_newest() -> Iterator[dict[str, Any]]:
    """the suite with the newest versions that the ranges of pyproject.toml allow"""
    yield from _with_versions("newest", "highest")


def task_lowest() -> Iterator[dict[str, Any]]:
    """the suite with the lowest versions that the ranges of pyproject.toml allow"""
    yield from _with_versions("lowest", "lowest-direct")


def _with_versions(name: str, resolution: str) -> Iterator[dict[str, Any]]:
    folder = HERE / ".amlexec-test" / name
    python = str(folder / "bin" / "python")
    install = ["-m", "uv", "pip", "install", "--quiet", "--python", python, "--resolution", resolution]
    yield {
        "name": "install",
        "actions": [
            [PYTHON, "-m", "uv", "venv", "--quiet", "--seed", "--clear", "--python", PYTHON, str(folder)],
            [PYTHON, *install, "--upgrade", "--editable", ".[test]"],
        ],
        "task_dep": ["engines"],  # which makes that folder, and says that it is not part of the repository
    }
    yield {
        "name": "test",
        # Not forked: each command has to import from what is installed there.
        "actions": [["env", "AMLEXEC_TEST_FRESH=1", python, *SUITE]],
        "task_dep": [f"{name}:install"],
    }


def task_docs() -> dict[str, Any]:
    """write the generated part of the reference, and draw the task graph"""
    return {"actions": [[PYTHON, "docs/generate.py"], [PYTHON, "docs/draw_graph.py"]]}


def task_bench() -> dict[str, Any]:
    """measure amlexec beside its peers: medians of pairs (pip install -e '.[bench]' first)"""
    return {"actions": [[PYTHON, "-m", "benchmarks"]]}
