"""What a disk may have after a power loss: record the system calls of a command, and replay them partly.

A file's data are safe when the file was synced, and its name when its folder was. Anything else may be on the
disk or not. `strace` records the calls of a command and of all its children, git and shells included.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Call", "Disk", "LOSSES", "recorded"]

_KINDS = {
    **dict.fromkeys(("write", "pwrite64"), "write"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("link", "linkat"), "link"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "remove"),
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("symlink", "symlinkat"), "symlink"),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat"), "mode"),
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    "sync_file_range": "send",
    "ftruncate": "cut",
}
_OF_DESCRIPTORS = {
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "ftruncate",
    "fchmod",
    "close",
}
# What could write in another way would make the record wrong.
_CALLS = ",".join(
    (*_KINDS, "open", "openat", "creat", "close", "sendfile", "copy_file_range", "writev", "chdir")
)
Part = tuple[str, "str | None"]
_LINE = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")
_PART = re.compile(
    r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?|(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>[^,)]*|([^,"<]+)'
)
LOSSES = ("unsynced", "data", "zeros", "half", "names")
"""What is lost: all that was not synced; the data of files, or half of them, or they are zeros; or what
happened to names."""


class Call(NamedTuple):
    """A system call that changes the disk, or that syncs."""

    name: str
    """`make`, `write`, `cut`, `rename`, `link`, `remove`, `mkdir`, `symlink`, `mode`, `sync`, or `send`: to
    the cache of the disk, which the next `sync` empties, as git does it."""
    path: str
    other: str = ""
    """The new name; the target of a symbolic link."""
    data: bytes = b""
    at: int = 0
    """The offset of the data, a size, or a mode."""


def recorded(command: Sequence[str], root: Path, environment: Mapping[str, str], log: Path) -> list[Call]:
    """Run a command in `root`, which must succeed; its calls that concern the folder above `root`."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={_CALLS}", "-o", str(log)]
    done = subprocess.run([*strace, *command], cwd=root, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return [*_Reader(str(root.parent)).calls(log)]


class _Reader:
    """Reads what strace has written."""

    def __init__(self, within: str) -> None:
        self._within = within + "/"
        self._offsets: dict[tuple[str, str], tuple[str, int]] = {}
        """The path and the offset of each open file, by process and descriptor."""
        self._sizes: dict[str, int] = {}
        self._folders: dict[str, str] = {}
        """The working folder of each process."""
        self._appends: set[tuple[str, str]] = set()

    def calls(self, log: Path) -> Iterator[Call]:
        begun: dict[str, str] = {}
        for line in log.read_text("latin-1").splitlines():
            pid = line.split(" ", 1)[0]
            if line.endswith("<unfinished ...>"):
                begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
                continue
            resumed = re.match(r"\d+ +<\.\.\. \w+ resumed>", line)
            if resumed:
                line = begun.pop(pid) + line[resumed.end() :]
            match = _LINE.match(line)
            if match is None or not match["result"].isdecimal():
                continue  # a signal, the end of a process, or a call that has failed
            found = _PART.finditer(match["arguments"])
            parts = [_part(each) for each in found if each[0].strip()]
            yield from self._call(match["pid"], match["name"], parts, int(match["result"]))

    def _call(self, pid: str, name: str, parts: list[Part], result: int) -> Iterator[Call]:
        words = [word for word, _ in parts]
        if name == "chdir":
            self._folders[pid] = os.path.join(self._folders.get(pid, ""), words[0])  # noqa: PTH118 - text
            return
        if here := next((path for word, path in parts if word == "AT_FDCWD"), None):
            self._folders[pid] = here
        paths = _paths(name, parts, self._folders.get(pid, ""))
        inside = [path.startswith(self._within) for path in paths]
        if not (inside[-1] if name.startswith("symlink") else all(inside)):
            return
        numbers = [int(word) for word in words[1:] if word.isdecimal()]
        kind = _KINDS.get(name)
        if name in {"open", "openat", "creat"}:
            yield from self._opened(pid, str(result), paths[0], ",".join(words))
        elif kind == "write":
            at = numbers[-1] if name == "pwrite64" else self._offset(pid, words[0], paths[0])
            data = words[1].encode("latin-1")[:result]
            self._offsets[pid, words[0]] = paths[0], at + result
            self._sizes[paths[0]] = max(self._sizes.get(paths[0], 0), at + result)
            yield Call("write", paths[0], data=data, at=at)
        elif name == "close":
            self._offsets.pop((pid, words[0]), None)
        else:
            assert kind is not None, f"{name} is not understood"
            self._resize(kind, paths, numbers)
            other = words[0] if kind == "symlink" else paths[-1]
            size = numbers[-1] if kind == "cut" else int(str(numbers[0]), 8) if kind == "mode" else 0
            yield Call(kind, paths[-1] if kind == "symlink" else paths[0], other, at=size)

    def _offset(self, pid: str, descriptor: str, path: str) -> int:
        size = self._sizes.get(path, 0)
        opened, offset = self._offsets.get((pid, descriptor), ("", 0))
        return offset if opened == path and (pid, descriptor) not in self._appends else size

    def _resize(self, kind: str, paths: list[str], numbers: list[int]) -> None:
        if kind == "cut":
            self._sizes[paths[0]] = numbers[-1]
        elif kind == "rename":
            self._sizes[paths[1]] = self._sizes.pop(paths[0], 0)
        elif kind == "link":
            self._sizes[paths[1]] = self._sizes.get(paths[0], 0)
        elif kind == "remove":
            self._sizes.pop(paths[0], None)

    def _opened(self, pid: str, descriptor: str, path: str, flags: str) -> Iterator[Call]:
        key = (pid, descriptor)
        self._offsets[key] = path, 0
        self._appends.discard(key)
        if "O_APPEND" in flags:
            self._appends.add(key)
        if "O_CREAT" in flags and "O_DIRECTORY" not in flags:
            self._sizes.setdefault(path, 0)
            yield Call("make", path)
        if "O_TRUNC" in flags:
            self._sizes[path] = 0
            yield Call("cut", path, at=0)


def _part(found: re.Match[str]) -> Part:
    """An argument as text; and for a descriptor its path, None for a string, "" for anything else."""
    text, descriptor, path, other = found.groups()
    if text is not None:
        return _bytes(text), None
    if descriptor is not None:
        return descriptor, _bytes(path)
    return other.strip(), ""


def _bytes(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode("latin-1")


def _paths(name: str, parts: list[Part], working: str) -> list[str]:
    """The absolute paths of the files that a call is about."""
    if name in {
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "sync_file_range",
        "ftruncate",
        "fchmod",
        "dup",
        "dup2",
        "dup3",
        "close",
    }:
        return [parts[0][1] or ""]
    found, folder = [], working
    for word, path in parts:
        if path or word == "AT_FDCWD":
            folder = path or working
        elif path is None and word:
            found.append(word if word.startswith("/") else f"{folder}/{word}")
            folder = working
    return [re.sub(r"/(\./)+", "/", path.removesuffix("/")) for path in found]


class _File:
    """A file, a folder or a link, apart from its name."""

    def __init__(self, kind: str, data: bytes = b"", mode: int = 0o600) -> None:
        self.kind, self.data, self.mode = kind, bytearray(data), mode
        self.synced = bytes(data)
        """What is on the disk for sure."""
        self.entries: dict[str, _File] = {}
        """Of a folder: the names that are on the disk for sure."""

    def after(self, loss: str) -> bytes:
        """The content that is left."""
        data = bytes(self.data)
        if self.kind != "file" or data == self.synced or loss == "names":
            return data
        if loss == "zeros":
            return self.synced + bytes(max(0, len(data) - len(self.synced)))
        if loss == "half" and data.startswith(self.synced):
            return data[: (len(self.synced) + len(data)) // 2]
        return self.synced


class Disk:
    """The files below a folder: as processes see them, and as they are on the disk."""

    def __init__(self, root: Path) -> None:
        """Of an existing folder, whose content is on the disk."""
        self.root = str(root)
        self.names: dict[str, _File] = {}
        self._top = _File("folder")
        self._sent: list[tuple[_File, bytes]] = []
        for path in sorted(root.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                file = _File("link", os.fsencode(path.readlink()))
            elif stat.S_ISDIR(mode):
                file = _File("folder", mode=stat.S_IMODE(mode))
            else:
                file = _File("file", path.read_bytes(), stat.S_IMODE(mode))
            self.names[str(path)] = file
            (self.names.get(str(path.parent)) or self._top).entries[path.name] = file

    def apply(self, call: Call) -> None:
        """Do what a call has done."""
        names, path, other = self.names, call.path, call.other
        file = names.get(path)
        if call.name in {"make", "mkdir"}:
            names.setdefault(path, _File("file") if call.name == "make" else _File("folder", mode=0o700))
        elif call.name == "symlink":
            names[path] = _File("link", other.encode("latin-1"))
        elif call.name == "rename":
            for name in [name for name in names if name == path or name.startswith(f"{path}/")]:
                names[other + name[len(path) :]] = names.pop(name)
        elif call.name == "remove":
            names.pop(path, None)
        elif call.name == "sync":
            self._sync(self._top if path == self.root else file, path)
        elif file is not None:
            self._change(file, call)

    def _change(self, file: _File, call: Call) -> None:
        if call.name == "write":
            file.data.extend(bytes(max(0, call.at - len(file.data))))
            file.data[call.at : call.at + len(call.data)] = call.data
        elif call.name == "cut":
            file.data[:] = file.data[: call.at].ljust(call.at, b"\0")
        elif call.name == "link":
            self.names[call.other] = file
        elif call.name == "mode":
            file.mode = call.at & 0o7777
        elif call.name == "send":
            self._sent.append((file, bytes(file.data)))

    def _sync(self, file: _File | None, path: str) -> None:
        for sent, content in self._sent:
            sent.synced = content
        self._sent.clear()
        if file is None:
            return
        if file.kind == "file":
            file.synced = bytes(file.data)
            return
        inside = {
            name.rpartition("/")[2]: one
            for name, one in self.names.items()
            if name.rpartition("/")[0] == path
        }
        moved = [one for name, one in inside.items() if file.entries.get(name) is not one]
        file.entries = inside
        # A rename is on the disk as a whole: what has its new name has not its old one any more.
        for folder, other in [(self.root, self._top), *self.names.items()]:
            for name, one in [*other.entries.items()]:
                if one in moved and self.names.get(f"{folder}/{name}") is not one:
                    del other.entries[name]

    def after(self, loss: str) -> dict[str, tuple[str, bytes, int]]:
        """Kind, content and mode of what is left by name, in the order of names."""
        names = self.names
        if loss in {"unsynced", "names"}:
            names = {}
            waiting = [(self.root, self._top)]
            while waiting:
                path, folder = waiting.pop()
                for name, file in folder.entries.items():
                    names[f"{path}/{name}"] = file
                    waiting.append((f"{path}/{name}", file))
        return {name: (file.kind, file.after(loss), file.mode) for name, file in sorted(names.items())}

    def write(self, left: dict[str, tuple[str, bytes, int]], to: Path) -> None:
        """Make a folder with what is left."""
        to.mkdir()
        for name, (kind, data, mode) in left.items():
            path = to / name[len(self.root) + 1 :]
            if kind == "folder":
                path.mkdir()
                path.chmod(mode | 0o700)
            elif kind == "link":
                path.symlink_to(os.fsdecode(data))
            else:
                path.write_bytes(data)
                path.chmod(mode)
