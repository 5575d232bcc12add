"""Arguments of spark-submit on a cluster, and the application in its log. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.values import ComputeTarget

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
    "program_of",
    "properties",
    "submit_of",
    "submitter",
    "tag_of",
    "tagged",
]

PROPERTIES = "../control/spark.conf"
"""Relative to the run's working directory: a private file with values that must not be on a command line."""
MODULES = "../control/modules.zip"
"""The Python modules of the project, for the executors."""
PROJECT = "../control/project.tar.gz"
"""The project, for a driver that does not run on the head node."""
EXECUTORS = "../control/executors.tar.gz"
"""Makes the Pythons of executors report themselves."""
SHIPPED_PYTHON = "./environment/bin/python"
_TAGS = "spark.yarn.tags"
_ATTEMPTS = "spark.yarn.maxAppAttempts"
_RETURN = "spark.yarn.appMasterEnv.AMLEXEC_SPARK_RETURN"
_YARN_ID = re.compile(r"\bapplication_\d+_\d{4,}\b")
_STANDALONE_ID = re.compile(r"\bConnected to Spark cluster with app ID (\S+)")
_TRACKING = re.compile(
    r"\b(?:tracking URL:|SparkUI available at|Bound SparkUI to .* started at) (https?://\S+)"
)


class Shipped(NamedTuple):
    """A conda environment on the head node, as an archive for the executors."""

    archive: str = ""
    """Path of the archive on the head node; "" if the user manages the environments of all machines."""


def mode(target: ComputeTarget) -> str:
    """The deploy mode: `cluster` if the driver runs on a node that YARN chooses, `client` on the head node.

    https://spark.apache.org/docs/latest/submitting-applications.html: "the standalone mode does not support
    cluster mode for Python applications".
    """
    return target.yarn_deploy_mode if target.master == "yarn" else "client"


def options(
    target: ComputeTarget, variables: Iterable[tuple[str, str]], python: str, shipped: Shipped
) -> list[str]:
    """The options for master, archives and variables; `python` is the head node's.

    `variables` are the run configuration's; those whose names look secret are left to `properties`.
    """
    where = mode(target)
    words = ["--master", target.master, "--deploy-mode", where]
    archives = [f"{PROJECT}#project"] if where == "cluster" else []
    if _is_shipped(target, shipped):
        archives += [f"{shipped.archive}#environment", f"{EXECUTORS}#amlexec"]
        python = SHIPPED_PYTHON
    if archives:
        words += ["--archives", ",".join(archives)]
    if where == "cluster":
        # The driver does not inherit the environment of spark-submit.
        words += _conf("spark.yarn.appMasterEnv.PYSPARK_PYTHON", python)
        words += _conf("spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON", python)
    for name, value in variables:
        if not is_secret(name):
            for key in _keys(target, name):
                words += _conf(key, value)
    return words


def tagged(target: ComputeTarget, settings: Iterable[tuple[str, str]]) -> list[str]:
    """The options with a unique tag, by which this application can be found in YARN.

    A driver on a node gets it too, as the name of the results that it sends back. YARN would run a script
    that failed once more, with half of its results already written: only if the user says so.
    """
    import uuid

    settings = list(settings)
    own = [value for key, value in settings if key == _TAGS and value]
    tag = f"amlexec-{uuid.uuid4().hex[:16]}"
    returned = _conf(_RETURN, tag) if mode(target) == "cluster" else []
    if mode(target) == "cluster" and all(key != _ATTEMPTS for key, _ in settings):
        returned += _conf(_ATTEMPTS, "1")
    return [*returned, *_conf(_TAGS, ",".join([*own, tag]))]


def tag_of(argv: Iterable[str]) -> str:
    """That tag, from the arguments of a submitted application; "" if it has none."""
    lists = [word.partition("=")[2] for word in argv if word.startswith(f"{_TAGS}=")]
    return next((tag for tags in lists for tag in tags.split(",") if tag.startswith("amlexec-")), "")


