"""The snapshots' repository shrinks, and loses nothing that is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from amlexec import git, in_use
from amlexec.snapshots import objects, prune, transfer
from amlexec.snapshots import store as snapshot_store
from tests.snapshots.test_take import Folder, contents


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "demo")


def pruned(folder: Folder, *trees: str) -> prune.Pruned:
    return prune.prune(folder.project, lambda: {*trees})


def fsck(folder: Folder) -> None:
    """The repository is whole."""
    git.git(
        ["fsck", "--full", "--strict"], folder=str(folder.store), environment={"GIT_DIR": str(folder.store)}
    )


def loose(folder: Folder) -> int:
    return sum(1 for path in folder.store.glob("objects/[0-9a-f][0-9a-f]/*"))


def test_a_growing_file_takes_little_more_than_its_last_version(folder: Folder) -> None:
    trees = []
    for number in range(1, 31):
        lines = (f"{line},{line * line % 9973},{line % 7}\n" for line in range(number * 1000))
        folder.write("data.csv", "".join(lines))
        trees.append(folder.take().tree)
    last = (folder.root / "data.csv").stat().st_size
    found = pruned(folder, *trees)
    assert found.before > 10 * last
    assert found.after < 2 * last
    fsck(folder)
    for number in (0, 13, 29):
        copy = folder.checkout(trees[number])
        assert (copy / "data.csv").read_text().count("\n") == 1000 * (number + 1)


def test_only_what_is_needed_stays(folder: Folder) -> None:
    folder.write("same", "same")
    trees = []
    for number in range(6):
        folder.write("changing", f"{number}" * 5000)
        folder.write(f"a name with blanks\n{number}", "x")
        trees.append(folder.take().tree)
    whole = {tree: contents(folder.checkout(tree)) for tree in trees}
    pruned(folder, trees[1], trees[3])
    for tree in (trees[1], trees[3], trees[5]):
        assert contents(folder.checkout(tree)) == whole[tree]
    for tree in (trees[0], trees[2], trees[4]):
        with pytest.raises(Exception, match="unpack tree"):
            folder.checkout(tree)
    fsck(folder)
    before = sorted(path.name for path in folder.store.glob("objects/pack/*"))
    assert pruned(folder, trees[1], trees[3]).busy == ""
    assert sorted(path.name for path in folder.store.glob("objects/pack/*")) == before, "nothing to do"
    pruned(folder)
    assert not [*folder.store.glob("objects/pack/*")]
    assert contents(folder.checkout(trees[5])) == whole[trees[5]]


def test_the_latest_snapshot_stays_as_it_is_and_the_next_needs_no_more_work(folder: Folder) -> None:
    for number in range(3):
        folder.write("changing", f"{number}")
        latest = folder.take()
    old = loose(folder)
    pruned(folder, latest.tree)
    assert loose(folder) < old
    with snapshot_store.opened(folder.project) as store:
        assert store.has(latest.tree)
        assert not store.has("0" * len(latest.tree))
    assert folder.take() == latest
    fsck(folder)


def test_a_project_that_returns_to_packed_content_is_taken_and_sent(folder: Folder) -> None:
    folder.write("big", os.urandom(9 << 20))
    folder.write("small", "old")
    old = folder.take().tree
    folder.write("small", "new")
    folder.write("big", os.urandom(9 << 20))
    new = folder.take().tree
    pruned(folder, old)
    folder.write("small", "old")
    with snapshot_store.opened(folder.project) as store:
        assert store.has(old), "it is packed"
    changes = transfer.difference(folder.project, new, old)
    assert changes is not None
    assert sorted(entry.name for entry in changes.sent) == [b"big", b"small"]
    mixed = folder.take().tree
    assert mixed not in {old, new}
    pruned(folder, old)
    fsck(folder)
    assert (folder.checkout(mixed) / "small").read_text() == "old"


def test_sizes_say_what_a_removal_frees(folder: Folder) -> None:
    trees = []
    for _ in range(3):
        folder.write("changing", os.urandom(100_000))
        trees.append(folder.take().tree)
    found = objects.usage(folder.project, [trees[2], trees[1], trees[0]])
    assert found.latest == trees[2]
    assert found.of_tree[trees[2]] == 0
    assert 100_000 < found.of_tree[trees[1]] < 110_000
    assert found.unneeded == 0
    assert 100_000 < objects.usage(folder.project, [trees[1]]).unneeded < 110_000
    assert "0" * 64 not in objects.usage(folder.project, ["0" * 64]).of_tree


PRUNE = """
import sys
from amlexec.values import Project
from amlexec.snapshots import prune
print("begun", flush=True)
prune.prune(Project(sys.argv[1]), lambda: {*sys.argv[2:]})
"""


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.05, 0.1])
def test_a_killed_prune_loses_nothing(folder: Folder, wait: float) -> None:
    trees = []
    for _ in range(5):
        folder.write("changing", os.urandom(200_000))
        trees.append(folder.take().tree)
    whole = {tree: contents(folder.checkout(tree)) for tree in trees[1:]}
    command = [sys.executable, "-c", PRUNE, str(folder.root), *trees[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
    for tree, files in whole.items():
        assert contents(folder.checkout(tree)) == files
    pruned(folder, *trees[1:])
    assert not (folder.store / "packing").exists()
    fsck(folder)
    assert {tree: contents(folder.checkout(tree)) for tree in whole} == whole


def test_a_snapshot_that_is_taken_meanwhile_stays(folder: Folder) -> None:
    folder.write("changing", "first")
    first = folder.take().tree
    folder.write("changing", "second")
    second = folder.take().tree
    asked: list[int] = []

    def trees() -> set[str]:
        asked.append(1)
        # Between the pack and the removal, a run of the first content is submitted again.
        return {second} if len(asked) == 1 else {second, first}

    prune.prune(folder.project, trees)
    assert (folder.checkout(first) / "changing").read_text() == "first"
    fsck(folder)


def test_nothing_is_removed_while_objects_are_claimed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "_CLAIM_TIMEOUT_S", 0.05)
    folder.write("changing", "first")
    first = folder.take().tree
    folder.write("changing", "second")
    folder.take()
    with in_use.claimed(folder.project):
        assert pruned(folder).busy
    assert folder.checkout(first)
    assert pruned(folder).busy == ""


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    folder = Folder(small_disk / "demo")
    trees = []
    for _ in range(3):
        folder.write("changing", os.urandom(800_000))
        trees.append(folder.take().tree)
    with pytest.raises(Exception, match=r"(?i)space|packed|git"):
        _fill(small_disk)
        pruned(folder, *trees)
    (small_disk / "filler").unlink()
    fsck(folder)
    for tree in trees:
        assert folder.git("--git-dir=.amlexec/snapshots.git", "cat-file", "-t", tree) == "tree\n"


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb") as file:
        try:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        except OSError:
            return


def test_the_pack_is_on_the_disk_before_anything_is_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power, only what was synced is there: the pack, its index, and their folder."""
    trees = []
    for _ in range(3):
        folder.write("changing", os.urandom(1000))
        trees.append(folder.take().tree)
    steps: list[tuple[str, str]] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        steps.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    unlink, prune_packed = Path.unlink, git.git

    def removed(path: Path, missing_ok: bool = False) -> None:
        steps.append(("remove", str(path)))
        unlink(path, missing_ok=missing_ok)

    def called(arguments: list[str], **options: Any) -> bytes:
        if arguments[0] == "prune-packed":
            steps.append(("remove", "what the pack has"))
        return prune_packed(arguments, **options)

    monkeypatch.setattr(Path, "unlink", removed)
    monkeypatch.setattr(git, "git", called)
    pruned(folder, *trees[1:])
    kinds = [kind for kind, _ in steps]
    synced = [path for kind, path in steps[: kinds.index("remove")] if kind == "sync"]
    assert [Path(path).suffix for path in synced] == [".pack", ".idx", ""]
    assert synced[2].endswith("/objects/pack")
    assert steps[-1] == ("remove", "what the pack has")
