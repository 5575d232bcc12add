"""A version of a model, as in its JSON file. Every field is checked when it is read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import checked_values as checked
from amlexec.models.content import Content, File, digest_of, is_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMAT", "Deleted", "Origin", "RunOrigin", "Version", "parsed", "text_of", "tombstone"]

FORMAT = 1
"""Raised if readers of before would misunderstand a file."""


class RunOrigin(NamedTuple):
    """The run that made a model: what its record says."""

    run_id: str
    project: str
    """The name of its project."""
    path: str
    """The model's place in the run, such as `outputs/model.pkl`."""
    status: str
    script_name: str
    arguments: tuple[str, ...]
    target: str
    target_kind: str
    created_utc: str
    snapshot: str | None
    """git's id of the tree that the run executed."""
    commit: str | None
    dirty: bool | None
    environment_digest: str | None
    image_id: str | None
    lock: str | None
    """The name of the environment's resolved lock; the registry has it too."""
    platform: str | None
    metrics: dict[str, Any]


class Origin(NamedTuple):
    """Where a version comes from. Unknown values are None."""

    python: str | None = None
    """The version of the Python that made it, such as `3.11.4`."""
    packages: dict[str, str] | None = None
    """The versions of its packages by name; those of pip as `pip.NAME`."""
    run: RunOrigin | None = None


class Version(NamedTuple):
    """A registered version. It never changes."""

    name: str
    version: int
    created_utc: str
    content: Content
    origin: Origin
    user_id: str
    host: str
    amlexec: str
    """Version of amlexec that registered it."""

    @property
    def id(self) -> str:
        """`NAME:VERSION`."""
        return f"{self.name}:{self.version}"


class Deleted(NamedTuple):
    """What is left of a deleted version: its number is never used again."""

    name: str
    version: int
    deleted_utc: str


def text_of(version: Version) -> str:
    """The text of a version's file."""
    run = version.origin.run
    values = {
        "format": FORMAT,
        "name": version.name,
        "version": version.version,
        "created_utc": version.created_utc,
        "digest": version.content.digest,
        "root": version.content.root,
        "files": [file._asdict() for file in version.content.files],
        "python": version.origin.python,
        "packages": version.origin.packages,
        "run": run and run._asdict(),
        "user_id": version.user_id,
        "host": version.host,
        "amlexec": version.amlexec,
    }
    return json.dumps(values, indent=2) + "\n"


def tombstone(deleted: Deleted) -> str:
    """The text of a deleted version's file."""
    return json.dumps({"format": FORMAT, **deleted._asdict()}, indent=2) + "\n"


def parsed(data: bytes, name: str, number: int) -> Version | Deleted:
    """Parse the file of a version.

    Raises:
        ValueError: it is not one, it is of another version, or a part of it is invalid.
    """
    try:
        values = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON, or is cut off") from None
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise ValueError("it is not a version of a model")  # noqa: TRY004
    if values["format"] > FORMAT:
        raise ValueError(f"a later version of amlexec wrote it ({str(values.get('amlexec'))[:40]}): upgrade")
    if values.get("name") != name or values.get("version") != number:
        raise ValueError("it is of another model or version")
    if "deleted_utc" in values:
        return Deleted(name, number, checked.moment(values["deleted_utc"]))
    fields: dict[str, Any] = {}
    for key, check in _CHECKS.items():
        if key not in values:
            raise ValueError(f"it has no {key}")
        try:
            fields[key] = check(values[key])
        except ValueError as error:
            raise ValueError(f"{key} {error}") from None
    content = _content(fields.pop("root"), fields.pop("files"), fields.pop("digest"))
    origin = Origin(fields.pop("python"), fields.pop("packages"), fields.pop("run"))
    return Version(name, number, content=content, origin=origin, **fields)


def _content(root: str, files: tuple[File, ...], digest: str) -> Content:
    paths = [file.path for file in files]
    if not files or paths != sorted(set(paths)):
        raise ValueError("files are not a sorted list without duplicates")
    folders = {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}
    if folders & set(paths) or any(path.partition("/")[0] != root for path in paths):
        raise ValueError(f"files are not all in {root!r}")
    if digest_of(files) != digest:
        raise ValueError("its digest is not that of its files")
    return Content(root, files)


_TREE = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = checked.matching(re.compile(r"[0-9a-f]{64}"), "a sha256")
_digest = checked.matching(re.compile(r"(?:sha256:)?[0-9a-f]{64}"), "a sha256")
_tree = checked.matching(_TREE, "the id of a tree")
_word = checked.matching(re.compile(r"[A-Za-z0-9_.-]{1,64}"), "a word")
_python = checked.matching(re.compile(r"[0-9][0-9A-Za-z.+]{0,40}"), "a version of Python")


def _path(value: object) -> str:
    if not is_path(checked.text(value)):
        raise ValueError(f"is {str(value)[:80]!r}; expected a relative path")
    return str(value)


def _root(value: object) -> str:
    if "/" in _path(value):
        raise ValueError(f"is {str(value)[:80]!r}; expected the name of a file or folder")
    return str(value)


def _run_id(value: object) -> str:
    from amlexec.history.record import is_run_id

    if not is_run_id(checked.text(value)):
        raise ValueError(f"is {str(value)[:80]!r}; expected a run id")
    return str(value)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "created_utc": checked.moment,
    "digest": _SHA256,
    "root": _root,
    "files": checked.list_of(
        checked.parts(
            File, path=_path, size=checked.number(0, 1 << 62), sha256=_SHA256, executable=checked.truth
        )
    ),
    "python": checked.or_none(_python),
    "packages": checked.or_none(checked.map_of(checked.text)),
    "run": checked.or_none(
        checked.parts(
            RunOrigin,
            run_id=_run_id,
            project=checked.text,
            path=_path,
            status=_word,
            script_name=checked.text,
            arguments=checked.texts,
            target=checked.text,
            target_kind=_word,
            created_utc=checked.moment,
            snapshot=checked.or_none(_tree),
            commit=checked.or_none(checked.matching(re.compile(f"(?:{_TREE.pattern})?"), "a commit")),
            dirty=checked.or_none(checked.truth),
            environment_digest=checked.or_none(_digest),
            image_id=checked.or_none(_digest),
            lock=checked.or_none(_SHA256),
            platform=checked.or_none(checked.text),
            metrics=checked.map_of(checked.plain_value),
        )
    ),
    "user_id": checked.text,
    "host": checked.text,
    "amlexec": checked.text,
}
