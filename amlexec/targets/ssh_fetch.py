"""Downloads files of a run's remote folder, with the verb `fetch` of `runtime/host.sh`.

The machine sends a list of files, an archive, and the files' digests. So missing or changed files are
reported by name, and do not affect the others.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from amlexec.targets.beneath import Parts, parts_of, text_of
from amlexec.targets.outputs import FOREIGN
from amlexec.targets.safe_tar import LIMITS, Unpacked, unpack
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from amlexec.errors import TargetError
    from amlexec.ssh.channel import Stream
    from amlexec.targets.ssh_verbs import Verbs

__all__ = ["Fetch"]

_COPY: Parts = (b"project",)
_TOO_LONG = 1 << 17
"""Bytes; the limit for a line or a name."""
_AT_ONCE = 64_000
"""Bytes of paths that one call requests."""
_KINDS = {b"p": "it is a FIFO", b"s": "it is a socket", b"o": "it is a device"}
_SUM = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)


class FileList(NamedTuple):
    """The machine's list of files."""

    copies: tuple[str, ...]
    """The absolute paths of the remote copy of the project."""
    kinds: dict[Parts, bytes]
    unreadable: frozenset[Parts]


class Fetch:
    """Downloads files of a run's remote folder into a local folder, with one or more calls."""

    def __init__(
        self,
        verbs: Verbs,
        run_id: str,
        into: Path,
        failed: Callable[[str, str], TargetError],
        sent: Stream | None = None,
    ) -> None:
        """`failed` creates an error from a description and the machine's standard error.

        `sent` is a channel on which the run's results are already on their way.
        """
        self._verbs, self._run_id, self._into, self._failed = verbs, run_id, into, failed
        self._sent = sent
        self.copies: tuple[str, ...] = ()
        """The absolute paths of the remote copy of the project; set by the first call."""

    def more(self, wanted: Sequence[Parts]) -> list[NotCollected]:
        """Download these paths of the copy of the project; returns what was not. Raises like `all`."""
        missing = []
        batch: list[str] = []
        for parts in wanted:
            batch.append(text_of((*_COPY, *parts)))
            if sum(map(len, batch)) > _AT_ONCE:
                missing += self.all(*batch)
                batch = []
        return missing + (self.all(*batch) if batch else [])

    def all(self, *paths: str) -> list[NotCollected]:
        """Download the run's results, or these paths of its folder; returns what was not downloaded, and why.

        Raises:
            UnreachableError: the connection was lost, and the download is incomplete.
            TargetError: the remote folder can't be read.
            OSError: a file can't be written on this machine.
        """
        sent, self._sent = self._sent, None
        with nullcontext(sent) if sent else self._verbs.stream("fetch", self._run_id, *paths) as channel:
            source = _Source(channel.stdout)
            listed = self._listed(source)
            found = unpack(source.read, self._into, outward_links=True, digests=True)
            changed = [] if found.broken else _changed(source, found)
            if source.is_at_end() and channel.wait() != 0:
                raise self._failed("the outputs could not be read", channel.stderr)
        self.copies = self.copies or listed.copies
        return _missing(listed, found, changed)

    def _listed(self, source: _Source) -> FileList:
        copies, kinds, unreadable = [], {}, set()
        for count, told in enumerate(source.records()):
            kind, name = told[:1], told[2:]
            if kind == b"=":
                copies.append(os.fsdecode(told[1:]))
            elif kind == b"x":
                unreadable.add(parts_of(name))
            elif count < LIMITS.entries:
                kinds[parts_of(name)] = kind
        return FileList(tuple(copies), kinds, frozenset(unreadable))


def _changed(source: _Source, found: Unpacked) -> list[Parts]:
    """The files whose digest differs from that of a second read on the machine."""
    changed = []
    for line in source.lines():
        match = _SUM.fullmatch(line)
        if match is None:
            continue
        escaped, digest, name = match.groups()
        if escaped:
            name = re.sub(rb"\\([\\nr])", lambda code: {b"n": b"\n", b"r": b"\r"}.get(code[1], b"\\"), name)
        received = found.digests.get(parts_of(name))
        if received is not None and received != digest.decode():
            changed.append(parts_of(name))
    return changed


def _missing(listed: FileList, found: Unpacked, changed: list[Parts]) -> list[NotCollected]:
    missing = [_not(parts, "it was changed while it was read", kept=True) for parts in changed]
    refused = {parts_of(os.fsencode(entry.path)): entry for entry in found.refused}
    missing += [_not(parts, entry.reason, kept=not entry.holds_nothing) for parts, entry in refused.items()]
    for parts, kind in listed.kinds.items():
        if parts in found.names or parts in refused:
            continue
        if kind in _KINDS:
            missing.append(_not(parts, _KINDS[kind], kept=False))
        else:
            reason = FOREIGN if parts in listed.unreadable else "it could not be read there"
            missing.append(_not(parts, reason + (f": {found.broken}" if found.broken else ""), kept=True))
    # The content of an unreadable folder is unknown.
    missing += [
        _not(parts, FOREIGN, kept=True)
        for parts in listed.unreadable
        if parts in found.names and listed.kinds.get(parts) == b"d"
    ]
    if found.broken and not any(item.kept for item in missing):
        missing.append(NotCollected("outputs", f"the archive is incomplete: {found.broken}", kept=True))
    return missing


def _not(parts: Parts, reason: str, *, kept: bool) -> NotCollected:
    return NotCollected(text_of(parts[1:] if parts[:1] == _COPY else parts), reason, kept)


class _Source:
    """Reads a channel with records that end with a NUL, an archive, and lines."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """Like a file's `read`; returns buffered bytes first."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        data = self._stream.read(size)
        self._ended = self._ended or not data
        return data

    def is_at_end(self) -> bool:
        """Whether the stream ends; reads and drops a limited number of bytes to find out."""
        left = _TOO_LONG * 64
        while not self._ended and left > 0:
            left -= len(self.read(_TOO_LONG))
        return self._ended

    def _until(self, end: bytes) -> bytes:
        """The bytes before the next `end`, which is consumed; the rest if there is none, up to a limit."""
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
        """The records, each ended by a NUL, up to an empty one."""
        while record := self._until(b"\0"):
            yield record

    def lines(self) -> Iterator[bytes]:
        """The lines after the archive and its padding, up to a NUL."""
        while not self._ended:
            line = self._until(b"\n").lstrip(b"\0")
            if b"\0" in line or line.startswith(b"tar "):
                return
            yield line
