"""Modules need each other in one direction, imports in functions and for annotations counted."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAVELS = ROOT / "amlexec" / "runtime" / "site"
"""What goes into a run: a tree of its own, for other Pythons."""


def modules() -> dict[str, Path]:
    """The product's modules by their names."""
    found = {}
    for path in sorted((ROOT / "amlexec").rglob("*.py")):
        if not path.is_relative_to(TRAVELS):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, names: set[str]) -> set[str]:
    """Those of `names` that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                found.add(inner if inner in names else node.module)
    return found & names


def test_there_is_no_circle() -> None:
    known = modules()
    assert len(known) > 100
    graph = {name: imported(path, set(known)) - {name} for name, path in known.items()}
    assert "amlexec.targets.docker" in graph["amlexec.targets.registry"]
    # Raises CycleError with the modules of a circle.
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) == len(known)
