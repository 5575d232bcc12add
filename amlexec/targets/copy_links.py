"""Resolves links in the copy of a project, without access to anything outside the copy."""

from __future__ import annotations

import os
import stat

from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.targets import beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.targets.beneath import Parts

__all__ = ["OUTPUTS", "Links", "Resolved", "relative"]

OUTPUTS: Parts = (b"outputs",)

_MOST_LINKS = 40
"""Length of a chain of links, as in the kernel."""


class Resolved(NamedTuple):
    """The resolved target of a link."""

    kind: str
    """`file`, `folder`, `other` (such as a FIFO), `out`, `nothing`, `circle`, `unreadable`, or `unknown`: not
    known until more of the copy has been collected."""
    parts: Parts = ()
    """The real path in the copy; for `unknown`, the path to collect next."""


class Links:
    """The links of a copy, or of the collected part of it."""

    def __init__(self, root: int, aliases: Sequence[str], whole: Parts) -> None:
        """`root` is a descriptor of the copy, `aliases` its absolute paths for the script, real first.

        Everything below `whole` has been collected; other paths may still be missing.
        """
        self.root = root
        # Without the copy's path on the machine, no absolute link leads into it.
        self._aliases = [beneath.parts_of(os.fsencode(alias)) for alias in aliases] or [(b"",)]
        self._whole = {whole}

    def status(self, parts: Parts) -> os.stat_result:
        """The status of a path; links are not followed. Raises OSError."""
        with beneath.opened(self.root, parts[:-1]) as folder:
            return os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)

    def text(self, parts: Parts) -> bytes:
        """The text of a link. Raises OSError."""
        with beneath.opened(self.root, parts[:-1]) as folder:
            return os.readlink(parts[-1], dir_fd=folder)

    def add_whole(self, folders: Iterable[Parts]) -> None:
        """Mark folders as collected in full."""
        self._whole.update(folders)

    def is_whole(self, parts: Parts) -> bool:
        """Whether all of a folder has been collected."""
        return any(parts[:end] in self._whole for end in range(len(parts) + 1))

    def resolve(self, at: Parts, text: bytes) -> Resolved:
        """Resolve a link in the folder `at` with this text."""
        outside: Parts | None = () if text.startswith(b"/") else None
        waiting = list(reversed(beneath.parts_of(text)))
        links = 0
        while waiting:
            part = waiting.pop()
            if outside is not None:
                outside = outside[:-1] if part == b".." else (*outside, part)
                if outside in self._aliases:
                    at, outside = (), None
                continue
            if part == b"..":
                at, outside = (at[:-1], None) if at else ((), self._aliases[0][:-1])
                continue
            try:
                status = self.status((*at, part))
            except (FileNotFoundError, NotADirectoryError):
                if self.is_whole(at):
                    return Resolved("nothing")
                rest = () if b".." in waiting else tuple(reversed(waiting))
                return Resolved("unknown", (*at, part, *rest))
            except OSError:
                return Resolved("unreadable")
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    return Resolved("circle")
                target = self.text((*at, part))
                waiting += reversed(beneath.parts_of(target))
                outside = () if target.startswith(b"/") else None
            elif stat.S_ISDIR(status.st_mode):
                at = (*at, part)
            elif waiting:
                return Resolved("nothing")
            else:
                return Resolved("file" if stat.S_ISREG(status.st_mode) else "other", (*at, part))
        return Resolved("out") if outside is not None else Resolved("folder", at)


def relative(target: Parts, folder: Parts) -> bytes:
    """The text of a relative link from `folder` to `target`."""
    same = 0
    while same < min(len(target), len(folder)) and target[same] == folder[same]:
        same += 1
    return b"/".join((*[b".."] * (len(folder) - same), *target[same:])) or b"."
