"""`amlexec model export`: hand models to another registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.models import names, registry
from amlexec.models.listing import Model

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("system", choices=["mlflow"], metavar="SYSTEM", help="mlflow")
    verb.add_argument("names", nargs="*", metavar="NAME", help="only these models (default: all)")
    verb.add_argument(
        "--to", required=True, metavar="URI", help="tracking URI of MLflow: http://HOST:5000, sqlite:////PATH"
    )
    verb.add_argument(
        "--experiment",
        metavar="NAME",
        help="MLflow's experiment for the runs that made them (default: the project's name)",
    )


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Export the models, and print what became of each version."""
    from amlexec.exports import mlflow_client, mlflow_models

    found = registry.opened(project, arguments.registry)
    chosen = [found.existing(names.model_name(name)) for name in arguments.names] or found.all()
    experiment = arguments.experiment or (project.name if project is not None else "")
    if not experiment:
        raise UsageError(
            "outside of a project, MLflow's experiment has no default name", hint="--experiment NAME"
        )
    if not any(name.present for name in chosen):
        console.say("there are no models yet: amlexec model register -n NAME FILE")
        return
    failed = 0
    with mlflow_client.opened(arguments.to, experiment) as tracking:
        for name in chosen:
            for version in name.present:
                if not isinstance(version, Model):
                    console.say(f"{version.id}: warning: left out: {version.problem}")
            try:
                destination = f"{arguments.to} {experiment}"
                done = mlflow_models.export_name(project, name, found, tracking, destination)
            except (AmlexecError, OSError) as error:
                console.show_one(name.name, error)
                failed += 1
                continue
            for each in done:
                console.data(f"{each.id}  version {each.number} in MLflow, {each.change}")
    if failed:
        raise TargetError(f"{failed} of {len(chosen)} models could not be exported, or not as a whole")
