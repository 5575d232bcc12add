"""Models that a run's script has registered: added to the registry when the run has ended.

`models.jsonl` in the run's folder has what the script asked for, and comes from its machine.
`registered.json` has what became of it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import AmlexecError, TargetError
from amlexec.files import SMALL, read_regular, write_atomically
from amlexec.models import provenance, registry
from amlexec.models.content import scan

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.models.content import Content
    from amlexec.models.registry import Registry
    from amlexec.values import Project

__all__ = ["ASKED", "DONE", "Outcome", "Request", "expect", "outcomes", "register", "requests"]

ASKED = "models.jsonl"
DONE = "registered.json"
_LARGEST = 16 << 20
_INTERRUPTED = "amlexec ended before it was registered"
_LONGEST = 4096
_MOST = 1000
"""Models of a run."""


class Request(NamedTuple):
    """A model that a script has registered."""

    name: str
    path: str
    """Below the run's folder, such as `outputs/model.pkl`."""
    sha256: str = ""
    """Of its files when it was registered; "" if that is not known."""
    tags: dict[str, str] = {}  # noqa: RUF012 - a default is never written to
    description: str = ""


class Outcome(NamedTuple):
    """What became of it."""

    name: str
    path: str
    id: str = ""
    """`NAME:VERSION`; "" if it was not registered."""
    problem: str = ""
    """Why not, in a sentence."""


def requests(paths: RunPaths) -> list[Request]:
    """What the script has registered. Of equal ones, the last. Lines that are none are passed over."""
    try:
        lines = read_regular(paths.folder / ASKED, _LARGEST, follow=False).split(b"\n")
    except OSError:
        return []
    found: dict[tuple[str, str, str], Request] = {}
    for line in lines:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        request = _request(values)
        if request is not None and len(found) < _MOST:
            found[request.name, request.path, request.sha256] = request
    return list(found.values())


def _request(values: Any) -> Request | None:
    if not isinstance(values, dict):
        return None
    name, path, sha256 = (_short(values.get(key, "")) for key in ("name", "path", "sha256"))
    if name is None or path is None or sha256 is None:
        return None
    tags: dict[str, str] = {}
    for start, key in (("", "tags"), ("properties.", "properties")):
        given = values.get(key)
        if isinstance(given, dict):
            tags |= {f"{start}{each}": _text(value) for each, value in given.items()}
    for key in ("model_framework", "model_framework_version"):
        if isinstance(values.get(key), str):
            tags[key] = values[key]
    description = values.get("description")
    return Request(name, path, sha256, tags, description if isinstance(description, str) else "")


def _short(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= _LONGEST else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def expect(paths: RunPaths) -> None:
    """Keep that no model was registered: the outcome of a process that ends before `register`.

    Raises:
        OSError: it can't be kept.
    """
    _keep(paths, [Outcome(each.name, each.path, problem=_INTERRUPTED) for each in requests(paths)])


def _keep(paths: RunPaths, found: list[Outcome]) -> None:
    text = json.dumps([outcome._asdict() for outcome in found], indent=2) + "\n"
    write_atomically(paths.folder / DONE, text)


def register(project: Project, paths: RunPaths, run: Run, given: str | None = None) -> list[Outcome]:
    """Add the models of a run to the registry, and keep what became of them. Idempotent.

    `given` names another registry than the project's. A model that can't be registered stops no other.

    Raises:
        OSError: the outcome can't be kept.
    """
    asked = requests(paths)
    if not asked:
        return []
    found: list[Outcome] = []
    try:
        opened = registry.opened(project, given)
    except AmlexecError as error:
        found = [Outcome(each.name, each.path, problem=str(error)) for each in asked]
    else:
        found = [_registered(opened, project, run, each) for each in asked]
    _keep(paths, found)
    return found


def _registered(opened: Registry, project: Project, run: Run, request: Request) -> Outcome:
    try:
        source = provenance.of_run_output(project, run, request.path)
        if request.sha256 and _sha256(scan(source.path, source.within)) != request.sha256:
            raise TargetError(
                f"{request.path} was changed after the script had registered it",
                hint=f"amlexec model register -r {run.run_id} -m {request.path} -n {request.name}",
            )
        done = opened.register(
            request.name,
            source.path,
            origin=source.origin,
            lock=source.lock,
            tags=request.tags,
            description=request.description,
            within=source.within,
        )
    except (AmlexecError, OSError) as error:
        return Outcome(request.name, request.path, problem=str(error))
    return Outcome(request.name, request.path, done.model.id)


def _sha256(content: Content) -> str:
    """As `runtime/site/amlexec/models.py` has it."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in content.files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def outcomes(paths: RunPaths) -> list[Outcome]:
    """What became of the models of a run, as kept; none if that is not known."""
    try:
        values = json.loads(read_regular(paths.folder / DONE, _MOST * SMALL, follow=False))
        found = [Outcome(*(each[name] for name in Outcome._fields)) for each in values]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return found if all(isinstance(part, str) for each in found for part in each) else []
