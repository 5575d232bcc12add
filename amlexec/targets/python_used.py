"""What a run says from inside of its Python: asked for by variables, read from the files that came of it.

The other half is `runtime/site/sitecustomize.py`. What was prepared is held against it there, before the
script's first line; here it becomes part of the record. Both files come from a target: nothing in them is
believed before its form is checked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.files import open_regular
from amlexec.history.record import Interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.record import Run
    from amlexec.model import Plan
    from amlexec.targets.target import Launch

__all__ = ["FILES", "Seen", "asked", "expected", "read", "recorded", "wanted"]

FILES = ("python.json", "executors.jsonl")
"""What a run writes into its folder: of the script's Python, and a line for each that an executor started."""
_MOST_BYTES = 1 << 16
"""More than a hundred executors write; the first ones show which Pythons there are."""
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}")
_LONGEST_PATH = 4096


class Seen(NamedTuple):
    """What the files of a run say."""

    python: Interpreter | None
    """The script's; None where it could not be read."""
    executors: tuple[Interpreter, ...]
    """Of the executors, those that differ."""
    another: Interpreter | None
    """The first that was not the prepared one: it has ended before it did anything."""


def expected(version: str, python: str) -> str:
    """VERSION:PREFIX of the prepared environment whose Python has the path `python`; `:` for "" """
    return f"{version}:{python.removesuffix('/bin/python')}" if python else ":"


def wanted(launch: Launch, plan: Plan) -> str:
    """VERSION:PREFIX:SCRIPT of the script's Python; both empty where the user manages the environment."""
    is_ours = launch.digest and not launch.is_as_declared
    return f"{expected(launch.python.version, launch.python.path if is_ours else '')}:{plan.script_argument}"


def asked(launch: Launch, plan: Plan) -> Launch:
    """The same launch, in which each Python that counts says which it is."""
    environment = {**launch.environment, "AMLEXEC_PYTHON": wanted(launch, plan)}
    environment.pop("AMLEXEC_EXECUTORS", None)
    if launch.executors:
        environment["AMLEXEC_EXECUTORS"] = launch.executors
    return launch._replace(environment=environment)


def read(folder: Path) -> Seen:
    """What is in the files; no more than what could be read, and is as it should be."""
    told = [[one for one in map(_interpreter, _lines(folder / name)) if one] for name in FILES]
    another = [python for python, is_wanted in (*told[0], *told[1]) if not is_wanted]
    return Seen(
        told[0][0][0] if told[0] else None,
        tuple(dict.fromkeys(python for python, _ in told[1])),
        another[0] if another else None,
    )


def _lines(path: Path) -> list[str]:
    """The first lines of a file; none where it is not a regular one, or can't be read."""
    try:
        with open_regular(path, follow=False) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return []  # the record says that it was not read: its prefix is null
    return data.decode("ascii", "replace").split("\n")


def _interpreter(line: str) -> tuple[Interpreter, bool] | None:
    """A line of the files, and whether it is the wanted Python; None where it is something else."""
    try:
        told = json.loads(line)
        path, version, prefix, is_wanted = (told[key] for key in ("path", "version", "prefix", "wanted"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = isinstance(path, str) and isinstance(version, str) and isinstance(prefix, str)
    if not texts or not isinstance(is_wanted, bool) or not _VERSION.fullmatch(version):
        return None
    if max(len(path), len(prefix)) > _LONGEST_PATH:
        return None
    return Interpreter(path, version, prefix), is_wanted


def recorded(run: Run, folder: Path) -> Run:
    """The record of a run that is over, with what it has said of its Pythons."""
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
