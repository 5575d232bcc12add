"""Where the JSON Schemas are, one per file kind: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

import os

from amlexec.errors import TargetError

__all__ = ["COMPUTE", "CONDA", "KINDS", "RUNCONFIG", "SPARK", "kind_by_name", "path", "text"]

COMPUTE = "compute"
RUNCONFIG = "runconfig"
CONDA = "conda_dependencies"
SPARK = "spark_dependencies"
KINDS = (COMPUTE, RUNCONFIG, CONDA, SPARK)
_SUFFIXES = {".compute": COMPUTE, ".runconfig": RUNCONFIG}


def kind_by_name(path: str) -> str:
    """The file kind that a file's name says, or ""."""
    stem, dot, end = os.path.basename(path).casefold().rpartition(".")  # noqa: PTH119
    suffix = dot + end
    if suffix in _SUFFIXES and stem:
        return _SUFFIXES[suffix]
    if suffix in {".yml", ".yaml"}:
        return CONDA if "conda" in stem else SPARK if "spark" in stem else ""
    return ""


def path(kind: str) -> str:
    """The schema's file, absolute.

    Raises:
        TargetError: the installation is incomplete.
    """
    package = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs a run 3 ms
    for folder in (package, os.path.dirname(package)):  # noqa: PTH120
        file = f"{folder}/schemas/{kind}.schema.json"
        if os.path.isfile(file):  # noqa: PTH113
            return file
    raise TargetError(f"the schema of {kind} files is not there", hint="install amlexec again", where=package)


def text(kind: str) -> bytes:
    """The schema of a file kind, as it is on disk.

    Raises:
        TargetError: the installation is incomplete.
    """
    with open(path(kind), "rb") as file:  # noqa: PTH123
        return file.read()
