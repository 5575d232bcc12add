"""Export registered models to MLflow's model registry: what is new, and nothing twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import AmlexecError
from amlexec.exports import mlflow, sidecar
from amlexec.exports.keys import tag_key_of
from amlexec.exports.mlflow_registry import DIGEST, Version
from amlexec.exports.values import milliseconds
from amlexec.history import find, folders
from amlexec.models.listing import Model

if TYPE_CHECKING:
    from amlexec.exports.mlflow_client import Tracking
    from amlexec.models.listing import Name
    from amlexec.models.registry import Registry
    from amlexec.values import Project

__all__ = ["Exported", "export_name"]

_LONGEST_TAG = 5000


class Exported(NamedTuple):
    """A version, and what it is in MLflow."""

    id: str
    number: int
    """MLflow numbers its versions itself."""
    change: str
    """`new`, `changed` or `unchanged`."""


def export_name(
    project: Project | None, name: Name, registry: Registry, tracking: Tracking, destination: str
) -> list[Exported]:
    """Export all versions of a name, with their aliases, tags and descriptions.

    A version that can't be read here is left out; the caller says so.

    Raises:
        MlflowError: MLflow refused something, or does not answer.
        TargetError: files of a version are not those that were registered.
    """
    held = (
        sidecar.opened(project, destination, f"model-{name.name}")
        if project is not None
        else contextlib.nullcontext()
    )
    with held:
        return _export(project, name, registry, tracking, destination)


def _export(
    project: Project | None, name: Name, registry: Registry, tracking: Tracking, destination: str
) -> list[Exported]:
    models = tracking.models()
    models.ensure(name.name)
    known = models.versions(name.name)
    found: list[Exported] = []
    numbers: dict[int, int] = {}
    for each in name.present:
        if not isinstance(each, Model):
            continue
        tags = _tags(each)
        version = known.get(tags[DIGEST])
        if version is None:
            run = _run(project, each, tracking, destination)
            inside = _upload(each, registry, tracking, run)
            version = models.create(name.name, run, inside, tags, each.description)
            change = "new"
        else:
            is_changed = models.change(name.name, version, tags, each.description)
            change = "changed" if is_changed else "unchanged"
        known[tags[DIGEST]] = version
        numbers[each.number] = version.number
        found.append(Exported(each.id, version.number, change))
    wanted = {alias: numbers[number] for alias, number in name.aliases.items() if number in numbers}
    models.aliases(name.name, wanted, _ours(known))
    return found


def _ours(known: dict[str, Version]) -> frozenset[int]:
    return frozenset(version.number for version in known.values())


def _run(project: Project | None, model: Model, tracking: Tracking, destination: str) -> str:
    """MLflow's run that has the files: that of the run which made the model, or else one for the model."""
    origin = model.version.origin.run
    if project is not None and origin is not None:
        with contextlib.suppress(AmlexecError):
            record = folders.read(find.find(project, origin.run_id))
            if record.run_id == origin.run_id:
                done = mlflow.export_run(project, record, tracking, destination, files=False)
                return done.mlflow_id
    if origin is not None and (existing := tracking.find(origin.run_id)):
        return existing
    name = f"model {model.id}"
    began = milliseconds(model.version.created_utc) or 0
    mlflow_id = tracking.find(name) or tracking.create(name, began)[0]
    tracking.set_state(mlflow_id, "FINISHED", began)
    return mlflow_id


def _upload(model: Model, registry: Registry, tracking: Tracking, run: str) -> str:
    """Store the files of a version with a run; their place among its artifacts."""
    content = model.version.content
    folder = registry.fetch(model)
    place = f"models/{model.version.name}/{content.digest[:16]}"
    for file in content.files:
        tracking.log_file(run, folder / file.path, f"{place}/{file.path}".rpartition("/")[0])
    return f"{place}/{content.root}"


def _tags(model: Model) -> dict[str, str]:
    version = model.version
    run = version.origin.run
    facts: dict[str, object] = {
        DIGEST: version.content.digest,
        "amlexec.version": str(version.version),
        "amlexec.created_utc": version.created_utc,
        "amlexec.python": version.origin.python,
        "amlexec.run_id": run and run.run_id,
        "amlexec.snapshot": run and run.snapshot,
        "amlexec.environment_digest": run and run.environment_digest,
    }
    found = {key: str(value) for key, value in facts.items() if value is not None}
    # MLflow has no tag without a text.
    own = {tag_key_of(name): text or "true" for name, text in model.tags.items()}
    return {name: text[:_LONGEST_TAG] for name, text in {**own, **found}.items()}
