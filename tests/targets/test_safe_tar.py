"""Archives of a hostile machine: what is unpacked and refused, and that nothing else is touched."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amlexec.file_trees import remove_tree
from amlexec.targets.beneath import opened, parts_of
from amlexec.targets.safe_tar import Limits, Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "what nobody else may change\n"
END = bytes(1024)


def head(
    name: str | bytes,
    kind: bytes = b"0",
    size: int = 0,
    *,
    link: str | bytes = b"",
    mode: int = 0o644,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    raw_size: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """A header with any values."""

    def field(text: str | bytes, length: int) -> bytes:
        data = os.fsencode(text) if isinstance(text, str) else text
        assert len(data) <= length
        return data.ljust(length, b"\0")

    block = field(name, 100) + b"%07o\0" % mode + b"0000000\0" * 2
    block += (raw_size or b"%011o\0" % size) + b"00000000000\0" + b" " * 8 + kind
    block += field(link, 100) + magic + bytes(32 + 32 + 16) + field(prefix, 155)
    block = (block[: 512 - len(rest)] + rest).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def file(name: str | bytes, content: bytes = b"hostile", mode: int = 0o644) -> bytes:
    """A regular file."""
    return head(name, b"0", len(content), mode=mode) + padded(content)


def padded(content: bytes) -> bytes:
    """Content in whole blocks."""
    return content + bytes(-len(content) % 512)


def pax(**records: str | bytes) -> bytes:
    """A pax header for the next entry; `_` in a key stands for a dot."""
    data = b""
    for key, value in records.items():
        text = value.encode() if isinstance(value, str) else value
        record = b" " + key.replace("_", ".").encode() + b"=" + text + b"\n"
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length += 1
        data += str(length).encode() + record
    return head("pax", b"x", len(data)) + padded(data)


def pax_for_all(data: bytes) -> bytes:
    """A pax header for all entries that follow."""
    return head("pax", b"g", len(data)) + padded(data)


def long_name(kind: bytes, name: bytes) -> bytes:
    """GNU's header for a long name (L) or link (K)."""
    return head("././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


class Hostile(NamedTuple):
    """An archive, and the expected result."""

    what: str
    archive: bytes | Callable[[Path], bytes]
    """The archive, for a home folder; the target folder is two levels below it."""
    refused: tuple[str, ...]
    """Texts of the refusals, in order; `broken: …` if the archive is not read further."""
    came: tuple[str, ...] = ()
    before: Callable[[Path, Path], object] | None = None
    """Creates existing files; called with the folder and the home folder."""


def _in_the_way(name: str, target: str) -> Callable[[Path, Path], object]:
    return lambda into, home: (into / name).symlink_to(home / target)


HOSTILE = [
    Hostile("an absolute name", lambda home: file(f"{home}/secret"), ("absolute",)),
    Hostile("a name with ..", file("../../secret"), ("leads out",)),
    Hostile("a name with .. further down", file("a/../../../secret"), ("leads out",)),
    Hostile("a name that is ..", head("..", b"5", mode=0o777), ("leads out",)),
    Hostile(
        "a name with .. in its prefix",
        head("secret", b"0", 7, prefix=b"../..") + padded(b"hostile"),
        ("leads out",),
    ),
    Hostile("a GNU long name with ..", long_name(b"L", b"../../secret") + file("x"), ("leads out",)),
    Hostile("a pax name with ..", pax(path="../../secret") + file("x"), ("leads out",)),
    Hostile(
        "a pax name that is absolute", lambda home: pax(path=f"{home}/secret") + file("x"), ("absolute",)
    ),
    Hostile(
        "a file through a link to a folder",
        head("d", b"2", link="../..") + file("d/secret"),
        ("leads out",),
        ("d/secret",),
    ),
    Hostile(
        "a file through a link that was there before",
        file("d/secret"),
        ("in place of its folder",),
        before=_in_the_way("d", "."),
    ),
    Hostile(
        "a file over a link that was there before",
        file("x"),
        ("already exists",),
        before=_in_the_way("x", "secret"),
    ),
    Hostile(
        "a link, then a file of its name",
        lambda home: head("x", b"2", link=f"{home}/secret") + file("x"),
        ("leads out",),
        ("x",),
    ),
    Hostile(
        "a file, then a link, then a file",
        file("x", b"first") + head("x", b"2", link="y") + file("x", b"third"),
        ("already exists", "already exists"),
        ("x",),
    ),
    Hostile(
        "a hard link to a file outside, then a file of its name",
        head("x", b"1", link="../../secret") + file("x"),
        ("hard link that leads out",),
        ("x",),
    ),
    Hostile(
        "a hard link with an absolute name",
        lambda home: head("x", b"1", link=f"{home}/secret") + file("x"),
        ("hard link that leads out",),
        ("x",),
    ),
    Hostile(
        "a hard link through a link",
        head("x", b"1", link="d/secret"),
        ("in place of its folder",),
        before=_in_the_way("d", "."),
    ),
    Hostile(
        "a hard link to a link",
        head("x", b"1", link="l") + file("x"),
        ("not in this archive",),
        ("x",),
        before=_in_the_way("l", "secret"),
    ),
    Hostile(
        "a hard link to what was there before",
        head("x", b"1", link="old") + file("x"),
        ("not in this archive",),
        ("x",),
        before=lambda into, home: os.link(home / "secret", into / "old"),
    ),
    Hostile(
        "a hard link to a folder",
        head("d", b"5") + head("x", b"1", link="d"),
        ("not in this archive",),
        ("d",),
    ),
    Hostile("a hard link to itself", head("x", b"1", link="x"), ("not in the archive",)),
    Hostile("a GNU long link", long_name(b"K", b"../../secret") + head("x", b"1"), ("leads out",)),
    Hostile("a pax link", pax(linkpath="../../secret") + head("x", b"2"), ("leads out",)),
    Hostile("a link to the folder above", head("x", b"2", link=".."), ("leads out",)),
    Hostile(
        "a link from below to outside",
        head("a/b/x", b"2", link="../../../y"),
        ("leads out",),
        ("a/b",),
    ),
    Hostile(
        "a link through a link",
        head("q", b"2", link=".") + head("x", b"2", link="q/q/../../secret"),
        ("leads out",),
        ("q",),
    ),
    Hostile(
        "a folder that becomes a link",
        lambda home: head("d", b"5") + head("d", b"2", link=f"{home}") + file("d/secret"),
        ("leads out",),
        ("d/secret",),
    ),
    Hostile(
        "a link that becomes a folder",
        head("d", b"2", link="e") + head("d", b"5") + file("d/secret"),
        ("in place of its folder", "in place of its folder"),
        ("d",),
    ),
    Hostile("a file under a file", file("x") + file("x/secret"), ("in place of its folder",), ("x",)),
    Hostile("a folder over a file", file("x") + head("x/", b"5"), ("in place of its folder",), ("x",)),
    Hostile(
        "names that differ by ./ and slashes",
        file("./a//b", b"one") + file("a/./b", b"two") + head("a/", b"5", mode=0o700),
        ("already exists",),
        ("a/b",),
    ),
    Hostile("a character device", head("null", b"3"), ("character device",)),
    Hostile("a block device", head("disk", b"4"), ("block device",)),
    Hostile("a FIFO", head("pipe", b"6"), ("FIFO",)),
    Hostile("an unknown type", head("x", b"Q", 7) + padded(b"hostile") + file("y"), ("type",), ("y",)),
    Hostile(
        "a sparse file that claims a terabyte",
        head("x", b"S", 0, magic=b"ustar  \0", rest=b"0" * 12 + b"\x80" + bytes(10)) + file("y"),
        ("sparse",),
        ("y",),
    ),
    Hostile(
        "a pax sparse file",
        pax(GNU_sparse_realsize="1099511627776", GNU_sparse_name="../../secret") + file("x"),
        ("sparse",),
    ),
    Hostile(
        "setuid, setgid and sticky bits",
        file("x", mode=0o6755) + head("d", b"5", mode=0o7777),
        (),
        ("d", "x"),
    ),
    Hostile(
        "a mode that forbids everything",
        file("x", mode=0) + head("d", b"5", mode=0),
        (),
        ("d", "x"),
    ),
    Hostile("no name at all", file("") + file("y"), ("no name",), ("y",)),
    Hostile("a name of slashes", file("///") + file("y"), ("absolute",), ("y",)),
    Hostile("a folder's name for a file", file("./") + file("y"), ("no name",), ("y",)),
    Hostile("a NUL in a pax name", pax(path=b"x\0y") + file("z"), ("NUL",)),
    Hostile("a NUL in a long name", long_name(b"L", b"x\0y") + file("z"), ("NUL",)),
    Hostile("a NUL in a link", pax(linkpath=b"x\0y") + head("z", b"2"), ("NUL",)),
    Hostile(
        "a name that is too long",
        long_name(b"L", b"x" * 300) + file("x") + file("y"),
        ("too long",),
        ("y",),
    ),
    Hostile(
        "a path that is too long",
        long_name(b"L", b"x/" * 40000) + file("x") + file("y"),
        ("",),
        ("y",),
    ),
    Hostile("too many folders", long_name(b"L", b"d/" * 5000) + file("x"), ("4096 folders",)),
    Hostile("a link that is too long", long_name(b"K", b"x" * 5000) + head("x", b"2"), ("",)),
    Hostile("a link to nothing", head("x", b"2") + head("y", b"1"), ("to nothing", "to nothing")),
    Hostile(
        "a pax header of two megabytes",
        pax(comment="x" * (2 << 20), path="../../secret") + file("x") + file("y"),
        ("damaged or too large",),
        ("y",),
    ),
    Hostile(
        "a pax header that is damaged",
        head("pax", b"x", 9) + padded(b"99 path=x") + file("x") + file("y"),
        ("damaged",),
        ("y",),
    ),
    Hostile(
        "a pax header for all that follows",
        pax_for_all(b"21 path=../../secret\n") + file("x"),
        (),
        ("x",),
    ),
    Hostile("headers without end", long_name(b"L", b"x") * 5000 + file("y"), ("broken: too many headers",)),
    Hostile(
        "a negative size",
        head("x", b"0", raw_size=b"\xff" * 12) + file("y"),
        ("broken: impossible size",),
    ),
    Hostile(
        "a size of letters",
        head("x", b"0", raw_size=b"-0000000001\0") + file("y"),
        ("broken: impossible size",),
    ),
    Hostile(
        "a negative pax size",
        pax(size="-512") + file("x") + file("y"),
        ("broken: impossible size",),
    ),
    Hostile("a pax size of the sky", pax(size="9" * 30) + file("x"), ("broken: impossible size",)),
    Hostile(
        "a size that is not there",
        head("x", b"0", raw_size=b"\x80" + b"\0" * 5 + b"\1" + bytes(5)) + b"half",
        ("broken: middle of a file",),
    ),
    Hostile(
        "a wrong checksum",
        file("x") + file("../../secret").replace(b"secret", b"Secret") + END,
        ("broken: a header is invalid",),
        ("x",),
    ),
    Hostile("no archive at all", b"<html>" * 1000, ("broken: a header is invalid",)),
    Hostile("an archive without an end", file("x", bytes(9000))[:700], ("broken: middle",)),
]


@pytest.fixture(params=["filters", "none"])
def _filters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10.0 has no filters for what `tarfile` unpacks."""
    if request.param == "none":
        for name in ("tar_filter", "data_filter", "fully_trusted_filter"):
            monkeypatch.delattr(tarfile, name, raising=False)


class Home(NamedTuple):
    """A home folder with a folder for unpacking in it."""

    path: Path
    into: Path

    def listing(self) -> dict[str, tuple[int, str]]:
        """Everything that is not in the folder, with modes and contents."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            if self.into not in path.parents:
                mode = path.lstat().st_mode
                found[str(path)] = (mode, path.read_text() if stat.S_ISREG(mode) else "")
        return found

    def names(self) -> list[str]:
        """The files and empty folders in the folder."""
        return sorted(
            str(path.relative_to(self.into))
            for path in self.into.rglob("*")
            if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "home"
    into = path / "project" / "incoming"
    into.mkdir(parents=True)
    (path / "secret").write_text(SECRET)
    (path / "secret").chmod(0o600)
    return Home(path, into)


def taken(archive: bytes, into: Path, **options: object) -> Unpacked:
    """Unpack bytes."""
    return unpack(io.BytesIO(archive).read, into, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_filters")
@pytest.mark.parametrize("hostile", HOSTILE, ids=[one.what for one in HOSTILE])
def test_nothing_is_written_outside(hostile: Hostile, home: Home) -> None:
    if hostile.before is not None:
        hostile.before(home.into, home.path)
    there, before = home.names(), home.listing()
    archive = hostile.archive if isinstance(hostile.archive, bytes) else hostile.archive(home.path)
    found = taken(archive + END, home.into)
    assert home.listing() == before
    assert (home.path / "secret").stat().st_mode & 0o7777 == 0o600
    told = [one.reason for one in found.refused] + ([f"broken: {found.broken}"] if found.broken else [])
    assert len(told) == len(hostile.refused), told
    for reason, words in zip(told, hostile.refused, strict=True):
        assert all(word in reason for word in words.split(": ")), told
    assert sorted(set(home.names()) - set(there)) == sorted(hostile.came)
    for path in home.into.rglob("*"):
        if not path.is_symlink() and str(path.relative_to(home.into)) not in there:
            wanted = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o7000 == 0
            assert path.stat().st_mode & wanted == wanted


def test_the_hard_link_of_the_attack_becomes_a_separate_file(home: Home) -> None:
    """A new entry is never written into an existing file of its name."""
    key = home.path / "authorized_keys"
    key.write_text(SECRET)
    archive = head("x", b"1", link=f"../../../{home.path.name}/authorized_keys") + file("x", b"mine") + END
    assert [one.path for one in taken(archive, home.into).refused] == ["x"]
    assert (home.into / "x").read_bytes() == b"mine"
    assert (home.into / "x").stat().st_nlink == 1
    assert key.read_text() == SECRET


def test_links_that_lead_out_can_be_kept_as_text(home: Home) -> None:
    archive = head("l", b"2", link=f"{home.path}/secret") + file("l") + head("d", b"2", link="../..")
    archive += file("d/secret") + END
    found = taken(archive, home.into, outward_links=True)
    assert [one.path for one in found.refused] == ["l", "d/secret"]
    assert (home.path / "secret").read_text() == SECRET
    assert str((home.into / "l").readlink()) == f"{home.path}/secret"


@pytest.mark.parametrize(
    ("limits", "came", "why"),
    [
        (Limits(entries=2), ["a", "b"], "more than 2 entries"),
        (Limits(bytes=8), ["a"], "more than 8 bytes"),
        (Limits(depth=1), ["a", "b"], ""),
    ],
)
def test_limits(home: Home, limits: Limits, came: list[str], why: str) -> None:
    found = taken(file("a") + file("b") + file("c/d") + END, home.into, limits=limits)
    assert home.names() == came
    assert why in found.broken
    assert bool(found.broken) is not bool(found.refused)


def test_refusals_beyond_the_list_are_counted(home: Home) -> None:
    found = taken(file("/x") * 1200 + END, home.into)
    assert (len(found.refused), found.more) == (1000, 200)


def _made(folder: Path) -> None:
    """Every kind of file that a normal script may write."""
    names = ["plain", "a" * 150, "ü", "new\nline", os.fsdecode(b"\xff"), "b" * 255]
    for name in names:
        (folder / name).write_text(name, errors="surrogateescape")
    (folder / "plain").chmod(0o755)
    os.utime(folder / "plain", (1_000_000_000, 1_000_000_000))
    os.link(folder / "plain", folder / "same")
    (folder / "link").symlink_to("plain")
    (folder / "empty").mkdir()
    (folder / ("deep/" * 30)).mkdir(parents=True)
    (folder / ("deep/" * 30) / "file").write_bytes(bytes(100_000))


def _packed(folder: Path, how: str) -> bytes:
    if how == "tar":
        command = ["tar", "-cf", "-", "-C", folder, "."]
        return subprocess.run(command, check=True, capture_output=True).stdout
    held = io.BytesIO()
    formats = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    with tarfile.open(fileobj=held, mode="w", format=formats[how]) as archive:
        archive.add(folder, ".")
    return held.getvalue()


@pytest.mark.parametrize("how", ["tar", "gnu", "pax"])
def test_normal_files_are_unpacked_unchanged(home: Home, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    _made(folder)
    found = taken(_packed(folder, how), home.into, digests=True)
    assert (found.refused, found.broken) == ((), "")

    def told(root: Path) -> dict[str, object]:
        return {
            str(path.relative_to(root)): path.readlink()
            if path.is_symlink()
            else path.is_file() and path.read_bytes()
            for path in root.rglob("*")
        }

    assert told(home.into) == told(folder)
    assert (home.into / "plain").samefile(home.into / "same")
    assert (home.into / "plain").stat().st_mtime == 1_000_000_000
    assert (home.into / "plain").stat().st_mode & 0o777 == 0o755
    first = found.digests.get((b"plain",)) or found.digests[(b"same",)]
    assert first == hashlib.sha256(b"plain").hexdigest()


def test_a_path_longer_than_the_systems_limit(home: Home) -> None:
    """700 nested folders: longer than the limit for one call."""
    name = b"folder/" * 700
    found = taken(long_name(b"L", name + b"x") + file("x", b"deep") + END, home.into)
    assert (found.refused, found.broken) == ((), "")
    at = os.open(home.into, os.O_RDONLY)
    try:
        with (
            opened(at, parts_of(name)) as folder,
            os.fdopen(os.open("x", os.O_RDONLY, dir_fd=folder), "rb") as read,
        ):
            assert read.read() == b"deep"
    finally:
        os.close(at)
    remove_tree(home.into)
    assert not home.into.exists()


def test_whether_the_last_entry_is_a_folder(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "deep" / "er").mkdir(parents=True)
    assert taken(_packed(folder, "pax"), home.into).last_folder == b"./deep/er/"
    (folder / "deep" / "er" / "x").touch()
    assert taken(_packed(folder, "pax"), home.into).last_folder == b""


def test_a_full_disk_is_an_error(small_disk: Path) -> None:
    """It concerns all files, so nothing counts as collected."""
    with pytest.raises(OSError, match="No space left"):
        taken(file("x", bytes(8 << 20)) + END, small_disk)
    assert list(small_disk.iterdir()) == []


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=20), st.integers(0, 4096))
def test_any_damage_is_reported(damage: list[tuple[int, int]], end: int) -> None:
    """Bytes changed and cut off at random: a broken archive, and no traceback."""
    archive = bytearray(
        file("a/b") + head("l", b"2", link="a") + head("h", b"1", link="a/b") + pax(path="p") + file("c")
    )
    for place, value in damage:
        if place < len(archive):
            archive[place] = value
    for at in range(0, len(archive) - 511, 512):  # most headers would be refused for their checksum alone
        block = archive[at : at + 512]
        if block[257:262] == b"ustar":
            archive[at + 148 : at + 156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "in")
        into.mkdir()
        taken(bytes(archive)[:end], into)
        assert [path.name for path in Path(folder).iterdir()] == ["in"]
