"""The archive of a run's outputs, as a container of a cloud service packs it. For Python 3.5 and later."""

import os
import stat
import tarfile

_LOGGED = (
    "metrics.jsonl",
    "tags.jsonl",
    "models.jsonl",
    "python.json",
    "executors.jsonl",
    "packages.txt",
    "outputs",
)


class Pack:
    """An archive of outputs, with whatever their links lead to in the copy of the project.

    Folders are entered one at a time, since a path may be longer than the system takes.
    """

    def __init__(self, file, checkout):
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT)
        self._checkout = os.fsencode(os.path.realpath(checkout))
        self._linked = {}
        self._done = set()
        self._waiting = []

    def project(self):
        """Pack `outputs` of the copy."""
        root = os.open(self._checkout, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._waiting.append((b"outputs",))
            while self._waiting:
                self._reach(root, self._waiting.pop())
        finally:
            os.close(root)

    def _reach(self, root, parts):
        """Pack what is at a path of the copy: its folders on the way only if they are links."""
        folder, opened = root, []
        try:
            for number, name in enumerate(parts):
                at = parts[: number + 1]
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except OSError:
                    return
                if stat.S_ISLNK(status.st_mode):
                    rest = parts[number + 1 :]
                    self._link(folder, name, at, status, rest, "project/")
                    return
                if number + 1 == len(parts):
                    self._any(folder, name, at, status, "project/")
                    return
                if not stat.S_ISDIR(status.st_mode):
                    return
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                opened.append(folder)
        except OSError:
            pass
        finally:
            for each in opened:
                os.close(each)

    def logged(self, folder):
        """Pack the metric logger's files."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in _LOGGED:
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError:
                    continue
                self._any(descriptor, os.fsencode(name), (os.fsencode(name),), status, "logged/")
        finally:
            os.close(descriptor)

    def _any(self, folder, name, parts, status, prefix):
        """A file, a link, or a folder with all that is in it."""
        if (prefix, parts) in self._done:
            return
        if stat.S_ISLNK(status.st_mode):
            self._link(folder, name, parts, status, (), prefix)
            return
        self._done.add((prefix, parts))
        entry = self._entry(parts, status, prefix)
        if stat.S_ISREG(status.st_mode):
            self._file(folder, name, entry, status)
            return
        if not stat.S_ISDIR(status.st_mode):
            entry.type = tarfile.FIFOTYPE if stat.S_ISFIFO(status.st_mode) else tarfile.CHRTYPE
            self._tar.addfile(entry)
            return
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for found in sorted(os.listdir(inner)):
                each = os.fsencode(found)
                try:
                    of_each = os.stat(each, dir_fd=inner, follow_symlinks=False)
                except OSError:
                    continue
                self._any(inner, each, parts + (each,), of_each, prefix)
        finally:
            os.close(inner)

    def _file(self, folder, name, entry, status):
        known = self._linked.get((status.st_dev, status.st_ino))
        if status.st_nlink > 1 and known is not None:
            entry.type, entry.linkname = tarfile.LNKTYPE, known
            self._tar.addfile(entry)
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            entry.size = os.fstat(file.fileno()).st_size
            self._tar.addfile(entry, file)
        self._linked[status.st_dev, status.st_ino] = entry.name

    def _link(self, folder, name, parts, status, rest, prefix):
        text = os.readlink(name, dir_fd=folder)
        if (prefix, parts) not in self._done:
            self._done.add((prefix, parts))
            entry = self._entry(parts, status, prefix)
            entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(text)
            self._tar.addfile(entry)
        if prefix == "project/":
            led = self._led(parts[:-1], os.fsencode(text), rest)
            if led and (prefix, led) not in self._done and len(self._done) < 5000000:
                key = ("reached", parts, rest)
                if key not in self._done:
                    self._done.add(key)
                    self._waiting.append(led)

    def _led(self, at, text, rest):
        """The path in the copy that a link leads to; () for one that leads out."""
        if text.startswith(b"/"):
            real = self._checkout + b"/"
            if not text.startswith(real):
                return ()
            at, text = (), text[len(real) :]
        found = list(at)
        for part in text.split(b"/") + list(rest):
            if part == b"..":
                if not found:
                    return ()
                found.pop()
            elif part not in (b"", b"."):
                found.append(part)
        return tuple(found)

    def _entry(self, parts, status, prefix):
        entry = tarfile.TarInfo(prefix + os.fsdecode(b"/".join(parts)))
        entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
        return entry

    def close(self):
        """End the archive."""
        self._tar.close()
