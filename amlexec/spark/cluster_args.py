"""What spark-submit is told on a cluster, and what its log says of the application: values alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.model import ComputeTarget

__all__ = [
    "EXECUTORS",
    "MODULES",
    "PROJECT",
    "PROPERTIES",
    "SHIPPED_PYTHON",
    "Shipped",
    "application",
    "asked",
    "drivers_python",
    "executors_python",
    "expected",
    "mode",
    "options",
    "properties",
    "returned_as",
    "tag_of",
    "tagged",
]

PROPERTIES = "../control/spark.conf"
"""Seen from where a run executes: a file of the user's alone, with what must not be on a command line."""
MODULES = "../control/modules.zip"
"""The Python modules of the project, for the executors."""
PROJECT = "../control/project.tar.gz"
"""The project, for a driver that does not run on the head node."""
EXECUTORS = "../control/executors.tar.gz"
"""What lets the Pythons of executors say which they are."""
SHIPPED_PYTHON = "./environment/bin/python"
_TAGS = "spark.yarn.tags"
_RETURN = "spark.yarn.appMasterEnv.AMLEXEC_SPARK_RETURN"
_YARN_ID = re.compile(r"\bapplication_\d+_\d{4,}\b")
_STANDALONE_ID = re.compile(r"\bConnected to Spark cluster with app ID (\S+)")
_TRACKING = re.compile(
    r"\b(?:tracking URL:|SparkUI available at|Bound SparkUI to .* started at) (https?://\S+)"
)


class Shipped(NamedTuple):
    """A conda environment on the head node, and as what it goes to the executors."""

    archive: str = ""
    """Path of the archive on the head node; "" where the user manages the environment of all machines."""


def mode(target: ComputeTarget) -> str:
    """`cluster` where the driver runs on a node that YARN chooses, else `client`: on the head node.

    https://spark.apache.org/docs/latest/submitting-applications.html: "the standalone mode does not support
    cluster mode for Python applications".
    """
    return target.yarn_deploy_mode if target.master == "yarn" else "client"


def options(
    target: ComputeTarget, variables: Iterable[tuple[str, str]], python: str, shipped: Shipped
) -> list[str]:
    """The options that say where; `variables` are the run configuration's, `python` is the head node's.

    Variables whose names look secret are not among them: `properties` has those.
    """
    where = mode(target)
    told = ["--master", target.master, "--deploy-mode", where]
    archives = [f"{PROJECT}#project"] if where == "cluster" else []
    if _is_shipped(target, shipped):
        archives += [f"{shipped.archive}#environment", f"{EXECUTORS}#amlexec"]
        python = SHIPPED_PYTHON
    if archives:
        told += ["--archives", ",".join(archives)]
    if where == "cluster":
        # The driver's own environment is not that of spark-submit.
        told += _conf("spark.yarn.appMasterEnv.PYSPARK_PYTHON", python)
        told += _conf("spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON", python)
    for name, value in variables:
        if not is_secret(name):
            for key in _keys(target, name):
                told += _conf(key, value)
    return told


def tagged(target: ComputeTarget, settings: Iterable[tuple[str, str]]) -> list[str]:
    """The options with a tag that no other application of YARN has, by which this one can be found.

    A driver on a node is told it too: what came of the run has that name then.
    """
    import uuid

    own = [value for key, value in settings if key == _TAGS and value]
    tag = f"amlexec-{uuid.uuid4().hex[:16]}"
    returned = _conf(_RETURN, tag) if mode(target) == "cluster" else []
    return [*returned, *_conf(_TAGS, ",".join([*own, tag]))]


def tag_of(argv: Iterable[str]) -> str:
    """That tag, from the arguments that an application was submitted with; "" where there is none."""
    lists = [one.partition("=")[2] for one in argv if one.startswith(f"{_TAGS}=")]
    return next((tag for one in lists for tag in one.split(",") if tag.startswith("amlexec-")), "")


def returned_as(argv: Iterable[str]) -> str:
    """The name of what a driver on a node sends home; "" of one that runs on the head node."""
    return next((one.partition("=")[2] for one in argv if one.startswith(f"{_RETURN}=")), "")


def executors_python(target: ComputeTarget, python: str, shipped: Shipped) -> str:
    """What executors start as their Python: in an archive, what becomes that of the environment."""
    return "./amlexec/python" if _is_shipped(target, shipped) else python


def drivers_python(target: ComputeTarget, python: str, shipped: Shipped) -> str:
    """What the driver runs: the environment's Python, on the head node or in the archive."""
    return SHIPPED_PYTHON if _is_shipped(target, shipped) and mode(target) == "cluster" else python


def _is_shipped(target: ComputeTarget, shipped: Shipped) -> bool:
    return bool(shipped.archive) and not target.master.startswith("local")


def expected(version: str) -> str:
    """What an executor that has the archive holds its Python against: see `runtime/site/sitecustomize.py`."""
    return f"{version}:{SHIPPED_PYTHON.removesuffix('/bin/python')}"


def asked(wanted: str) -> list[str]:
    """The option with which a driver on a node is told which Python was prepared, or that it is to say."""
    return _conf("spark.yarn.appMasterEnv.AMLEXEC_PYTHON", wanted)


def _conf(key: str, value: str) -> list[str]:
    return ["--conf", f"{key}={value}"]


def _keys(target: ComputeTarget, name: str) -> list[str]:
    in_driver = [f"spark.yarn.appMasterEnv.{name}"] if mode(target) == "cluster" else []
    return [f"spark.executorEnv.{name}", *in_driver]


def properties(
    target: ComputeTarget, variables: Iterable[tuple[str, str]], settings: Iterable[tuple[str, str]]
) -> str:
    """The text of a properties file for what must not be on a command line, "" if there is nothing.

    The format: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Properties.html.
    """
    told = [(key, value) for name, value in variables if is_secret(name) for key in _keys(target, name)]
    told += [(key, value) for key, value in settings if is_secret(key.replace(".", "_"))]
    return "".join(f"{_escaped(key)}={_escaped(value)}\n" for key, value in told)


def _escaped(text: str) -> str:
    special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", " ": "\\ "}
    special |= {one: f"\\{one}" for one in "=:#!"}
    return "".join(
        special.get(one, one) if ord(one) < 127 else _utf16(one)  # the file's encoding depends on the Spark
        for one in text
    )


def _utf16(letter: str) -> str:
    pairs = letter.encode("utf-16-be")
    return "".join(f"\\u{pairs[at]:02x}{pairs[at + 1]:02x}" for at in range(0, len(pairs), 2))


def application(log: str) -> tuple[str, str]:
    """Id and tracking address of the application that a log is of; "" where spark-submit didn't tell."""
    known = _YARN_ID.search(log) or _STANDALONE_ID.search(log)
    found = (known[known.lastindex or 0]) if known else ""
    address = _TRACKING.search(log)
    return found, address[1] if address else ""
