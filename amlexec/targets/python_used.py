"""The Pythons that a run really used: requested with variables, and read from files that the run writes.

The other half is `runtime/site/sitecustomize.py`, which compares them with the prepared Python before the
script's first line; here they become part of the record. The files come from a target, so their form is
checked.
"""

from __future__ import annotations

import json

from amlexec.files import open_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.record import Run
    from amlexec.targets.target import Launch
    from amlexec.values import Plan

__all__ = ["FILES", "PythonsUsed", "asked", "expected", "read", "recorded", "wanted"]

FILES = ("python.json", "executors.jsonl", "packages.txt")
"""Files in the run's folder: the script's Python, a line for each executor's Python, and the packages of a
Python that the user manages."""
_MOST_BYTES = 1 << 16
"""Bytes; enough for more than a hundred executors."""
_LONGEST_PATH = 4096


class PythonsUsed(NamedTuple):
    """The content of a run's files."""

    python: Interpreter | None
    """The script's; None if it could not be read."""
    executors: tuple[Interpreter, ...]
    """The executors' Pythons, without duplicates."""
    another: Interpreter | None
    """The first that was not the prepared one, and therefore ended at once."""


def expected(version: str, python: str) -> str:
    """VERSION:PREFIX of the prepared environment whose Python has the path `python`; `:` for "" """
    return f"{version}:{python.removesuffix('/bin/python')}" if python else ":"


def wanted(launch: Launch, plan: Plan) -> str:
    """VERSION:PREFIX:SCRIPT of the script's Python; VERSION and PREFIX are "" if the user manages it."""
    is_ours = launch.digest and not launch.is_as_declared
    return f"{expected(launch.python.version, launch.python.path if is_ours else '')}:{plan.script_argument}"


def asked(launch: Launch, plan: Plan) -> Launch:
    """The launch with the variables that make its Pythons report themselves."""
    environment = {**launch.environment, "AMLEXEC_PYTHON": wanted(launch, plan)}
    environment.pop("AMLEXEC_EXECUTORS", None)
    if launch.executors:
        environment["AMLEXEC_EXECUTORS"] = launch.executors
    return launch._replace(environment=environment)


def read(folder: Path) -> PythonsUsed:
    """Read the files; lines of another form are left out."""
    script, executors = (
        [found for found in map(_interpreter, _lines(folder / name)) if found] for name in FILES[:2]
    )
    another = [python for python, is_wanted in (*script, *executors) if not is_wanted]
    return PythonsUsed(
        script[0][0] if script else None,
        tuple(dict.fromkeys(python for python, _ in executors)),
        another[0] if another else None,
    )


def _lines(path: Path) -> list[str]:
    """The first lines of a file; none if it is not a regular file or can't be read."""
    try:
        with open_regular(path, follow=False) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return []  # the record then has a null prefix
    return data.decode("ascii", "replace").split("\n")


def _interpreter(line: str) -> tuple[Interpreter, bool] | None:
    """Parse a line of the files, with whether it is the expected Python; None if it has another form."""
    try:
        entry = json.loads(line)
        path, version, prefix, is_wanted = (entry[key] for key in ("path", "version", "prefix", "wanted"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = isinstance(path, str) and isinstance(version, str) and isinstance(prefix, str)
    if not texts or not isinstance(is_wanted, bool) or not _is_version(version):
        return None
    if max(len(path), len(prefix)) > _LONGEST_PATH:
        return None
    return Interpreter(path, version, prefix), is_wanted


def _is_version(text: str) -> bool:
    """Whether it is three numbers. Without a pattern, which would be compiled before or after the script."""
    parts = text.split(".")
    return len(parts) == 3 and all(len(part) <= 4 and part.isascii() and part.isdecimal() for part in parts)


def recorded(run: Run, folder: Path) -> Run:
    """The record of a finished run, with the Pythons that it used."""
    seen = read(folder)
    if seen.another is not None and run.status == "Failed":
        found = seen.another
        which = "an executor's" if found in seen.executors else "its"
        what = f"{found.path} ({found.version}, in {found.prefix})"
        reason = f"{which} Python was not the prepared one, but {what}"
        run = run._replace(reason=reason)
        if found == seen.python:
            run = run._replace(reason=f"the script did not begin: {reason}", exit_code=None)
    if seen.python is not None:
        run = run._replace(python=seen.python)
    return run._replace(executors=seen.executors) if seen.executors else run
