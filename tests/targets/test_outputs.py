"""Which outputs of a run's copy are collected, link by link: the same rules for all targets."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.file_trees import remove_tree
from amlexec.history.uncollected import bounded
from amlexec.targets.outputs import aliases_of, bring
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from amlexec.targets.beneath import Parts

THERE = "/there/runs/demo_1/project"
"""The path of a copy on another machine."""


class Made:
    """The copy of a project after a run, and the folder for its outputs."""

    def __init__(self, folder: Path) -> None:
        self.copy, self.home = folder / "project", folder / "outputs"
        self.copy.mkdir()

    def file(self, name: str, text: str = "x") -> Path:
        """A file of the copy."""
        path = self.copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, name: str, to: str) -> None:
        """A symbolic link of the copy."""
        path = self.copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to)

    def bring(self, *, elsewhere: bool = False) -> dict[str, str]:
        """Collect the outputs; returns what was not. `elsewhere`: as if another machine had the copy."""
        if not elsewhere:
            missing = bring(self.copy, self.home, aliases_of(self.copy))
            assert bring(self.copy, self.home, aliases_of(self.copy)) == [] or not self.home.exists()
        else:
            missing = self._from_elsewhere()
        return {one.path: one.reason + (" (kept)" if one.kept else "") for one in missing}

    def _from_elsewhere(self) -> list[NotCollected]:
        came = self.home.parent / "came"
        came.mkdir()

        def more(wanted: list[Parts]) -> list[NotCollected]:
            for parts in wanted:
                names = [os.fsdecode(part) for part in parts]
                links = (end for end in range(1, len(names)) if self.copy.joinpath(*names[:end]).is_symlink())
                path = "/".join(names[: next(links, len(names))])
                if os.path.lexists(self.copy / path):
                    command = f'tar -cf - -C "{self.copy}" "{path}" | tar -xf - -C "{came}"'
                    subprocess.run(["sh", "-c", command], check=True)
            return []

        more([(b"outputs",)])
        return bring(came, self.home, [THERE, str(self.copy)], more)

    def names(self) -> dict[str, str]:
        """The collected outputs: the content of files, and the targets of links."""
        return {
            str(path.relative_to(self.home)): f"-> {path.readlink()}"
            if path.is_symlink()
            else path.read_text()
            for path in sorted(self.home.rglob("*"))
            if path.is_symlink() or not path.is_dir()
        }


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


@pytest.fixture(params=[False, True], ids=["here", "elsewhere"])
def elsewhere(request: pytest.FixtureRequest) -> bool:
    """Whether the targets of links have to be downloaded."""
    found: bool = request.param
    return found


def test_outputs_that_are_a_link_to_another_folder(made: Made, elsewhere: bool) -> None:
    made.file("checkpoints/7.pt", "model")
    made.link("checkpoints/last", "7.pt")
    made.link("checkpoints/self", "../outputs/7.pt")
    made.link("outputs", "checkpoints")
    assert made.bring(elsewhere=elsewhere) == {}
    assert made.names() == {"7.pt": "model", "last": "-> 7.pt", "self": "-> 7.pt"}


@pytest.mark.parametrize("to", ["trained/out", "./trained/../trained/out/", "{copy}/trained/out", "a"])
def test_ways_to_the_folder_of_outputs(made: Made, elsewhere: bool, to: str) -> None:
    made.file("trained/out/x")
    made.link("a", "b")
    made.link("b", "trained/out")
    made.link("outputs", to.format(copy=made.copy))
    assert made.bring(elsewhere=elsewhere) == {}
    assert made.names() == {"x": "x"}


def test_links_to_files_of_the_copy_are_replaced_by_the_files(made: Made, elsewhere: bool) -> None:
    made.file("checkpoints/7.pt", "model")
    made.file("outputs/own", "own")
    for name, to in [
        ("outputs/best.pt", "../checkpoints/7.pt"),
        ("outputs/deep/best.pt", "../../checkpoints/7.pt"),
        ("outputs/absolute.pt", f"{made.copy}/checkpoints/7.pt"),
        ("outputs/out-and-in.pt", f"../../{made.copy.name}/checkpoints/7.pt"),
        ("outputs/chain", "../one"),
        ("one", "two"),
        ("two", "checkpoints/7.pt"),
        ("outputs/inside", "own"),
        ("outputs/inside-absolute", f"{made.copy}/outputs/own"),
        ("outputs/inside-around", "../outputs/own"),
    ]:
        made.link(name, to)
    assert made.bring(elsewhere=elsewhere) == {}
    names = made.names()
    assert (names["own"], names["inside"]) == ("own", "-> own")
    assert (names["inside-absolute"], names["inside-around"]) == ("-> own", "-> own")
    # Once; further links to it lead there.
    assert names["absolute.pt"] == "model"
    for name in ("best.pt", "deep/best.pt", "out-and-in.pt", "chain"):
        if name == "out-and-in.pt" and elsewhere:
            continue  # the folder has another name there
        assert (made.home / name).read_text() == "model"
        assert names[name].startswith("->"), name


def test_links_to_folders_of_the_copy(made: Made, elsewhere: bool) -> None:
    made.file("data/a/b/c", "c")
    made.file("data/model", "m")
    made.link("data/a/up", "../model")
    made.link("data/loop", "../data")
    made.link("data/result", "../outputs/own")
    made.file("outputs/own", "own")
    made.link("outputs/d", "../data")
    made.link("outputs/again", "../data/a")
    assert made.bring(elsewhere=elsewhere) == {}
    names = made.names()
    assert (made.home / "d/a/b/c").read_text() == (made.home / "again/b/c").read_text() == "c"
    assert (made.home / "d/model").read_text() == "m"
    assert (made.home / "d/result").read_text() == "own"
    assert names["d/loop"] == "-> ."


def test_a_few_links_do_not_become_many_files(made: Made, elsewhere: bool) -> None:
    """Each folder has two links to the next: following every link would make 2^16 files."""
    for n in range(16):
        made.link(f"d{n}/left", f"../d{n + 1}")
        made.link(f"d{n}/right", f"../d{n + 1}")
    made.file("d16/x")
    made.link("outputs/all", "../d0")
    assert made.bring(elsewhere=elsewhere) == {}
    assert len(made.names()) < 40
    assert (made.home / ("all/" + "right/" * 16) / "x").read_text() == "x"


def test_links_that_lead_out_are_kept_and_reported(made: Made, elsewhere: bool) -> None:
    (made.copy.parent / "secret").write_text("secret")
    made.file("outputs/x")
    for name, to in {
        "outputs/passwd": "/etc/passwd",
        "outputs/nowhere": "/nowhere",
        "outputs/above": "../../secret",
        "outputs/chain": "../etc/passwd",
        "etc": "/etc",
        "outputs/dangling": "../missing",
        "outputs/circle": "circle",
        "outputs/to": "fro",
        "outputs/fro": "to",
    }.items():
        made.link(name, to)
    missing = made.bring(elsewhere=elsewhere)
    assert sorted(missing) == ["outputs/above", "outputs/chain", "outputs/nowhere", "outputs/passwd"]
    assert all("leads out" in reason and "kept" not in reason for reason in missing.values())
    names = made.names()
    assert names.pop("x") == "x"
    assert names == {
        "passwd": "-> /etc/passwd",
        "nowhere": "-> /nowhere",
        "above": "-> ../../secret",
        "chain": "-> ../etc/passwd",
        "dangling": "-> ../missing",
        "circle": "-> circle",
        "to": "-> fro",
        "fro": "-> to",
    }


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("/etc", "it is a link that leads out of the run's copy of the project"),
        ("..", "it is a link that leads out of the run's copy of the project"),
        (".", "it is a link to the folder that it is in (kept)"),
        ("missing", "it is a broken link"),
        ("outputs", "it is a circular link"),
        ("file", "it is a file, not a folder (kept)"),
    ],
)
def test_outputs_that_are_not_a_folder(made: Made, elsewhere: bool, to: str, reason: str) -> None:
    made.file("file")
    made.link("outputs", to)
    assert made.bring(elsewhere=elsewhere) == {"outputs": reason}
    assert not made.home.exists()
    assert (made.copy / "file").exists()


def test_outputs_that_are_a_file(made: Made, elsewhere: bool) -> None:
    made.file("outputs", "model")
    assert made.bring(elsewhere=elsewhere) == {"outputs": "it is a file, not a folder (kept)"}


def test_a_link_to_a_folder_that_it_is_in(made: Made, elsewhere: bool) -> None:
    made.file("outputs/x")
    made.link("outputs/all", "..")
    missing = made.bring(elsewhere=elsewhere)
    assert missing == {"outputs/all": "it is a link to a folder that it is in (kept)"}
    assert made.names() == {"all": "-> ..", "x": "x"}


def test_files_without_data_are_reported_and_left_out(made: Made) -> None:
    made.file("outputs/x")
    os.mkfifo(made.copy / "outputs/pipe")
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(made.copy / "outputs")  # a socket's path must be short
        try:
            listening.bind("socket")
        finally:
            os.chdir(before)
    assert made.bring() == {"outputs/pipe": "it is a FIFO", "outputs/socket": "it is a socket"}
    assert made.names() == {"x": "x"}


def test_hard_links_stay_together(made: Made, elsewhere: bool) -> None:
    path = made.file("outputs/x")
    os.link(path, made.copy / "outputs/y")
    assert made.bring(elsewhere=elsewhere) == {}
    assert (made.home / "x").samefile(made.home / "y")


def test_permissions_that_a_script_removed(made: Made) -> None:
    made.file("outputs/deep/k").chmod(0)
    made.file("outputs/s").chmod(0o4755)
    for name, mode in (("deep", 0o300), (".", 0o500)):
        (made.copy / "outputs" / name).chmod(mode)
    assert made.bring() == {}
    assert made.names() == {"deep/k": "x", "s": "x"}
    assert stat.S_IMODE((made.home / "deep/k").stat().st_mode) == 0o600
    assert stat.S_IMODE((made.home / "s").stat().st_mode) == 0o755


def test_names_of_every_kind_and_depth(made: Made) -> None:
    """A path longer than the system's limit for one call."""
    code = (
        "import os\nos.chdir('outputs')\nopen('x' * 255, 'w').close()\nopen(b'\\xff\\n', 'w').close()\n"
        "for _ in range(1200):\n    os.mkdir('deep')\n    os.chdir('deep')\nopen('end', 'w').close()\n"
    )
    (made.copy / "outputs").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=made.copy, check=True)
    made.home.mkdir()
    (made.home / "deep").mkdir()
    (made.home / "deep/uploaded").write_text("before")
    assert made.bring() == {}
    assert (made.home / "deep/uploaded").read_text() == "before"
    assert (made.home / "deep/deep/deep").is_dir()
    remove_tree(made.home)


def test_home_that_is_a_link_is_not_written_through(made: Made) -> None:
    """As in an untrusted project."""
    outside = made.copy.parent / "outside"
    outside.mkdir()
    made.home.symlink_to(outside)
    made.file("outputs/x")
    assert made.bring() == {}
    assert list(outside.iterdir()) == []
    assert not made.home.is_symlink()
    assert made.names() == {"x": "x"}


def test_empty_outputs_are_not_collected(made: Made, elsewhere: bool) -> None:
    (made.copy / "outputs").mkdir()
    assert made.bring(elsewhere=elsewhere) == {}
    assert not made.home.exists()


def test_a_record_lists_the_first_hundred() -> None:
    many = [NotCollected(f"outputs/{n:03}", "it is a FIFO") for n in range(250)]
    found = bounded([*many, NotCollected("outputs/z", "it could not be read", kept=True), many[0]])
    assert found[0].path == "outputs/z"
    assert len(found) == 101
    assert found[-1] == NotCollected("", "and 151 more")
    assert len(bounded([NotCollected("x" * 5000, "y" * 5000)])[0].path) == 1000