def submitter(target: ComputeTarget, python: str, site: str, argv: Sequence[str]) -> list[str]:
    """The words before a command line of spark-submit, so that the head node stays with the application."""
    program = f"{site}/amlexec/yarn_start.py"
    return [python, "-I", "-S", program, mode(target), tag_of(argv)]


def program_of(argv: Sequence[str]) -> tuple[str, str]:
    """The program that stays with the application, and the deploy mode; "" without `submitter`'s words."""
    return (argv[3], argv[4]) if _is_stayed_with(argv) else ("", "")


def submit_of(argv: Sequence[str]) -> str:
    """The path of spark-submit in a command line, behind the words of `submitter` if it has them."""
    return argv[6] if _is_stayed_with(argv) else argv[0]


def _is_stayed_with(argv: Sequence[str]) -> bool:
    # The latter is that of earlier versions.
    return len(argv) > 6 and argv[3].endswith(("/yarn_start.py", "/yarn_submit.py"))


def executors_python(target: ComputeTarget, python: str, shipped: Shipped) -> str:
    """The program that executors start as Python; with an archive, a wrapper of the environment's Python."""
    return "./amlexec/python" if _is_shipped(target, shipped) else python


def drivers_python(target: ComputeTarget, python: str, shipped: Shipped) -> str:
    """The driver's Python: the environment's, on the head node or in the archive."""
    return SHIPPED_PYTHON if _is_shipped(target, shipped) and mode(target) == "cluster" else python


def _is_shipped(target: ComputeTarget, shipped: Shipped) -> bool:
    return bool(shipped.archive) and not target.master.startswith("local")


def expected(version: str) -> str:
    """The Python that an executor with the archive should have: see `runtime/site/sitecustomize.py`."""
    return f"{version}:{SHIPPED_PYTHON.removesuffix('/bin/python')}"


def asked(wanted: str) -> list[str]:
    """The option that tells a driver on a node the prepared Python, or to report its own."""
    return _conf("spark.yarn.appMasterEnv.AMLEXEC_PYTHON", wanted)


def _conf(key: str, value: str) -> list[str]:
    return ["--conf", f"{key}={value}"]


def _keys(target: ComputeTarget, name: str) -> list[str]:
    in_driver = [f"spark.yarn.appMasterEnv.{name}"] if mode(target) == "cluster" else []
    return [f"spark.executorEnv.{name}", *in_driver]


def properties(
    target: ComputeTarget, variables: Iterable[tuple[str, str]], settings: Iterable[tuple[str, str]]
) -> str:
    """The text of a properties file for values that must not be on a command line; "" if there are none.

    The format: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Properties.html.
    """
    pairs = [(key, value) for name, value in variables if is_secret(name) for key in _keys(target, name)]
    pairs += [(key, value) for key, value in settings if is_secret(key.replace(".", "_"))]
    return "".join(f"{_escaped(key)}={_escaped(value)}\n" for key, value in pairs)


def _escaped(text: str) -> str:
    special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", " ": "\\ "}
    special |= {char: f"\\{char}" for char in "=:#!"}
    return "".join(
        special.get(char, char) if ord(char) < 127 else _utf16(char)  # the encoding depends on the Spark
        for char in text
    )


def _utf16(letter: str) -> str:
    pairs = letter.encode("utf-16-be")
    return "".join(f"\\u{pairs[at]:02x}{pairs[at + 1]:02x}" for at in range(0, len(pairs), 2))


def application(log: str) -> tuple[str, str]:
    """Id and tracking address of the application in a log of spark-submit; "" if they are not in it."""
    match = _YARN_ID.search(log) or _STANDALONE_ID.search(log)
    application_id = (match[match.lastindex or 0]) if match else ""
    address = _TRACKING.search(log)
    return application_id, address[1] if address else ""
