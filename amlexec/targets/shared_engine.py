"""Runs' containers on an engine that several computers use.

A container has its run's record as a label, so that other computers can read it. A requested cancel is marked
in the container's name, since labels can't change.
"""

from __future__ import annotations

import contextlib
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

__all__ = ["canceling", "ids", "is_of", "record_label", "records", "state_of"]

_CANCELED = ".canceled"


def record_label(text: str) -> str:
    """The text of a `run.json` as a label, in ASCII, which every engine preserves."""
    return json.dumps(json.loads(text))


def records(engine: Engine, start: str) -> Iterator[tuple[str, State, str]]:
    """Every run on the engine whose id begins with `start`: its id, its state, and the text of its record.

    The text is "" if an earlier version created the container. Raises TargetError.
    """
    for container in containers.find(engine, {RUN: ""}):
        labels = container.get("Labels")
        run_id = labels.get(RUN) if isinstance(labels, dict) else None
        if not isinstance(run_id, str) or not run_id.startswith(start):
            continue
        answer = containers.inspect(engine, str(container["Id"]))
        if answer is not None:
            found = containers.state_of(engine, answer)
            yield run_id, state_of(found), found.labels.get(RECORD, "")


def is_of(labels: Mapping[str, str], folder: str, owner: str) -> bool:
    """Whether a container belongs to the project in that folder; for `owner`, see `RunVolumes.owner`."""
    # Earlier versions wrote the folder to the label that now has the name.
    found = labels.get(PROJECT_FOLDER) or labels.get(PROJECT)
    return found == folder and (not owner or labels.get(OWNER) == owner)


def ids(engine: Engine, run_id: str) -> list[str]:
    """The ids of a run's containers, whichever computer submitted it."""
    return [str(container["Id"]) for container in containers.find(engine, {RUN: run_id})]


def state_of(found: ContainerState, *, canceled: bool = False) -> State:
    """The state of a run from its container's; `canceled` says whether this computer has canceled it."""
    if found.status == "created":
        return State("new")
    if found.status not in {"exited", "dead"}:
        return State("running", found.began)
    began, ended = found.began, found.ended
    if began is not None and ended is not None:
        # The engine takes the time of the start after the start: a short script may have ended by then.
        began = min(began, ended)
    return State(
        "ended",
        began,
        ended,
        found.exit_code,
        canceled or found.name.endswith(_CANCELED),
        "the engine's machine ran out of the memory it may use" if found.out_of_memory else "",
    )


@contextlib.contextmanager
def canceling(engine: Engine, container: str, run_id: str) -> Iterator[None]:
    """Mark a run as canceled for all computers; the block stops it. Idempotent."""
    is_marked = _is_marked(engine, container, run_id)
    yield
    # Docker 26 can't rename a running container on an engine whose `bridge` is `none`.
    if not is_marked:
        _is_marked(engine, container, run_id)


def _is_marked(engine: Engine, container: str, run_id: str) -> bool:
    try:
        containers.rename(engine, container, f"amlexec-{run_id}{_CANCELED}")
    except EngineAnswerError as error:
        if error.status == 404:
            return False  # also if it is removed
        # It or another container of the same run already has the name.
        if error.status not in {400, 409}:
            raise
    return True
