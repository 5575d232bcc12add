"""Where a link in the copy of a project leads, seen from the copy: nothing outside is looked at."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from amlexec.targets import beneath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.targets.beneath import Parts

__all__ = ["Led", "Links", "relative"]

_MOST_LINKS = 40
"""One after the other, as the kernel has it."""


class Led(NamedTuple):
    """Where a link leads."""

    kind: str
    """`file`, `folder`, `other` (a FIFO, say), `out`, `nothing`, `circle`, `unreadable`, or `unknown`: it is
    not known as long as the copy has not come that far."""
    parts: Parts = ()
    """The real path in the copy; of what is unknown, the path that has to be asked for."""


class Links:
    """The links of a copy, or of what has come of it."""

    def __init__(self, root: int, aliases: Sequence[str], whole: Parts) -> None:
        """`root` is a descriptor of the copy, `aliases` its absolute paths for the script; first the real.

        Below `whole`, what is not there is nowhere; of the rest, not everything has come.
        """
        self._root = root
        # A machine that does not say where the copy was: then no absolute link leads into it.
        self._aliases = [beneath.parts_of(os.fsencode(one)) for one in aliases] or [(b"",)]
        self._whole = {whole}

    def status(self, parts: Parts) -> os.stat_result:
        """Of what is there, be it a link. Raises OSError."""
        with beneath.opened(self._root, parts[:-1]) as folder:
            return os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)

    def text(self, parts: Parts) -> bytes:
        """What a link says. Raises OSError."""
        with beneath.opened(self._root, parts[:-1]) as folder:
            return os.readlink(parts[-1], dir_fd=folder)

    def is_whole(self, parts: Parts) -> bool:
        """Whether all of a folder is here."""
        return any(parts[:end] in self._whole for end in range(len(parts) + 1))

    def led(self, at: Parts, text: bytes) -> Led:
        """Where a link in the folder `at` with this text leads."""
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
                    return Led("nothing")
                rest = () if b".." in waiting else tuple(reversed(waiting))
                return Led("unknown", (*at, part, *rest))
            except OSError:
                return Led("unreadable")
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    return Led("circle")
                target = self.text((*at, part))
                waiting += reversed(beneath.parts_of(target))
                outside = () if target.startswith(b"/") else None
            elif stat.S_ISDIR(status.st_mode):
                at = (*at, part)
            elif waiting:
                return Led("nothing")
            else:
                return Led("file" if stat.S_ISREG(status.st_mode) else "other", (*at, part))
        return Led("out") if outside is not None else Led("folder", at)


def relative(target: Parts, folder: Parts) -> bytes:
    """The text of a link in `folder` that leads to `target`."""
    same = 0
    while same < min(len(target), len(folder)) and target[same] == folder[same]:
        same += 1
    return b"/".join((*[b".."] * (len(folder) - same), *target[same:])) or b"."
