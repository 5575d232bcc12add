"""Rules for the targets on Slurm clusters that a schema can't express."""

from __future__ import annotations

import re

from amlexec.config.document import Mapping, Scalar, Sequence
from amlexec.config.generations import find
from amlexec.config.messages import shown
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check"]

_OURS = {
    "nodes": "nodeCount",
    "N": "nodeCount",
    "ntasks-per-node": "tasksPerNode",
    "cpus-per-task": "cpusPerTask",
    "c": "cpusPerTask",
    "partition": "partition",
    "p": "partition",
    "account": "account",
    "A": "account",
    "qos": "qos",
    "q": "qos",
    "time": "time",
    "t": "time",
    "mem": "memory",
    "gres": "gres",
    "constraint": "constraint",
    "C": "constraint",
    "requeue": "requeue",
    "no-requeue": "requeue",
}
"""Options that keys of the file set."""
_OF_RUNS = frozenset(
    [
        *("output", "o", "error", "e", "input", "i", "open-mode", "chdir", "D", "job-name", "J"),
        *("array", "a", "wrap", "parsable", "export", "export-file", "wait", "W", "test-only"),
        *("hold", "H", "quiet", "Q", "uid", "gid"),
    ]
)
"""Options that belong to amlexec, or with which a run could not be followed."""
_OPTION = re.compile(r"--([A-Za-z][\w-]*)|-([A-Za-z])")


def check(path: str, root: Mapping) -> Iterator[Violation]:
    """Errors in the further options of sbatch, and in what belongs together."""
    yield from _container(path, root)
    options = find(root, "sbatch")
    for index, item in enumerate(options.items if isinstance(options, Sequence) else []):
        match = _OPTION.match(item.text.strip()) if isinstance(item, Scalar) else None
        if match is None or not isinstance(item, Scalar):
            continue
        name = match[1] or match[2]
        key = f"sbatch[{index}]"
        what = f"{key} is {shown(item.text.strip())}"
        place = Place(path, item.line, item.column)
        if name in _OURS:
            yield Violation(
                place, "error", f"{what}, which has a key of its own", f"write {_OURS[name]}", key
            )
        elif name in _OF_RUNS:
            yield Violation(place, "error", f"{what}, which amlexec sets itself", "remove it", key)


def _container(path: str, root: Mapping) -> Iterator[Violation]:
    runtime, image = _text(root, "container"), _text(root, "containerImage")
    for key, other, example in (
        ("container", "containerImage", "containerImage: registry.example.org/iris:1"),
        ("containerImage", "container", "container: podman"),
    ):
        mine, missing = (runtime, image) if key == "container" else (image, runtime)
        if mine is not None and missing is None:
            place = Place(path, mine.line, mine.column)
            yield Violation(place, "error", f"{key} needs {other}", f"add {example}", key)
    if runtime is None or image is None:
        return
    managed = _text(root, "userManagedEnvironment")
    if managed is None or managed.text.strip().lower() != "true":
        place = Place(path, runtime.line, runtime.column)
        what = "container needs userManagedEnvironment: true: the image has the packages"
        yield Violation(place, "error", what, "add userManagedEnvironment: true", "container")
    if runtime.text.strip() == "enroot" and not re.fullmatch(r"/.*\.sqsh", image.text.strip()):
        place = Place(path, image.line, image.column)
        what = f"containerImage is {shown(image.text.strip())}; enroot starts the path of a .sqsh file"
        yield Violation(
            place, "error", what, "make one: enroot import -o FILE docker://IMAGE", "containerImage"
        )


def _text(root: Mapping, key: str) -> Scalar | None:
    value = find(root, key)
    return value if isinstance(value, Scalar) and value.text.strip() not in {"", "null", "~"} else None
