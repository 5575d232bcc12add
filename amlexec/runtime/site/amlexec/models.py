"""Models of a run: `models.jsonl` in its folder, one JSON line for each registered one.

{"name": "iris", "version": 1, "path": "outputs/model.pkl", "time": 1521077190.506, "sha256": "…"}

They are added to the registry when the run has ended and its outputs are collected. `sha256` is that of the
lines `SHA256  PATH` of the model's files, sorted by path: a model that was changed later is not registered.
"""

import hashlib
import json
import os
import time

from . import recorder
from .plain_values import encoded, text

__all__ = ["find_output", "keep", "register_model", "sha256_of"]

MODELS = "models.jsonl"
_BLOCK = 1 << 20


def register_model(name: object, path: object = None, **about: object) -> int:
    """Record a file or folder of the run as a model; returns its version among the run's models of that name.

    A file outside of `outputs/` is copied into it; one that does not exist yet has to be written by the end
    of the run. `about` is anything to keep with it, such as `tags` or `framework`. Raises OSError if the
    model can't be read.
    """
    name = text(name)
    version = _versions(name) + 1
    model = {"name": name, "version": version, "path": text(name if path is None else path)}
    if recorder.folder() and path is not None:
        model["path"], sha256 = keep(name, text(path))
        if sha256:
            model["sha256"] = sha256
    model["time"] = round(time.time(), 3)
    for key, value in sorted(about.items()):
        model.setdefault(key, encoded(value)[0])
    recorder.append(MODELS, json.dumps(model) + "\n")
    return version


def _versions(name: str) -> int:
    found = 0
    try:
        with open(os.path.join(recorder.folder(), MODELS), "rb") as file:
            for line in file:
                try:
                    found += json.loads(line.decode("ascii"))["name"] == name
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        pass
    return found


def keep(name: str, path: str) -> "tuple[str, str]":
    """The path below the run's folder that a model will have, and its sha256; "" if it does not exist yet."""
    found = find_output(path)
    if found:
        return found[0], _sha256(found[1])
    if not os.path.exists(path):
        return path, ""
    base = os.path.basename(os.path.abspath(path))
    inside = "outputs/models/{}/{}".format(_plain(name), base)
    for inner, file in _files(os.path.realpath(path)):
        parts = inside.split("/")[1:] + [part for part in inner.split("/") if part]
        with open(file, "rb") as source:
            recorder.store(parts, source)
    return inside, _sha256(path, base)


def find_output(path: str) -> "tuple[str, str] | None":
    """The path below the run's folder of a file or folder of its outputs, and where it is now."""
    real = os.path.realpath(path)
    roots = [os.path.realpath("outputs"), os.path.realpath(os.path.join(recorder.folder(), "outputs"))]
    for root in roots:
        if os.path.exists(real) and (real + os.sep).startswith(root + os.sep):
            inner = os.path.relpath(real, root).replace(os.sep, "/")
            return "outputs" + ("" if inner == "." else "/" + inner), real
    if not os.path.isabs(path) and not os.path.exists(path):
        inner = path[len("outputs/") :] if path.startswith("outputs/") else path
        uploaded = os.path.join(roots[1], inner)
        if os.path.exists(uploaded) and os.path.realpath(uploaded).startswith(roots[1] + os.sep):
            return "outputs/" + inner.rstrip("/"), uploaded
    return None


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_-" else "_" for char in name)[:100] or "model"


def _files(path: str) -> "list[tuple[str, str]]":
    """The files of a model: paths below it, "" for a file itself, and where they are."""
    if not os.path.isdir(path):
        return [("", path)]
    found = []
    for folder, _, files in os.walk(path):
        for file in files:
            whole = os.path.join(folder, file)
            found.append((os.path.relpath(whole, path).replace(os.sep, "/"), whole))
    return sorted(found)


def sha256_of(path: str) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        for block in iter(lambda: source.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _sha256(path: str, base: str = "") -> str:
    lines = []
    base = base or os.path.basename(path)
    for inner, file in _files(os.path.realpath(path)):
        lines.append((base + ("/" + inner if inner else ""), sha256_of(file)))
    whole = "".join("{}  {}\n".format(digest, name) for name, digest in sorted(lines))
    return hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()
