"""Models of the registry, for scripts in a run. CPython 3.5 and later, no dependencies.

    from amlexec.model import path_of, register

    with open(path_of("scaler:champion"), "rb") as file:
        scaler = pickle.load(file)
    register("iris", "outputs/model.pkl", tags={"data": "2018-03"})

In a run, `register` records the model in the run's folder. It becomes the next version of its name when the
run has ended and its outputs are collected, on whatever machine the run was.
"""

import json
import os

from . import recorder
from .models import register_model, sha256_of

__all__ = ["Registered", "path_of", "register"]

_LATEST = "latest"
_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


class Registered:
    """The result of `register`."""

    def __init__(self, name: str, version: "int | None", path: str) -> None:
        self.name = name
        self.version = version
        """None in a run: it gets its number when the run has ended."""
        self.path = path

    @property
    def id(self) -> str:
        """`NAME:VERSION`; NAME in a run."""
        return self.name if self.version is None else "{}:{}".format(self.name, self.version)

    def __repr__(self) -> str:
        return "Registered({!r})".format(self.id)


def register(
    name: str,
    path: object,
    tags: "dict[str, str] | None" = None,
    description: str = "",
) -> Registered:
    """Register a file or folder as the next version of the model `name`.

    Raises OSError if it does not exist or can't be read, and ValueError for a name that no model can have.
    """
    if not _is_name(name):
        raise ValueError("{!r} is not a name for a model: letters, digits, '_', '-' and '.'".format(name))
    place = os.fspath(path) if hasattr(os, "fspath") else str(path)
    if not os.path.exists(place):
        raise FileNotFoundError("there is no file or folder {!r} to register".format(place))
    about = {}  # type: dict[str, object]
    if tags:
        about["tags"] = dict(tags)
    if description:
        about["description"] = description
    register_model(name, place, **about)
    return Registered(name, None, place)


def path_of(reference: str) -> str:
    """The path of a registered file or folder: of NAME, its newest version, NAME:VERSION or NAME:ALIAS.

    In a service, of the models in it; in a run, of those that its run configuration names under `Models`; if
    it names none, and the run is on this machine, of those in the registry. Raises OSError if there is none
    here, or its files are not those that were registered.
    """
    name, _, which = reference.replace("@", ":", 1).partition(":")
    if not _is_name(name) or (which and not _is_name(which)):
        raise ValueError("{!r} names no version of a model".format(reference))
    served = os.environ.get("AZUREML_MODEL_DIR")
    found = _served(served, name, which) if served else ""
    for place in _registries():
        found = found or _registered(place, name, which)
    if found:
        return found
    raise FileNotFoundError(
        "the model {} did not come with this run: add it to Models in the run configuration".format(reference)
    )


def _is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 100 and _SIGNS.issuperset(text) and text[0].isalnum()


def _number(which: str) -> "int | None":
    digits = which[1:] if which[:1] == "v" else which
    return int(digits) if digits.isdigit() else None


def _served(root: str, name: str, which: str) -> str:
    """Of a service: in ROOT/NAME/VERSION, or in ROOT itself if that is NAME/VERSION."""
    root = os.path.abspath(root)
    above = os.path.dirname(root)
    folder = above if os.path.basename(above) == name else os.path.join(root, name)
    versions = sorted(int(each) for each in _entries(folder) if each.isdigit())
    wanted = _number(which)
    if wanted is not None:
        versions = [each for each in versions if each == wanted]
    elif which not in ("", _LATEST) and len(versions) > 1:
        return ""  # an alias, and it can't be known which of them it means
    if not versions:
        return ""
    inner = [each for each in _entries(os.path.join(folder, str(versions[-1]))) if not each.startswith(".")]
    if len(inner) != 1:
        return ""
    return os.path.join(folder, str(versions[-1]), inner[0])


def _registries() -> "list[str]":
    inside = os.path.join(recorder.folder(), "models") if recorder.folder() else ""
    if inside and os.path.isdir(inside):
        # Those that came with the run, and no others: so it finds the same on every machine.
        return [inside]
    given = os.environ.get("AMLEXEC_MODELS", "")
    found = [given] if given and "://" not in given else []
    if not given and recorder.folder():
        # A run on the submitting machine is in the project: .amlexec/runs/RUN.
        found.append(os.path.join(os.path.dirname(os.path.dirname(recorder.folder())), "models"))
    return found


def _registered(place: str, name: str, which: str) -> str:
    folder = os.path.join(place, "names", name)
    number = _number(which)
    if number is None and which not in ("", _LATEST):
        try:
            with open(os.path.join(folder, "aliases", which), "rb") as file:
                number = int(file.read(20))
        except (OSError, ValueError):
            return ""
    if number is None:
        numbers = [each[: -len(".json")] for each in _entries(os.path.join(folder, "versions"))]
        for each in sorted((int(each) for each in numbers if each.isdigit()), reverse=True):
            version = _version(folder, each)
            if version is None or "deleted_utc" not in version:
                number = each
                break
    version = None if number is None else _version(folder, number)
    if version is None or "deleted_utc" in version:
        return ""
    digest, root = version.get("digest"), version.get("root")
    if not isinstance(digest, str) or not digest.isalnum() or not isinstance(root, str):
        return ""
    if "/" in root or root in ("", ".", "..") or "\0" in root:
        return ""
    contents = os.path.join(os.path.abspath(place), "contents", digest)
    changed = _changed(contents, version.get("files"))
    if changed:
        raise OSError("{} is not what was registered as {}:{}: {}".format(contents, name, number, changed))
    return os.path.join(contents, root)


def _changed(contents: str, files: object) -> str:
    """Which of the files of a version is not as it was registered, in a phrase; "" if all are."""
    try:
        wanted = {file["path"]: file["sha256"] for file in files}  # type: ignore[attr-defined]
    except (TypeError, KeyError):
        return "its record is damaged"
    for folder, _, names in os.walk(contents):
        for file in names:
            path = os.path.join(folder, file)
            inner = os.path.relpath(path, contents).replace(os.sep, "/")
            sha256 = wanted.pop(inner, "")
            if os.path.islink(path) or sha256_of(path) != sha256:
                return "{} was changed".format(inner)
    return "{} is missing".format(sorted(wanted)[0]) if wanted else ""


def _version(folder: str, number: int) -> "dict[str, object] | None":
    try:
        with open(os.path.join(folder, "versions", "{}.json".format(number)), "rb") as file:
            found = json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == 1 else None


def _entries(folder: str) -> "list[str]":
    try:
        return os.listdir(folder)
    except OSError:
        return []
