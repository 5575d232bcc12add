"""Files of metrics, below the run's `outputs/`: images, plots, long texts."""

import hashlib
import io
import os

from . import recorder

__all__ = ["kept_file", "kept_plot", "parts_of"]

_LONGEST_NAME = 100
"""In characters, of a file's name."""
_MOST_VERSIONS = 10000
_BLOCK = 1 << 20


def parts_of(name: str) -> "list[str]":
    """The parts of a path below `outputs/`. Raises ValueError where it leads out."""
    pieces = name.replace("\\", "/").split("/")
    parts = [piece for piece in pieces if piece not in ("", ".")]
    if not parts or not pieces[0] or ".." in parts or "\0" in name:
        raise ValueError("{!r} is not below outputs/: use a relative path, such as report/a.txt".format(name))
    if parts[0] == "outputs" and len(parts) > 1:
        del parts[0]
    return parts


def kept_file(name: str, source: object, suffix: str = "") -> str:
    """Keep a file, or bytes, as `outputs/NAME` with its own suffix; the path below the run's folder.

    A file below `outputs/` of the working directory will be collected, so it is not copied. Raises OSError if
    the file can't be read.
    """
    if isinstance(source, bytes):
        return _kept(name, suffix, io.BytesIO(source))
    path = str(source)
    with open(path, "rb") as file:
        collected = _collected(path)
        if collected:
            return collected
        return _kept(name, os.path.splitext(path)[1], file)


def kept_plot(name: str, plot: object) -> str:
    """Save anything that has `savefig` (Matplotlib's figures and `pyplot`) as a PNG; see `kept_file`."""
    drawn = io.BytesIO()
    plot.savefig(drawn, format="png")  # type: ignore[attr-defined]
    return _kept(name, ".png", io.BytesIO(drawn.getvalue()))


def _collected(path: str) -> str:
    """The path below the run's folder that a file of the script's `outputs/` will have; "" for others."""
    outputs = os.path.realpath("outputs")
    real = os.path.realpath(path)
    if not recorder.folder() or not real.startswith(outputs + os.sep):
        return ""
    return "outputs/" + os.path.relpath(real, outputs).replace(os.sep, "/")


def _kept(name: str, suffix: str, file: "io.BufferedIOBase") -> str:
    stem = "".join("_" if char in '/\\:*?"<>|' or ord(char) < 32 else char for char in name).strip(". ")
    stem = stem[:_LONGEST_NAME] or "file"
    suffix = suffix if len(suffix) <= 10 else ""
    if stem.lower().endswith(suffix.lower()):
        stem = stem[: len(stem) - len(suffix)] or "file"
    digest = _digest(file)
    for version in range(1, _MOST_VERSIONS):
        kept = stem + ("_%d" % version if version > 1 else "") + suffix
        path = os.path.join(recorder.folder(), "outputs", kept)
        if not recorder.folder() or not os.path.lexists(path):
            file.seek(0)
            recorder.store([kept], file)
            break
        if _is_same(path, digest):
            break
    return "outputs/" + kept


def _is_same(path: str, digest: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return _digest(file) == digest
    except OSError:
        return False


def _digest(file: "io.BufferedIOBase") -> bytes:
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(_BLOCK), b""):
        digest.update(block)
    return digest.digest()
