"""Completes the downloaded part of a remote copy of a project by the targets of its links."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from amlexec.targets import beneath
from amlexec.targets.copy_links import OUTPUTS
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.targets.beneath import Parts
    from amlexec.targets.copy_links import Links

__all__ = ["complete"]

_MOST_ROUNDS = 100
"""Rounds of requests for the targets of links, which may be links themselves."""


def complete(copy: Links, more: Callable[[list[Parts]], list[NotCollected]]) -> list[NotCollected]:
    """Download the targets of links with `more` until all are here; returns what was not downloaded.

    Raises:
        OSError: something can't be replaced on this machine.
        TargetError: raised by `more`.
    """
    missing: list[NotCollected] = []
    requested: set[Parts] = set()
    for _ in range(_MOST_ROUNDS):
        wanted = sorted(set(_needed(copy)) - requested)
        if not wanted:
            return missing
        for parts in wanted:
            _remove_part(copy, parts)
        missing += more(wanted)
        requested.update(wanted)
        copy.add_whole(wanted)
    missing.append(NotCollected("outputs", "its links lead to too many further links", kept=True))
    return missing


def _needed(copy: Links) -> Iterator[Parts]:
    """The paths that links of the outputs lead to, and that are not here, or only in part."""
    outputs = copy.resolve((), OUTPUTS[0])
    if outputs.kind not in ("folder", "unknown") or not outputs.parts:
        return
    if outputs.kind == "unknown" or not copy.is_whole(outputs.parts):
        yield outputs.parts
    if outputs.kind == "unknown":
        return
    base = outputs.parts
    seen, waiting = {base}, [base]
    while waiting:
        for at, _, entries in beneath.walk(copy.root, waiting.pop()):
            for entry in entries:
                if not entry.is_symlink():
                    continue
                target = copy.resolve(at, copy.text((*at, os.fsencode(entry.name))))
                if target.kind == "unknown":
                    yield target.parts
                is_above = base[: len(target.parts)] == target.parts
                if target.kind != "folder" or is_above or target.parts in seen:
                    continue
                seen.add(target.parts)
                if not copy.is_whole(target.parts):
                    yield target.parts
                elif target.parts[: len(base)] != base:
                    waiting.append(target.parts)


def _remove_part(copy: Links, parts: Parts) -> None:
    """Remove the part of a folder that will be downloaded as a whole."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(copy.status(parts).st_mode):
            with beneath.opened(copy.root, parts[:-1]) as folder:
                beneath.remove_below(folder, parts[-1])
