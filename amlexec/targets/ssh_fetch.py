"""What a machine sends home of a run's folder there: the verb `fetch` of `runtime/host.sh`, read.

The machine says first what there is, then comes an archive, then the digests of the files: what is missing
or has changed on the way is known by name, and keeps nothing else from coming.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.model import NotCollected
from amlexec.targets.beneath import Parts, parts_of, text_of
from amlexec.targets.outputs import FOREIGN
from amlexec.targets.safe_tar import LIMITS, Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from amlexec.errors import TargetError
    from amlexec.targets.ssh_verbs import Verbs

__all__ = ["Fetch"]

_COPY: Parts = (b"project",)
_TOO_LONG = 1 << 17
"""Bytes of a line or a name that no well-meaning machine sends."""
_AT_ONCE = 64_000
"""Bytes of paths that are asked for with one call."""
_KINDS = {b"p": "it is a FIFO", b"s": "it is a socket", b"o": "it is a device"}
_SUM = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)


class Listed(NamedTuple):
    """What a machine has said that there is."""

    copies: tuple[str, ...]
    """The absolute paths that the copy of the project has there."""
    kinds: dict[Parts, bytes]
    unreadable: frozenset[Parts]


class Fetch:
    """Brings the files of one run's folder there into a folder here, in as many calls as it takes."""

    def __init__(
        self, verbs: Verbs, run_id: str, into: Path, failed: Callable[[str, str], TargetError]
    ) -> None:
        """`failed` makes an error of what could not be done, and of what the machine has said."""
        self._verbs, self._run_id, self._into, self._failed = verbs, run_id, into, failed
        self.copies: tuple[str, ...] = ()
        """The absolute paths of the copy of the project there; known after the first call."""

    def more(self, wanted: Sequence[Parts]) -> list[NotCollected]:
        """Bring these paths of the copy of the project too; what did not come. Raises as `all`."""
        missing = []
        batch: list[str] = []
        for parts in wanted:
            batch.append(text_of((*_COPY, *parts)))
            if sum(map(len, batch)) > _AT_ONCE:
                missing += self.all(*batch)
                batch = []
        return missing + (self.all(*batch) if batch else [])

    def all(self, *paths: str) -> list[NotCollected]:
        """Bring what a run brings home, or these paths of its folder; what did not come, and why.

        Raises:
            UnreachableError: contact was lost: what has come is not all.
            TargetError: the folder there can't be read at all.
            OSError: it can't be written here.
        """
        with self._verbs.stream("fetch", self._run_id, *paths) as channel:
            source = _Source(channel.stdout)
            listed = self._listed(source)
            found = unpack(source.read, self._into, outward_links=True, digests=True)
            changed = [] if found.broken else _changed(source, found)
            if source.is_at_end() and channel.wait() != 0:
                raise self._failed("the outputs could not be read", channel.stderr)
        self.copies = self.copies or listed.copies
        return _missing(listed, found, changed)

    def _listed(self, source: _Source) -> Listed:
        copies, kinds, unreadable = [], {}, set()
        for count, told in enumerate(source.records()):
            kind, name = told[:1], told[2:]
            if kind == b"=":
                copies.append(os.fsdecode(told[1:]))
            elif kind == b"x":
                unreadable.add(parts_of(name))
            elif count < LIMITS.entries:
                kinds[parts_of(name)] = kind
        return Listed(tuple(copies), kinds, frozenset(unreadable))


def _changed(source: _Source, found: Unpacked) -> list[Parts]:
    """The files that are not what they were on the machine when they were read once more."""
    changed = []
    for line in source.lines():
        match = _SUM.fullmatch(line)
        if match is None:
            continue
        escaped, digest, name = match.groups()
        if escaped:
            name = re.sub(rb"\\([\\nr])", lambda one: {b"n": b"\n", b"r": b"\r"}.get(one[1], b"\\"), name)
        here = found.digests.get(parts_of(name))
        if here is not None and here != digest.decode():
            changed.append(parts_of(name))
    return changed


def _missing(listed: Listed, found: Unpacked, changed: list[Parts]) -> list[NotCollected]:
    missing = [_not(parts, "it was changed while it was read", kept=True) for parts in changed]
    refused = {parts_of(os.fsencode(one.path)): one for one in found.refused}
    missing += [_not(parts, one.reason, kept=not one.holds_nothing) for parts, one in refused.items()]
    for parts, kind in listed.kinds.items():
        if parts in found.names or parts in refused:
            continue
        if kind in _KINDS:
            missing.append(_not(parts, _KINDS[kind], kept=False))
        else:
            reason = FOREIGN if parts in listed.unreadable else "it could not be read there"
            missing.append(_not(parts, reason + (f": {found.broken}" if found.broken else ""), kept=True))
    # Of a folder that can't be read, nobody knows what is in it.
    missing += [
        _not(parts, FOREIGN, kept=True)
        for parts in listed.unreadable
        if parts in found.names and listed.kinds.get(parts) == b"d"
    ]
    if found.broken and not any(one.kept for one in missing):
        missing.append(NotCollected("outputs", f"what came is not whole: {found.broken}", kept=True))
    return missing


def _not(parts: Parts, reason: str, *, kept: bool) -> NotCollected:
    return NotCollected(text_of(parts[1:] if parts[:1] == _COPY else parts), reason, kept)


class _Source:
    """The bytes of a channel, of which some end with a NUL and some with a line end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """As a file's; what was looked at already comes first."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        data = self._stream.read(size)
        self._ended = self._ended or not data
        return data

    def is_at_end(self) -> bool:
        """Whether nothing more comes, which is tried with a bounded amount."""
        left = _TOO_LONG * 64
        while not self._ended and left > 0:
            left -= len(self.read(_TOO_LONG))
        return self._ended

    def _until(self, end: bytes) -> bytes:
        """What comes before the next `end`, which is taken too; what there is at most, where none comes."""
        found = self._held
        at = found.find(end)
        while at < 0:
            if len(found) > _TOO_LONG:
                self._held = b""
                return found
            more = self._stream.read1(1 << 16)  # type: ignore[attr-defined]
            if not more:
                self._ended, self._held = True, b""
                return found
            at = more.find(end)
            at = at if at < 0 else at + len(found)
            found += more
        self._held = found[at + len(end) :]
        return found[:at]

    def records(self) -> Iterator[bytes]:
        """Up to an empty one, each ended by a NUL."""
        while record := self._until(b"\0"):
            yield record

    def lines(self) -> Iterator[bytes]:
        """What follows an archive, up to a NUL. Between them is what fills the archive's last block."""
        while not self._ended:
            line = self._until(b"\n").lstrip(b"\0")
            if b"\0" in line or line.startswith(b"tar "):
                return
            yield line
