"""Whether the files of a model can be loaded by a Python: what made them, and what their pickles need.

No pickle is loaded: its instructions are only listed.
"""

from __future__ import annotations

import pickletools
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from amlexec.models.listing import Model

__all__ = ["Mismatch", "Needs", "mismatches", "needs_of"]

_READ = 8 << 20
"""Bytes at the beginning of a file; arrays follow the instructions that name modules."""
_MOST_FILES = 50
_FIRST_PYTHON = {3: (3, 0), 4: (3, 4), 5: (3, 8)}
"""The first Python that can load a protocol of pickle."""
_PROTOCOL = re.compile(rb"\x80[\x02-\xff]")
_OF_ONE_PYTHON = frozenset({"cloudpickle.cloudpickle", "cloudpickle", "dill._dill", "dill"})
"""Modules that load bytecode, which only the Python that wrote it can execute."""
_STRINGS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})


class Needs(NamedTuple):
    """What a pickle needs."""

    python: tuple[int, int]
    """The first Python that can load it."""
    modules: tuple[str, ...]
    """The modules of its classes and functions, sorted."""


class Mismatch(NamedTuple):
    """Why a model may not work in an environment."""

    problem: str
    """A sentence without a full stop."""
    is_certain: bool
    """False if it may work nevertheless: other versions of packages often read old files."""


def mismatches(
    model: Model, folder: Path, python: str, packages: Mapping[str, str] | None = None
) -> list[Mismatch]:
    """What is wrong with an environment for a model, the certain problems first.

    Args:
        model: the version.
        folder: its files, as `Registry.fetch` returns them.
        python: the version of Python that is to load it, such as `3.12.1`.
        packages: the versions of the packages there, by name; those of pip as `pip.NAME`. None if unknown.
    """
    found = []
    wanted = _minor(python)
    for file in model.version.content.files[:_MOST_FILES]:
        needs = needs_of(folder / file.path)
        if needs is None or wanted is None:
            continue
        if wanted < needs.python:
            first = ".".join(map(str, needs.python))
            found.append(
                Mismatch(f"{file.path} is a pickle for Python {first} and later, not {python}", True)
            )
        elif _OF_ONE_PYTHON & set(needs.modules) and _minor(model.version.origin.python) not in {
            None,
            wanted,
        }:
            made = model.version.origin.python
            found.append(
                Mismatch(
                    f"{file.path} contains bytecode of Python {made}, which {python} can't execute", True
                )
            )
        if packages is not None:
            found += [
                Mismatch(f"{file.path} needs the module {module}, which no package has", True)
                for module in _absent(needs, model, packages)
            ]
    made = model.version.origin.python
    if made is not None and wanted is not None and _minor(made) != wanted and not found:
        found.append(Mismatch(f"{model.id} was made with Python {made}, and this is {python}", False))
    found += _drift(model, packages)
    return sorted(found, key=lambda each: not each.is_certain)


def needs_of(path: Path) -> Needs | None:
    """What a pickle needs; None if the file is no pickle, or can't be read."""
    try:
        with open_regular(path, follow=False) as file:
            data = file.read(_READ)
    except OSError:
        return None
    if not _PROTOCOL.match(data) or data[1] not in {2, *_FIRST_PYTHON}:
        return None
    modules: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _STRINGS:
                strings = [*strings[-1:], str(argument)]
            elif opcode.name == "GLOBAL":
                modules.add(str(argument).partition(" ")[0])
            elif opcode.name == "STACK_GLOBAL" and len(strings) == 2:
                modules.add(strings[0])
    except ValueError:  # cut off, or followed by the raw bytes of arrays, as joblib writes them
        pass
    return Needs(_FIRST_PYTHON.get(data[1], (3, 0)), tuple(sorted(modules)))


def _minor(python: str | None) -> tuple[int, int] | None:
    match = re.match(r"(\d+)\.(\d+)", python or "")
    return match and (int(match[1]), int(match[2]))


def _absent(needs: Needs, model: Model, packages: Mapping[str, str]) -> list[str]:
    """Modules whose package the model's own environment had under that name, and this one has not."""
    before, now = _plain(model.version.origin.packages or {}), _plain(packages)
    tops = {module.partition(".")[0] for module in needs.modules}
    found = []
    for top in sorted(tops):
        names = {_normalized(name) for name in (top, _PACKAGES.get(top, top))}
        if names & before.keys() and not names & now.keys():
            found.append(top)
    return found


_PACKAGES = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "torch": "pytorch",
}


def _drift(model: Model, packages: Mapping[str, str] | None) -> list[Mismatch]:
    before, now = _plain(model.version.origin.packages or {}), _plain(packages or {})
    return [
        Mismatch(f"{name} was {version} when {model.id} was made, and is {now[name]} here", False)
        for name, version in sorted(before.items())
        if name in now and now[name] != version and name != "python"
    ]


def _plain(packages: Mapping[str, str]) -> dict[str, str]:
    return {_normalized(name.removeprefix("pip.")): version for name, version in packages.items()}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
