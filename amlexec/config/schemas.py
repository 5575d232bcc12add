"""The JSON Schemas, one per file kind: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

import os
import re

from amlexec.errors import TargetError

__all__ = [
    "COMPUTE",
    "CONDA",
    "KINDS",
    "RUNCONFIG",
    "SPARK",
    "compute_pattern",
    "is_run_configuration",
    "kind_by_name",
    "path",
    "run_configuration_files",
    "text",
]

COMPUTE = "compute"
RUNCONFIG = "runconfig"
CONDA = "conda_dependencies"
SPARK = "spark_dependencies"
KINDS = (COMPUTE, RUNCONFIG, CONDA, SPARK)
_SUFFIXES = {".compute": COMPUTE, ".runconfig": RUNCONFIG}


def kind_by_name(path: str) -> str:
    """The file kind by the file's name, or ""."""
    stem, dot, end = os.path.basename(path).casefold().rpartition(".")  # noqa: PTH119
    suffix = dot + end
    if suffix in _SUFFIXES and stem:
        return _SUFFIXES[suffix]
    if suffix in {".yml", ".yaml"}:
        return CONDA if "conda" in stem else SPARK if "spark" in stem else ""
    in_azureml = os.path.basename(os.path.dirname(path)) == ".azureml"  # noqa: PTH119, PTH120
    return RUNCONFIG if in_azureml and is_run_configuration(path) else ""


_LARGEST = 1 << 20
_MARKS = rb"""^[ \t{]*["']?(script|target|framework|Target|ArgumentVector)["']?[ \t]*:"""


def is_run_configuration(path: str) -> bool:
    """Whether a file without a suffix is a run configuration, as azureml-core wrote into .azureml/."""
    from amlexec.files import open_regular

    if "." in os.path.basename(path):  # noqa: PTH119
        return False
    try:
        with open_regular(path, limit=_LARGEST) as file:
            return re.search(_MARKS, file.read(), re.MULTILINE) is not None
    except OSError:
        return False


def run_configuration_files(folder: str) -> dict[str, str]:
    """The run configurations in a folder of declarations: name -> file name. Raises OSError."""
    found = {}
    for file in sorted(os.listdir(folder)):  # noqa: PTH208
        if file.endswith(".runconfig") and file != ".runconfig":
            found[file[: -len(".runconfig")]] = file
        elif os.path.basename(folder) == ".azureml" and is_run_configuration(f"{folder}/{file}"):  # noqa: PTH119
            found.setdefault(file, file)
    return found


def path(kind: str) -> str:
    """The schema's file, absolute.

    Raises:
        TargetError: the installation is incomplete.
    """
    # pathlib would cost a run 3 ms
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    for folder in (package, os.path.dirname(package)):  # noqa: PTH120
        file = f"{folder}/schemas/{kind}.schema.json"
        if os.path.isfile(file):  # noqa: PTH113
            return file
    raise TargetError(f"the schema of {kind} files is missing", hint="install amlexec again", where=package)


def text(kind: str) -> bytes:
    """The text of a file kind's schema.

    Raises:
        TargetError: the installation is incomplete.
    """
    with open(path(kind), "rb") as file:  # noqa: PTH123
        return file.read()


def compute_pattern(key: str) -> str:
    """The form of a key's value in `.compute` files, a regular expression."""
    import json

    return str(json.loads(text(COMPUTE))["properties"][key].get("pattern", ""))
