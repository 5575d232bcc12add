"""Files that others may have created: special files are errors, and nothing hangs."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from pathlib import Path

import pytest

from amlexec import files, temporaries


@pytest.fixture(params=["pipe", "socket", "device", "folder", "loop", "huge"])
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that is not a readable file."""
    path = tmp_path / "odd"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("odd")
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "loop":
        path.symlink_to(path)
    else:
        with path.open("wb") as file:
            file.truncate(3 << 30)
    return path


@pytest.mark.parametrize("follow", [True, False])
def test_a_special_file_is_an_error_at_once(odd: Path, follow: bool) -> None:
    with pytest.raises(OSError, match="odd") as raised:
        files.read_regular(odd, 1000, follow=follow)
    assert raised.value.strerror


@pytest.mark.parametrize("odd", ["pipe", "socket", "device", "folder", "loop"], indirect=True)
def test_nothing_is_written_to_a_special_file(odd: Path) -> None:
    for write in (files.touch, lambda path: files.append(path, "x")):
        with pytest.raises(OSError, match="odd"):
            write(odd)


def test_a_link_is_followed_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert files.read_regular(tmp_path / "link", 4) == b"text"
    with pytest.raises(OSError, match="link"):
        files.read_regular(tmp_path / "link", 4, follow=False)
    with pytest.raises(OSError, match="link"):
        files.append(tmp_path / "link", "more")
    assert (tmp_path / "file").read_text() == "text"
    with pytest.raises(OSError, match="larger than 3 bytes"):
        files.read_regular(tmp_path / "file", 3)


def test_replacing_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    files.write_atomically(tmp_path / "link", "new")
    assert ((tmp_path / "file").read_text(), (tmp_path / "link").read_text()) == ("text", "new")
    assert names(tmp_path) == ["file", "link"]


def test_a_file_has_the_requested_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "own", b"\xff")
        files.write_atomically(tmp_path / "umask", "x", mode=0o666, durable=False)
        files.write_atomically(tmp_path / "exact", "x", mode=0o666, exact_mode=True)
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names(tmp_path)}
    assert modes == {"own": 0o600, "umask": 0o640, "exact": 0o666}
    assert (tmp_path / "own").read_bytes() == b"\xff"


def test_a_new_file_does_not_replace_another(tmp_path: Path) -> None:
    (tmp_path / "taken").symlink_to("nowhere")
    for name in ("taken", "free"):
        beside = temporaries.write_beside(tmp_path / name, "new")
        with pytest.raises(FileExistsError) if name == "taken" else nullcontext():
            temporaries.publish(beside, tmp_path / name)
        temporaries.remove(beside)
    assert names(tmp_path) == ["free", "taken"]
    assert ((tmp_path / "free").read_text(), str((tmp_path / "taken").readlink())) == ("new", "nowhere")


def test_a_temporary_file_for_a_long_name(tmp_path: Path) -> None:
    name = "é" * 127
    files.write_atomically(tmp_path / name, "x")
    assert names(tmp_path) == [name]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
