"""Collects the outputs of a run from its copy of the project: `outputs/`, and the targets of its links.

The rules are the same for every target. They are applied locally, to the copy itself or to the part of it
that has been downloaded.

- `outputs` may be a link to another folder of the copy.
- A link into `outputs/` stays a link. A link to another file of the copy is replaced by that file; further
  links to the same file then lead there.
- A link out of the copy, or a circular one, stays as it is and is never followed. The former is reported.
- Hard links are kept. A FIFO, a socket or a device is reported and left out.
- Files without read permission for their owner get it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from amlexec.light_typing import TYPE_CHECKING
from amlexec.targets import beneath
from amlexec.targets.copy_links import OUTPUTS, Links, Resolved, relative
from amlexec.targets.run_folders import bring_home
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from amlexec.targets.beneath import Parts

__all__ = ["FOREIGN", "Copy", "aliases_of", "bring"]

FOREIGN = "it belongs to another user and can't be read"
_NEW = b".amlexec-new"
_CONCERNS_ALL = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE])


def bring(
    copy: Path,
    home: Path,
    aliases: Sequence[str],
    more: Callable[[list[Parts]], list[NotCollected]] | None = None,
    *,
    foreign_stays: bool = False,
    refused: Sequence[NotCollected] = (),
) -> list[NotCollected]:
    """Move the outputs of the copy of a project to the folder `home`; returns what was not collected.

    `refused` did not get into the copy.

    `aliases` are the absolute paths that the copy had for the script, the real one first. For a copy on
    another machine, `copy` has its `outputs`, and `more` downloads further paths into it. With
    `foreign_stays`, nothing is moved if a file belongs to another user and can't be read. Idempotent.

    Raises:
        OSError: nothing can be written on this machine.
        TargetError: raised by `more`.
    """
    if copy.is_symlink() or not copy.is_dir():
        return []
    with Copy(copy, aliases, is_whole=more is None) as found:
        missing = [*refused]
        if more is not None:
            from amlexec.targets import copy_completion  # which a local copy does not need

            missing += copy_completion.complete(found, more)
        base = found.settle()
        missing = [found.named(item) for item in missing] + found.missing
    if base is None or (found.foreign and foreign_stays):
        return missing
    try:
        bring_home(copy.joinpath(*map(os.fsdecode, base)), home)
    except PermissionError:
        return [*missing, NotCollected("outputs", FOREIGN, kept=True)]
    if base != OUTPUTS and (copy / "outputs").is_symlink():
        (copy / "outputs").unlink()  # the link to the moved folder
    return missing


def aliases_of(copy: Path) -> list[str]:
    """The absolute paths of a local copy."""
    return [os.path.realpath(copy), str(copy)]


class Copy(Links):
    """The copy of a project, or the downloaded part of it."""

    def __init__(self, folder: Path, aliases: Sequence[str], *, is_whole: bool = True) -> None:
        whole: Parts = () if is_whole else OUTPUTS
        super().__init__(os.open(folder, beneath.FOLDER), aliases, whole)
        self._placed: dict[Parts, Parts] = {}
        """The new places, in the outputs, of files from elsewhere in the copy."""
        self._base: Parts = OUTPUTS
        self.missing: list[NotCollected] = []
        self.foreign = False
        """Whether a file belongs to another user and can't be read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.root)

    def _is_above(self, parts: Parts) -> bool:
        return self._base[: len(parts)] == parts

    def settle(self) -> Parts | None:
        """Make the outputs independent of the rest of the copy; returns their folder, or None."""
        target = self.resolve((), OUTPUTS[0])
        if target.kind != "folder" or not target.parts:
            reasons = {
                "file": "it is a file, not a folder",
                "other": "it is not a folder",
                "out": "it is a link that leads out of the run's copy of the project",
                "circle": "it is a circular link",
                "folder": "it is a link to the folder that it is in",
                "unreadable": FOREIGN,
            }
            with contextlib.suppress(FileNotFoundError):
                self.status(OUTPUTS)
                kept = target.kind in ("file", "folder", "unreadable")
                self._name(OUTPUTS, reasons.get(target.kind, "it is a broken link"), kept=kept)
            return None
        self._base = target.parts
        for at, folder, entries in beneath.walk(self.root, self._base):
            if isinstance(folder, OSError):
                self._unreadable(at, folder)
                continue
            mode = os.fstat(folder).st_mode
            if mode & 0o700 != 0o700:
                with contextlib.suppress(PermissionError):  # another user's folder, which can be read
                    os.fchmod(folder, mode & 0o777 | 0o700)
            for entry in entries:
                parts = (*at, os.fsencode(entry.name))
                self._try(parts, lambda: self._entry(parts, entry, folder))  # noqa: B023 - likewise
        return self._base

    def _try(self, parts: Parts, do: Callable[[], object]) -> None:
        try:
            do()
        except OSError as error:
            self._unreadable(parts, error)

    def _unreadable(self, parts: Parts, error: OSError) -> None:
        if error.errno in _CONCERNS_ALL:
            raise error
        denied = isinstance(error, PermissionError)
        self.foreign = self.foreign or denied
        self._name(parts, FOREIGN if denied else (error.strerror or str(error)).lower(), kept=True)

    def _name(self, parts: Parts, reason: str, *, kept: bool) -> None:
        if parts[: len(self._base)] == self._base:
            parts = OUTPUTS + parts[len(self._base) :]
        self.missing.append(NotCollected(beneath.text_of(parts), reason, kept))

    def named(self, item: NotCollected) -> NotCollected:
        """The item with its path in `outputs`, if that is a link to another folder."""
        start = beneath.text_of(self._base) + "/"
        path = f"outputs/{item.path[len(start) :]}" if item.path.startswith(start) else item.path
        return item._replace(path=path)

    def _entry(self, parts: Parts, entry: os.DirEntry[str], folder: int) -> None:
        if entry.is_symlink():
            self._link(parts, folder)
        elif entry.is_file(follow_symlinks=False):
            _make_readable(parts[-1], folder, entry.stat(follow_symlinks=False))
        elif not entry.is_dir(follow_symlinks=False):
            self._name(parts, _what(entry), kept=False)
            os.unlink(parts[-1], dir_fd=folder)

    def _link(self, parts: Parts, folder: int) -> None:
        text = os.readlink(parts[-1], dir_fd=folder)
        target = self.resolve(parts[:-1], text)
        place = self._place(target, parts, text)
        if place is not None:
            new = relative(place, parts[:-1])
            if place != target.parts or beneath.leads_out(parts[len(self._base) :], text):
                _replace(folder, parts[-1], lambda name: os.symlink(new, name, dir_fd=folder))
        elif target.kind == "file":
            with beneath.opened(self.root, target.parts[:-1]) as source:
                _replace(
                    folder,
                    parts[-1],
                    lambda name: beneath.link_or_copy(source, target.parts[-1], folder, name),
                )
            self._placed[target.parts] = parts
        elif target.kind == "folder":
            self._folder(target.parts, parts, folder)

    def _place(self, target: Resolved, parts: Parts, text: bytes) -> Parts | None:
        """The place of a link's target in the outputs; None if it is not there.

        Reports links that can't be followed.
        """
        if target.kind == "out":
            reason = f"it is a link that leads out of the run's copy of the project: {os.fsdecode(text)}"
            self._name(parts, reason, kept=False)
        elif target.kind == "other":
            self._name(parts, "it is a link to a pipe, a socket or a device", kept=False)
        elif target.kind == "unreadable":
            self._name(parts, "its target can't be read", kept=True)
        elif target.kind in ("file", "folder"):
            if target.parts[: len(self._base)] == self._base:
                return target.parts
            for end in range(len(target.parts), 0, -1):
                if (place := self._placed.get(target.parts[:end])) is not None:
                    return place + target.parts[end:]
        return None

    def _folder(self, source: Parts, parts: Parts, folder: int) -> None:
        """Replace a link to a folder by a copy of the folder, completely or not at all."""
        if self._is_above(source):
            self._name(parts, "it is a link to a folder that it is in", kept=True)
            return
        beneath.remove_below(folder, _NEW)
        os.mkdir(_NEW, 0o700, dir_fd=folder)
        self._placed[source] = parts
        new = (*parts[:-1], _NEW)
        waiting = [(source, new, parts)]
        while waiting:
            at, into, place = waiting.pop()
            with beneath.opened(self.root, at) as origin, beneath.opened(self.root, into) as made:
                os.fchmod(made, os.fstat(origin).st_mode & 0o777 | 0o700)
                for name in sorted(map(os.fsencode, os.listdir(origin))):  # noqa: PTH208 - a descriptor
                    where = ((*at, name), (*into, name), (*place, name))
                    self._try(where[2], lambda: self._copied(where, origin, made, waiting))  # noqa: B023
        os.unlink(parts[-1], dir_fd=folder)
        os.rename(_NEW, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)

    def _copied(
        self,
        where: tuple[Parts, Parts, Parts],
        origin: int,
        made: int,
        waiting: list[tuple[Parts, Parts, Parts]],
    ) -> None:
        """Copy one entry of a link's target from the folder `origin` to the folder `made`.

        `where` is its source, its temporary and its final path.
        """
        at, _, place = where
        name = at[-1]
        status = os.stat(name, dir_fd=origin, follow_symlinks=False)
        mode = status.st_mode
        if stat.S_ISLNK(mode):
            text = os.readlink(name, dir_fd=origin)
            target = self.resolve(at[:-1], text)
            found = self._place(target, place, text)
            if found is None and target.kind == "file":
                with beneath.opened(self.root, target.parts[:-1]) as source:
                    beneath.link_or_copy(source, target.parts[-1], made, name)
                self._placed[target.parts] = place
                return
            if found is not None or target.kind != "folder" or self._is_above(target.parts):
                if found is None and target.kind == "folder":
                    self._name(place, "it is a link to a folder that it is in", kept=True)
                os.symlink(text if found is None else relative(found, place[:-1]), name, dir_fd=made)
                return
            self._placed[target.parts] = place
            at, mode = target.parts, stat.S_IFDIR
        if stat.S_ISDIR(mode):
            os.mkdir(name, 0o700, dir_fd=made)
            waiting.append((at, where[1], place))
        elif stat.S_ISREG(mode):
            _make_readable(name, origin, status)
            beneath.link_or_copy(origin, name, made, name)
        else:
            self._name(place, "it is a pipe, a socket or a device", kept=False)


def _make_readable(name: bytes, folder: int, status: os.stat_result) -> None:
    """Make a file readable and writable for its owner, and remove setuid and setgid bits.

    Raises:
        PermissionError: it belongs to another user and can't be read.
    """
    if os.geteuid() in (0, status.st_uid):
        if status.st_mode & 0o7600 != 0o600:
            os.chmod(name, status.st_mode & 0o777 | 0o600, dir_fd=folder)
    elif not os.access(name, os.R_OK, dir_fd=folder):
        raise PermissionError(errno.EACCES, FOREIGN)


def _what(entry: os.DirEntry[str]) -> str:
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISFIFO(mode):
        return "it is a FIFO"
    return "it is a socket" if stat.S_ISSOCK(mode) else "it is a device"


def _replace(folder: int, name: bytes, make: Callable[[bytes], object]) -> None:
    """Atomically replace a link by what `make` creates under a temporary name."""
    beneath.remove_below(folder, _NEW)
    make(_NEW)
    os.rename(_NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
