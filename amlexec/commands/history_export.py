"""`amlexec history export`: hand runs to another system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import run_views
from amlexec.commands.options import RUN, number_of_runs
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.history import find, folders, listing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("system", choices=["mlflow"], metavar="SYSTEM", help="mlflow")
    verb.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN} (default: all runs)")
    verb.add_argument(
        "--to", required=True, metavar="URI", help="tracking URI of MLflow: http://HOST:5000, sqlite:////PATH"
    )
    verb.add_argument(
        "--experiment", metavar="NAME", help="MLflow's experiment (default: the project's name)"
    )
    verb.add_argument("--last", type=number_of_runs, metavar="N", help="only the newest N runs")
    verb.add_argument("--no-artifacts", action="store_true", help="without files: only values and tags")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Export the runs, oldest first, and print what was written of each."""
    from amlexec.exports import mlflow, mlflow_client

    chosen = list(_chosen(project, arguments))
    if not chosen:
        console.say("there are no runs yet: amlexec experiment submit -c local SCRIPT")
        return
    experiment = arguments.experiment or project.name
    failed = 0
    with mlflow_client.opened(arguments.to, experiment) as tracking:
        for each in chosen:
            record = run_views.now(project, each)
            destination = f"{arguments.to} {experiment}"
            try:
                done = mlflow.export_run(
                    project, record, tracking, destination, files=not arguments.no_artifacts
                )
            except (AmlexecError, OSError) as error:
                console.show_one(record.run_id, error)
                failed += 1
                continue
            console.data(f"{record.run_id}  {done.mlflow_id}  {done.values} values, {done.files} files")
    if failed:
        raise TargetError(f"{failed} of {len(chosen)} runs could not be exported, or not as a whole")


def _chosen(project: Project, arguments: argparse.Namespace) -> Iterator[Run]:
    if arguments.runs:
        if arguments.last:
            raise UsageError("either RUN or --last, not both")
        for paths in dict.fromkeys(find.find(project, name) for name in arguments.runs):
            yield folders.read(paths)
        return
    for each in listing.read(project, listing.newest(project, arguments.last)[::-1]):
        if isinstance(each, listing.Broken):
            console.say(f"{each.name}: warning: left out: {each.reason}")
        else:
            yield each
