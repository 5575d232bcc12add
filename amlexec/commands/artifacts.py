"""The files of a run by the names that its readers know them by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.history import RunPaths

__all__ = ["copy", "find", "names"]

_WORKBENCH = {
    "driver_log": "stdout.log",
    "driver_log.txt": "stdout.log",
    "control_log": "control.log",
    "control_log.txt": "control.log",
}


def _known(paths: RunPaths) -> list[Path]:
    return [paths.log, paths.stdout, paths.stderr, paths.metrics, paths.record]


def names(paths: RunPaths) -> list[str]:
    """Every artifact that is there: the logs, the metrics, the record, and `outputs/…` in order of name."""
    outputs = sorted(_below(str(paths.outputs), "outputs/")) if paths.outputs.is_dir() else []
    return [path.name for path in _known(paths) if path.is_file()] + outputs


def _below(folder: str, prefix: str) -> Iterator[str]:
    """Files and links; no pipes or sockets that a script may have left."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield prefix + entry.name


def find(paths: RunPaths, name: str) -> Path:
    """The file of the artifact `name`: a log, Workbench's name for one, or a file of `outputs/`.

    Raises:
        UsageError: the run has none of that name.
    """
    plain = _WORKBENCH.get(name, name)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    candidates = [path for path in _known(paths) if path.name == plain]
    if parts and ".." not in parts and not plain.startswith("/"):
        if parts[0] == "outputs":
            candidates.append(paths.folder.joinpath(*parts))
        # Scripts name what they upload without `outputs/`.
        candidates.append(paths.outputs.joinpath(*parts))
    for path in candidates:
        if os.path.isfile(path):  # noqa: PTH113 - a name that is too long or has a NUL in it is no error here
            return path
    there = names(paths)
    from difflib import get_close_matches

    near = [each for each in there if each.startswith(f"{plain.rstrip('/')}/")][:3]
    near = near or get_close_matches(plain, there, n=3)
    raise UsageError(
        f"the run {paths.folder.name} has no artifact {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(there[:10])}",
    )


def copy(paths: RunPaths, chosen: list[Path], folder: Path, *, overwrite: bool) -> None:
    """Copy files of the run into `folder`, each to the place that it has in the run's folder.

    Raises:
        UsageError: a file is there already, and `overwrite` doesn't allow to replace it. None is copied.
    """
    import shutil

    planned = [(path, folder / path.relative_to(paths.folder)) for path in chosen]
    there = [to for _, to in planned if os.path.lexists(to)]
    if there and not overwrite:
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise UsageError(f"{there[0]}{more} there already", hint="--overwrite, or another folder with -d")
    for path, to in planned:
        to.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all; and a link that is there is replaced, not followed.
        beside = to.with_name(f".{os.getpid()}.new")
        try:
            shutil.copy2(path, beside, follow_symlinks=False)
            beside.replace(to)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
