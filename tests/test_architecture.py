"""Modules and folders import in one direction, including imports in functions and for annotations."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

from amlexec.kinds import KINDS

ROOT = Path(__file__).parents[1]
TRAVELS = ROOT / "amlexec" / "runtime" / "site"
"""What goes into a run: a tree of its own, for other Pythons."""

FLOORS = (
    {
        *("__main__", "cli", "completion", "model", "tasks"),
        *("doit_command", "doit_dumpdb", "doit_environment", "doit_graph", "doit_reporter", "doit_signals"),
        *("doit_service", "doit_sweep"),
    },
    {"commands"},
    {"gc"},
    {"sweeps"},
    {"exports", "machines", "report", "runs", "scaffold", "services"},
    {"targets"},
    {"prepare"},
    {"images", "models", "prefixes"},
    {"environments"},
    {"config", "plan"},
    {"azure", "docker", "kubernetes"},
    {"ssh"},
    {"keystore", "spark"},
    {"history", "packages", "search", "snapshots"},
)
"""Folders and doors from the top down: what is on a floor may import what is below it, and its own folder.

Under all of them are the single modules that everybody may import.
"""
DOORS = FLOORS[0]
ON_DISK = {"amlexec.templates.dodo"}
"""What is copied into projects: it calls us as a project does."""


def modules() -> dict[str, Path]:
    """The product's modules by their names."""
    found = {}
    for path in sorted((ROOT / "amlexec").rglob("*.py")):
        if not path.is_relative_to(TRAVELS):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, names: set[str]) -> set[str]:
    """Those of `names` that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                found.add(inner if inner in names else node.module)
    return found & names


def graph_of_modules() -> dict[str, set[str]]:
    """The imports among the product's modules."""
    known = modules()
    assert len(known) > 100
    graph = {name: imported(path, set(known)) - {name} for name, path in known.items()}
    # The registry imports the modules that the rows of `kinds` name.
    graph["amlexec.targets.registry"] |= {f"amlexec.targets.{kind.module}" for kind in KINDS if kind.module}
    return graph


def test_there_are_no_circular_imports() -> None:
    graph = graph_of_modules()
    assert "amlexec.targets.docker" in graph["amlexec.targets.registry"]
    assert graph["amlexec.kinds"] == {"amlexec.light_typing"}
    # Raises CycleError with the modules of a cycle.
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) == len(graph)


def part(module: str) -> str:
    """The folder of a module, or its own name if it is in none."""
    return f"{module}.".split(".")[1]


def test_imports_go_down_the_layers() -> None:
    depth = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    folders = {path.parent.name for path in (ROOT / "amlexec").glob("*/__init__.py")}
    assert folders - {"runtime", "templates"} <= set(depth), "a folder that is in no layer"
    ground = len(FLOORS)
    wrong = [
        f"{module} imports {other}"
        for module, others in graph_of_modules().items()
        for other in others
        if part(module) != part(other) and module not in ON_DISK and not {part(module), part(other)} <= DOORS
        if depth.get(part(other), ground) <= depth.get(part(module), ground) != ground
    ]
    wrong += [
        f"{module} imports {other}"
        for module, others in graph_of_modules().items()
        for other in others
        if part(module) not in depth and part(other) in depth and module not in ON_DISK
    ]
    assert wrong == []
