"""`amlexec image list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands.options import add_output

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_output(verb)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Print the images of the target's engine, newest first."""
    from amlexec.commands import output, run_views
    from amlexec.docker import images
    from amlexec.docker.labels import SERVICE_CONTENT, SERVICE_IMAGE, SERVICE_MODELS
    from amlexec.history.record import instant
    from amlexec.services import environment

    engine = environment.store_for(environment.target_for(project, arguments.target)).engine
    rows: list[dict[str, Any]] = []
    for found in sorted(
        images.find(engine, {SERVICE_CONTENT: ""}), key=lambda image: -image.get("Created", 0)
    ):
        labels = found.get("Labels") or {}
        about = {
            "name": str(labels.get(SERVICE_IMAGE, "")),
            "models": str(labels.get(SERVICE_MODELS, "")),
            "created_utc": instant(float(found.get("Created", 0))),
        }
        names = [name for name in found.get("RepoTags") or () if not name.endswith(":latest")]
        rows += [{"image": name, **about} for name in names]
    if arguments.output == "json" or arguments.query is not None:
        run_views.show(rows, arguments)
    elif rows:
        columns = ["image", "models", "created_utc"]
        console.data(
            output.table(
                [[row[name] for name in columns] for row in rows], [output.title(name) for name in columns]
            )
        )
    else:
        console.say("there are no images of services: amlexec image create -n NAME --model MODEL -f score.py")
