"""The containers of runs as everybody sees them who can log in to the engine's machine.

A container is made with its run's record as a label: with that, another computer knows what it is. That a
cancel was asked for stands in its name, since labels never change.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import OWNER, PROJECT, PROJECT_FOLDER, RECORD, RUN
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amlexec.docker.client import Engine
    from amlexec.docker.containers import ContainerState

__all__ = ["ids", "is_of", "mark_canceled", "record_label", "records", "state_of"]

_CANCELED = ".canceled"


def record_label(text: str) -> str:
    """The text of a `run.json` as a label: in ASCII, which every engine keeps as it is."""
    return json.dumps(json.loads(text))


def records(engine: Engine, start: str) -> Iterator[tuple[str, State, str]]:
    """Every run on the engine whose id begins with `start`: its id, its state, and the text of its record.

    The text is "" where an earlier version has made the container. Raises TargetError.
    """
    for one in containers.find(engine, {RUN: ""}):
        labels = one.get("Labels")
        run_id = labels.get(RUN) if isinstance(labels, dict) else None
        if not isinstance(run_id, str) or not run_id.startswith(start):
            continue
        answer = containers.inspect(engine, str(one["Id"]))
        if answer is not None:
            found = containers.state_of(engine, answer)
            yield run_id, state_of(found), found.labels.get(RECORD, "")


def is_of(labels: Mapping[str, str], folder: str, owner: str) -> bool:
    """Whether a container is a run's of the project in that folder; `owner` as of `RunVolumes.owner`."""
    # Earlier versions called the folder what is now the name.
    found = labels.get(PROJECT_FOLDER) or labels.get(PROJECT)
    return found == folder and (not owner or labels.get(OWNER) == owner)


def ids(engine: Engine, run_id: str) -> list[str]:
    """The containers of a run, whoever submitted it."""
    return [str(one["Id"]) for one in containers.find(engine, {RUN: run_id})]


def state_of(found: ContainerState, *, canceled: bool = False) -> State:
    """How a run is whose container was found so; `canceled` where this computer has asked for its end."""
    if found.status == "created":
        return State("new")
    if found.status not in {"exited", "dead"}:
        return State("running", found.began)
    return State(
        "ended",
        found.began,
        found.ended,
        found.exit_code,
        canceled or found.name.endswith(_CANCELED),
        "the engine's machine ran out of the memory it may use" if found.out_of_memory else "",
    )


def mark_canceled(engine: Engine, container: str, run_id: str) -> None:
    """Let everybody see that the run was asked to end. Idempotent."""
    try:
        containers.rename(engine, container, f"amlexec-{run_id}{_CANCELED}")
    except EngineAnswerError as error:
        # 400 and 409: it has the name already, or another container of the same id has. 404: it is gone.
        if error.status not in {400, 404, 409}:
            raise
