"""The verb `fetch` of a machine, and what is made of its answer; a real shell stands for the machine."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import pytest

from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.runtime import HERE
from amlexec.targets.outputs import bring
from amlexec.targets.ssh_fetch import Fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.targets.ssh_verbs import Verbs

RUN = "demo_1"
NOBODY = 65534


class Channel(NamedTuple):
    """What a verb prints."""

    stdout: IO[bytes]
    code: int = 0
    stderr: str = ""

    def wait(self) -> int:
        """The verb's exit code."""
        return self.code


class Machine:
    """A home in which runs are."""

    def __init__(self, home: Path, *, user: int | None = None, path: str = "") -> None:
        self.home, self.user = home, user
        self.run = home / ".amlexec" / "runs" / RUN
        self.outputs = self.run / "project" / "outputs"
        self.outputs.mkdir(parents=True)
        (self.run / "run.json").write_text("{}")
        self.path = path

    @contextlib.contextmanager
    def stream(self, verb: str, *arguments: str) -> Iterator[Channel]:
        """As `Verbs.stream`."""
        script = "\n".join(
            [*((HERE / name).read_text() for name in ("identity.sh", "host.sh")), f'{verb} "$@"\n']
        )
        done = subprocess.run(
            ["sh", "-c", script, "sh", *arguments],
            env={"HOME": str(self.home), "PATH": self.path + os.environ["PATH"]},
            capture_output=True,
            user=self.user,
            cwd="/",
        )
        yield Channel(io.BufferedReader(io.BytesIO(done.stdout)), done.returncode, done.stderr.decode())  # type: ignore[arg-type]

    def own(self) -> None:
        """Make all of it its user's."""
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def fetched(machine: object, into: Path) -> tuple[dict[str, tuple[str, bool]], Path]:
    """What did not come, by path; and where the outputs are."""
    came, home = into / "came", into / "outputs"
    came.mkdir()
    fetch = Fetch(cast("Verbs", machine), RUN, came, lambda what, said: TargetError(f"{what}: {said}"))
    missing = fetch.all()
    missing += bring(came / "project", home, fetch.copies, fetch.more)
    return {one.path: (one.reason, one.kept) for one in missing}, home


@pytest.fixture
def nobody() -> Iterator[Machine]:
    """The machine of a user who is not root."""
    if os.geteuid() != 0:
        pytest.skip("only root may act as somebody else: run the suite as root in a container")
    folder = Path(tempfile.mkdtemp(prefix="ax-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield Machine(folder / "home", user=NOBODY)
    finally:
        remove_tree(folder)


def test_one_bad_file_keeps_nothing_else_from_coming(nobody: Machine, tmp_path: Path) -> None:
    outputs = nobody.outputs
    for name in ("x", "k", "listed/x", "closed/x", "new\nline", "back\\slash", "-n", "theirs", "private/x"):
        path = outputs / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
    (outputs / "dangling").symlink_to("nowhere")
    os.mkfifo(outputs / "pipe")
    nobody.own()
    (outputs / "k").chmod(0)
    (outputs / "listed").chmod(0o300)
    (outputs / "closed").chmod(0)
    for name in ("theirs", "private"):  # as of root in a container
        os.chown(outputs / name, 0, 0)
    (outputs / "theirs").chmod(0o600)
    (outputs / "private").chmod(0o700)
    missing, home = fetched(nobody, tmp_path)
    theirs = ("it belongs to another user and can't be read", True)
    assert missing == {
        "outputs/pipe": ("it is a FIFO", False),
        "outputs/theirs": theirs,
        "outputs/private": theirs,
    }
    for name in ("x", "k", "listed/x", "closed/x", "new\nline", "back\\slash", "-n"):
        assert (home / name).read_text() == "content"
    # What its owner can't be kept from, nothing is left of.
    for name in ("theirs", "private"):
        os.chown(outputs / name, NOBODY, NOBODY)
    (outputs / "closed").chmod(0o300)
    with nobody.stream("remove", RUN) as channel:
        assert channel.wait() == 0, channel.stderr
    assert not nobody.run.exists()


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    """And one that is gone by then, and one that is shorter."""
    real, programs = shutil.which("tar"), tmp_path / "bin"
    programs.mkdir()
    machine = Machine(tmp_path / "home", path=f"{programs}:")
    (programs / "tar").write_text(
        f'#!/bin/sh\nrm project/outputs/gone\n{real} "$@"\ncode=$?\necho more >>project/outputs/log\n'
        "exit $code\n"
    )
    (programs / "tar").chmod(0o755)
    for name in ("gone", "log", "x"):
        (machine.outputs / name).write_text(name)
    missing, home = fetched(machine, tmp_path)
    assert missing == {
        "outputs/log": ("it was changed while it was read", True),
        "outputs/gone": ("it could not be read there", True),
    }
    assert sorted(path.name for path in home.iterdir()) == ["log", "x"]


def test_an_archive_that_ends_in_the_middle(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    machine = Machine(tmp_path / "home", path=f"{programs}:")
    (programs / "tar").write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@" | head -c 7000\nexit 2\n')
    (programs / "tar").chmod(0o755)
    for name in ("a", "z"):
        (machine.outputs / name).write_bytes(bytes(1000 if name == "a" else 9000))
    missing, home = fetched(machine, tmp_path)
    came = {path.name for path in home.iterdir()} if home.exists() else set()
    assert {f"outputs/{name}" for name in {"a", "z"} - came} == set(missing)
    assert all(kept for _, kept in missing.values())


def test_links_are_not_followed_on_the_machine_either(tmp_path: Path) -> None:
    """A folder of the copy that is a link out: what is behind it is asked for, and does not come."""
    machine = Machine(tmp_path / "home")
    (tmp_path / "home" / "secret").mkdir()
    (tmp_path / "home" / "secret" / "key").write_text("secret")
    (machine.run / "project" / "door").symlink_to(tmp_path / "home" / "secret")
    (machine.run / "project" / "in").mkdir()
    (machine.run / "project" / "in" / "x").write_text("x")
    (machine.outputs / "key").symlink_to("../door/key")
    (machine.outputs / "x").symlink_to(machine.run / "project" / "in" / "x")
    missing, home = fetched(machine, tmp_path)
    assert list(missing) == ["outputs/key"]
    assert (home / "key").is_symlink()
    assert (home / "x").read_text() == "x"
    assert not any("secret" in path.read_text() for path in tmp_path.rglob("came/**/*") if path.is_file())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"= /x\0" * 3,
        b"f \0" * 1000 + b"\0",
        b"x" * 300_000,
        b"f outputs/../../x\0\0" + bytes(1024) + b"not a sum\n\0tar 0\n",
        b"\0" + bytes(1024) + b"0" * 500_000,
        b"\0" + bytes(1024) + b"\\" + b"0" * 64 + b"  a\\b\\n\n\0tar 0\n",
        b"\0<html>",
        random.Random(1).randbytes(5000),
    ],
    ids=range(11),
)
def test_strange_answers(answer: bytes, tmp_path: Path) -> None:
    class Strange:
        @contextlib.contextmanager
        def stream(self, *_: str) -> Iterator[Channel]:
            yield Channel(io.BufferedReader(io.BytesIO(answer)))  # type: ignore[arg-type]

    missing, home = fetched(Strange(), tmp_path)
    assert all(isinstance(path, str) and reason for path, (reason, _) in missing.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["came"]
    assert not home.exists()


def test_no_such_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home")
    remove_tree(machine.run)
    with pytest.raises(TargetError, match="the outputs could not be read"):
        fetched(machine, tmp_path)
