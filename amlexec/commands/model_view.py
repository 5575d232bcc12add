"""Models as the commands show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.commands import output
from amlexec.models.listing import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.models.listing import Broken

__all__ = ["MODEL", "described", "fields", "table", "view"]

MODEL = "NAME (its newest version), NAME:VERSION or NAME:ALIAS"
"""Help text of an argument that names a version."""


def view(each: Model | Broken) -> dict[str, Any]:
    """A version as JSON; `problem` says why it can't be read, or is null."""
    if not isinstance(each, Model):
        return {"id": each.id, "name": each.name, "version": each.number, "problem": each.problem}
    version = each.version
    run = version.origin.run
    return {
        "id": each.id,
        "name": version.name,
        "version": version.version,
        "problem": None,
        "aliases": list(each.aliases),
        "tags": each.tags,
        "description": each.description,
        "created_utc": version.created_utc,
        "digest": version.content.digest,
        "root": version.content.root,
        "bytes": version.content.bytes,
        "files": [file._asdict() for file in version.content.files],
        "python": version.origin.python,
        "packages": version.origin.packages,
        "run": run and run._asdict(),
        "user_id": version.user_id,
        "host": version.host,
        "amlexec": version.amlexec,
    }


def table(found: Sequence[Model | Broken]) -> str:
    """Versions as a table."""
    rows = []
    for each in found:
        if not isinstance(each, Model):
            rows.append([each.id, None, "unreadable", None, None, each.problem])
            continue
        version = each.version
        run = version.origin.run
        aliases = " ".join(each.aliases)
        size = output.size(version.content.bytes)
        rows.append(
            [each.id, aliases, version.created_utc[:19], run and run.run_id, size, described(each) or None]
        )
    return output.table(rows, ["Model", "Aliases", "Created", "Run", "Size", "Description"])


def described(model: Model) -> str:
    """The first line of the description, and the tags."""
    tags = [f"{name}={value}" if value else name for name, value in model.tags.items()]
    lines = model.description.splitlines()
    return " ".join([*lines[:1], *(f"[{tag}]" for tag in tags)])


def fields(model: Model) -> str:
    """A version as a table with a row for each property, without its packages."""
    shown = view(model)
    files, packages = shown.pop("files"), shown.pop("packages")
    run = shown.pop("run")
    del shown["problem"], shown["name"], shown["version"]
    shown["aliases"] = " ".join(shown["aliases"])
    shown["size"] = output.size(shown.pop("bytes"))
    shown["packages"] = None if packages is None else len(packages)
    if run is not None:
        run["arguments"] = " ".join(run["arguments"])
        metrics = run.pop("metrics")
        shown["run"] = {name: value for name, value in run.items() if value not in (None, "")}
        shown["metrics"] = metrics
    shown = {name: value for name, value in shown.items() if value not in (None, "", {})}
    listed = output.table(
        [[file["path"], output.size(file["size"]), file["sha256"]] for file in files],
        ["File", "Size", "Sha256"],
    )
    return f"{output.fields(shown)}\n\n{listed}"
