"""A folder that another user has created first is not used, and does not cause an error."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec import private_folders
from amlexec.images import build_lock
from amlexec.ssh.runtime_dir import runtime_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


STRANGER = 65534


@pytest.fixture(autouse=True)
def _tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    before = set(Path("/tmp").iterdir())
    yield
    for path in set(Path("/tmp").glob(f"amlexec-{os.getuid()}-*")) - before:
        if not path.is_symlink() and path.owner() and not any(path.iterdir()):
            path.rmdir()


def squatted(path: Path, how: str) -> Path:
    """Create a folder of that name as another user would."""
    if how == "link":
        path.symlink_to(path.parent)
    elif how == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod({"open": 0o777, "theirs": 0o700}[how])
        if how == "theirs":
            if os.geteuid() != 0:
                pytest.fail(
                    "only root may give a folder to another user: run the suite as root in a container"
                )
            os.chown(path, STRANGER, STRANGER)
    return path


@pytest.mark.parametrize("how", ["theirs", "open", "link", "file"])
def test_another_folder_is_chosen_and_kept(tmp_path: Path, how: str) -> None:
    taken = squatted(tmp_path / "taken", how)
    found = private_folders.first_of([taken], "run")
    assert private_folders.is_private(found)
    assert found != taken
    assert len(os.fsencode(found)) <= 60
    assert private_folders.first_of([taken], "run") == found, "all processes of a user share it"
    assert private_folders.first_of([taken], "locks") != found
    # If it is removed, or another user takes its name too, a new one is chosen.
    found.rmdir()
    squatted(found, "open")
    again = private_folders.first_of([taken], "run")
    found.rmdir()
    assert again != found
    assert private_folders.first_of([taken], "run") == again


def test_simultaneous_processes_choose_the_same_folder(tmp_path: Path) -> None:
    taken, found = squatted(tmp_path / "taken", "open"), []
    threads = [
        threading.Thread(target=lambda: found.append(private_folders.first_of([taken], "run")))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 1


def test_a_folder_inside_another_users_folder_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = squatted(tmp_path / "theirs", "theirs")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(above))  # as `su` leaves it
    assert above not in runtime_folder().parents


def test_an_unwritable_cache_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = private_folders.first_of([squatted(tmp_path / "taken", "open")], "run")
    assert private_folders.is_private(found)


def test_links_in_the_cache_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = squatted(tmp_path / "taken", "open")
    first = private_folders.first_of([taken], "run")
    (note,) = (Path.home() / ".cache/amlexec").glob(".run-*")
    for told in (b"relative\n", b"/etc\n", str(taken).encode(), b"\xff\n", b""):
        note.write_bytes(told)
        found = private_folders.first_of([taken], "run")
        assert private_folders.is_private(found)
        assert found not in {Path("/etc"), taken}
    assert first.is_dir()


@pytest.mark.parametrize("how", ["theirs", "open", "link"])
def test_the_lock_of_a_build_is_held_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from amlexec.docker.client import Engine
    from amlexec.progress import Lines

    squatted(tmp_path / f"amlexec-locks-{os.getuid()}", how)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with build_lock.locked(Engine("unix:///nowhere.sock"), "0" * 20, "makes it", Lines()):
        pass
