"""`amlexec model compare`: the runs that made versions, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import history_compare, model_view, run_views
from amlexec.commands.options import add_output
from amlexec.commands.run_view import PropertyRow
from amlexec.errors import AmlexecError, UsageError
from amlexec.history import find
from amlexec.models import registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from amlexec.models.listing import Model
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("models", nargs="+", metavar="MODEL", help=model_view.MODEL)
    verb.add_argument("--all", action="store_true", help="also show what is equal")
    add_output(verb)


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if len(arguments.models) == 1:
        raise UsageError(
            "there is only one version to compare",
            hint=f"amlexec model compare {arguments.models[0]} NAME:VERSION",
        )
    found = registry.opened(project, arguments.registry)
    models = [found.find(text) for text in arguments.models]
    runs = [model.version.origin.run for model in models]
    names = [run.run_id for run in runs if run is not None]
    if project is not None and len(names) == len(models) and all(_is_here(project, name) for name in names):
        for model, name in zip(models, names, strict=True):
            console.say(f"{model.id} is from {name}")
        arguments.runs, arguments.code = names, False
        history_compare.run(project, arguments)
        return
    rows = _rows(models)
    if arguments.output == "json" or arguments.query is not None:
        compared = {
            "models": [model.id for model in models],
            "rows": [row._asdict() for row in rows],
        }
        run_views.show(compared, arguments)
        return
    console.say("not all of their runs are in this project: this is what the registry has of them")
    history_compare.print_table([model.id for model in models], rows, (), everything=arguments.all)


def _is_here(project: Project, run_id: str) -> bool:
    try:
        return find.find(project, run_id).folder.name == run_id
    except AmlexecError:
        return False


def _rows(models: Sequence[Model]) -> list[PropertyRow]:
    """What the registry has of their runs: metrics first."""
    found = [_facts(model) for model in models]
    keys = dict.fromkeys(key for facts in found for key in facts)
    rows = []
    for key in keys:
        values = [facts.get(key) for facts in found]
        # Where packages are not known, nothing can differ.
        present = (
            [
                value
                for model, value in zip(models, values, strict=True)
                if model.version.origin.packages is not None
            ]
            if key.startswith("packages.")
            else values
        )
        rows.append(PropertyRow(key, values, any(value != present[0] for value in present)))
    return rows


def _facts(model: Model) -> dict[str, Any]:
    origin = model.version.origin
    found: dict[str, Any] = {}
    if origin.run is not None:
        found |= {f"metrics.{name}": value for name, value in sorted(origin.run.metrics.items())}
        found |= {
            "run_id": origin.run.run_id,
            "status": origin.run.status,
            "script_name": origin.run.script_name,
            "arguments": " ".join(origin.run.arguments),
            "target": origin.run.target,
            "snapshot": origin.run.snapshot,
            "environment_digest": origin.run.environment_digest,
        }
    found |= {"digest": model.version.content.digest, "bytes": model.version.content.bytes}
    found["python"] = origin.python
    found |= {f"packages.{name}": version for name, version in sorted((origin.packages or {}).items())}
    return found
