"""Registered models that go with a run: chosen before it begins, and put into `run_folder.py`'s folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError
from amlexec.models import names, numbering, registry
from amlexec.models.version import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.models.listing import Model
    from amlexec.values import Project, WantedModel

__all__ = ["Chosen", "choose", "put"]


class Chosen(NamedTuple):
    """A version that goes with a run."""

    wanted: WantedModel
    """With its version."""
    model: Model
    folder: Path
    """On this computer, with the files of the model below it."""


def choose(project: Project, wanted: Sequence[WantedModel]) -> list[Chosen]:
    """The versions that these models are now, with their files on this computer.

    Raises:
        UsageError: there is no such version; it names the line of the run configuration.
        TargetError: the registry can't be used, or the files are not those that were registered.
    """
    found = registry.opened(project)
    chosen = []
    for each in wanted:
        try:
            model = found.find(each.version or each.reference)
        except UsageError as error:
            raise UsageError(error.message, where=str(each.place), hint=error.hint) from None
        chosen.append(Chosen(each._replace(version=model.id), model, found.fetch(model)))
    return chosen


def put(folder: Path, chosen: Sequence[Chosen]) -> None:
    """Make the folder. Raises OSError."""
    for wanted, model, files in chosen:
        version = model.version
        record = folder / numbering.record_file(version.name, version.version)
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record.write_text(text_of(version), "utf-8")
        reference = names.reference(wanted.reference)
        if reference.version is None and reference.alias != names.LATEST:
            aliases = record.parents[1] / "aliases"
            aliases.mkdir(mode=0o700, exist_ok=True)
            (aliases / reference.alias).write_text(f"{version.version}\n", "ascii")
        link = folder / "contents" / version.content.digest
        link.parent.mkdir(mode=0o700, exist_ok=True)
        if not link.is_symlink():  # two versions may have the same files
            link.symlink_to(files, target_is_directory=True)
