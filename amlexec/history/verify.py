"""Whether a run has given the same as another: outputs bit for bit, metrics within a tolerance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.files import open_regular
from amlexec.history import outputs_manifest
from amlexec.history.outputs_manifest import LINK, Output
from amlexec.history.record import FINAL
from amlexec.history.verify_metrics import compare

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.history.verify_metrics import Tolerance

__all__ = ["Difference", "Verification", "must_be_whole", "verify"]

_CHUNK = 1 << 20


class Difference(NamedTuple):
    """One difference between two runs."""

    kind: str
    """`run`, `output` or `metric`."""
    name: str
    """Of the run's property, the output, or the metric."""
    before: object
    """The value in the first run: of a metric, or the size of an output in bytes; None if it is absent."""
    after: object
    """The same in the second run."""
    at: int | None = None
    """The first differing byte of a file, or the first differing value of a metric, counted from 0."""
    note: str = ""
    """The difference in words."""


class Verification(NamedTuple):
    """The result of comparing two runs."""

    outputs: int
    """How many outputs there are in the two runs together."""
    bytes: int
    """The size of the first run's."""
    metrics: int
    """How many metrics."""
    differences: tuple[Difference, ...]


def verify(before: Run, paths: RunPaths, after: Run, again: RunPaths, tolerance: Tolerance) -> Verification:
    """Compare a run with one that was to repeat it. Files may be larger than the memory.

    Raises:
        TargetError: a run has not ended, or its outputs are not all on this computer.
    """
    found: list[Difference] = []
    for key in ("status", "exit_code"):
        was, now = getattr(before, key), getattr(after, key)
        if was != now:
            found.append(Difference("run", key, was, now, note=f"{was}, then {now}"))
    for run in (before, after):
        must_be_whole(run)
    one, other = _outputs(paths), _outputs(again)
    names = sorted(one.keys() | other.keys())
    differing = [_output(name, one.get(name), other.get(name), paths, again) for name in names]
    logged = compare(paths.metrics, again.metrics, tolerance)
    found += [difference for difference in differing if difference is not None]
    found += [Difference("metric", *each) for each in logged.differences]
    size = sum(output.size for output in one.values())
    return Verification(len(names), size, logged.names, tuple(found))


def must_be_whole(run: Run) -> None:
    """Raise TargetError if a run can't be compared: it has not ended, or not all of its outputs are here."""
    if run.status not in FINAL:
        why = f"it is {run.status}"
    elif run.outputs is None or run.unread:
        why = "its outputs were not read"
    elif run.not_collected:
        why = f"{run.not_collected[0].path or 'an output'} was not collected"
    else:
        return
    raise TargetError(
        f"{run.run_id} can't be compared: {why}",
        hint=f"amlexec experiment return -r {run.run_id} --overwrite",
    )


def _outputs(paths: RunPaths) -> dict[str, Output]:
    """The outputs of a run: its files, or the list of them that came with a bundle."""
    if os.path.lexists(paths.outputs):
        return outputs_manifest.listed(paths.outputs)
    return outputs_manifest.read(paths) or {}


def _output(
    name: str, one: Output | None, other: Output | None, paths: RunPaths, again: RunPaths
) -> Difference | None:
    if one is None or other is None:
        which = paths.folder.name if other is None else again.folder.name
        return Difference("output", name, one and one.size, other and other.size, note=f"only in {which}")
    if one.form != other.form:
        note = f"a {one.form}, then a {other.form}"
        return Difference("output", name, one.size, other.size, note=note)
    if one.form == LINK:
        if one.content == other.content:
            return None
        return Difference("output", name, one.content, other.content, note="a link to another path")
    if one.content or other.content:
        return _by_hash(name, one, other, again)
    at = _first_difference(paths.outputs / name, again.outputs / name)
    if at is None:
        return None
    byte, value, revalue = at
    note = f"byte {byte} is {value}, then {revalue}"
    if one.size != other.size:
        note += f"; {one.size:,} bytes, then {other.size:,}"
    return Difference("output", name, one.size, other.size, at=byte, note=note)


def _by_hash(name: str, one: Output, other: Output, again: RunPaths) -> Difference | None:
    """Compare a file with what a list of outputs says of it: only its size and its hash."""
    hashes = [each.content or outputs_manifest.hash_of(again.outputs / name) for each in (one, other)]
    if hashes[0] == hashes[1]:
        return None
    sizes = f"{one.size:,} bytes, then {other.size:,}; " if one.size != other.size else ""
    note = f"{sizes}sha256 {hashes[0][:12]}, then {hashes[1][:12]}"
    return Difference("output", name, one.size, other.size, note=note)


def _first_difference(one: Path, other: Path) -> tuple[int, str, str] | None:
    """The first differing byte, and both its values; None if the files are equal."""
    position = 0
    with open_regular(one, follow=False) as first, open_regular(other, follow=False) as second:
        while True:
            chunks = first.read(_CHUNK), second.read(_CHUNK)
            if chunks[0] != chunks[1]:
                at = _common(*chunks)
                shown = [f"0x{chunk[at]:02x}" if at < len(chunk) else "the end" for chunk in chunks]
                return position + at, shown[0], shown[1]
            if not chunks[0]:
                return None
            position += len(chunks[0])


def _common(one: bytes, other: bytes) -> int:
    """The number of equal bytes at the beginning of both, by halving: a loop over a megabyte is slow."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
