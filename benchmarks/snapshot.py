"""A snapshot of 10,000 files and 100 MB, beside `git add -A && git write-tree` in the same folder.

Run it with `python -m benchmarks.snapshot [PAIRS]`. Times are medians of interleaved pairs, in seconds.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.snapshots import read
from amlexec.snapshots import take as snapshot
from amlexec.values import Project
from benchmarks import timing
from benchmarks.timing import Command, Row, Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = 10_000
SIZE = 10_000


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    ours: float
    peer: float
    target: str
    """What the figure is held against."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other, in this process."""
    root = folder / "project"
    root.mkdir()
    make_tree(root, sizes.snapshot)
    wanted = {
        "snapshot, first": timing.Figure("ratio", 1.3),
        "snapshot, nothing changed": timing.Figure("ms", 60),
        "snapshot, one file changed": timing.Figure("ms", 80),
    }
    bare = Command((sys.executable, "-c", "pass"), folder)
    for name, ours, peer, _ in _figures(root, rounds, sizes.settling):
        most = wanted.get(name, timing.Figure("ratio", None))
        yield Row(
            name=f"{name}, {sizes.snapshot:,} files",
            ours=ours * 1000,
            peer_name="git",
            peer=peer * 1000,
            value=ours / peer if most.kind == "ratio" else ours * 1000,
            wanted=most,
            unit=statistics.median(timing.run(bare) for _ in range(rounds)),
            rounds=rounds,
        )


def make_tree(root: Path, files: int = FILES) -> None:
    """`files` files of 10 kB in 200 folders; half of each can be compressed."""
    numbers = random.Random(0)
    for folder in range(200):
        place = root / f"part{folder // 20}" / f"set{folder % 20}"
        place.mkdir(parents=True)
        for number in range(files // 200):
            (place / f"file{number}.txt").write_bytes(numbers.randbytes(SIZE // 2) + b"x" * (SIZE // 2))


def git(root: Path, *commands: list[str]) -> None:
    """Run these git commands, one after the other, without the user's configuration."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    for command in commands:
        subprocess.run(["git", *command], cwd=root, env=clean, check=True, stdout=subprocess.DEVNULL)


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def pairs_of(
    pairs: int, ours: Callable[[], object], peer: Callable[[], object], before: Callable[[int], object]
) -> tuple[float, float]:
    """Medians of both, turn by turn, the order changing; `before` is not timed and comes before each."""
    times: dict[Callable[[], object], list[float]] = {ours: [], peer: []}
    for turn in range(pairs):
        for step, action in enumerate((ours, peer) if turn % 2 else (peer, ours)):
            before(2 * turn + step)
            times[action].append(timed(action))
    return statistics.median(times[ours]), statistics.median(times[peer])


def benchmark(pairs: int) -> list[Figure]:
    """The figures: a first snapshot (a third of the pairs), an unchanged one, one changed file, a copy."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve() / "project"
        root.mkdir()
        make_tree(root)
        return _figures(root, pairs, Sizes().settling)


def _figures(root: Path, pairs: int, settling: float) -> list[Figure]:
    project = Project(str(root))
    copy = root.parent / "copy"
    few = min(pairs, max(3, pairs // 3))

    def written() -> None:
        if pairs > 1:
            os.sync()

    def take() -> object:
        return snapshot.take(project)

    def add() -> None:
        git(root, ["add", "--all"], ["write-tree"])

    def forget(_turn: int) -> None:
        shutil.rmtree(root / ".git", ignore_errors=True)
        shutil.rmtree(root / ".amlexec", ignore_errors=True)
        written()  # else the one that comes second waits for what the first has written
        git(root, ["init", "--quiet"])

    def change(turn: int) -> None:
        (root / "part0" / "set0" / "file0.txt").write_text(f"turn {turn}")

    def remove_copy(_turn: int) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        written()

    first = pairs_of(few, take, add, forget)
    take()
    add()
    time.sleep(settling)
    take()
    add()
    unchanged = pairs_of(pairs, take, add, lambda _turn: None)
    changed = pairs_of(pairs, take, add, change)
    tree = snapshot.take(project).tree
    checkout = pairs_of(
        few,
        lambda: read.checkout(project, tree, copy),
        lambda: git(root, ["checkout-index", "--all", f"--prefix={copy}/"]),
        remove_copy,
    )
    return [
        Figure("snapshot, first", *first, "at most 1.3 x git"),
        Figure("snapshot, nothing changed", *unchanged, "at most 60 ms"),
        Figure("snapshot, one file changed", *changed, "at most 80 ms"),
        Figure("copy of a snapshot", *checkout, "git checkout-index"),
    ]


def main() -> None:
    """Print the table."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{'10,000 files, 100 MB':28} {'amlexec':>10} {'git':>10} {'ratio':>6}")
    for name, ours, peer, target in benchmark(pairs):
        print(f"{name:28} {ours * 1000:7.1f} ms {peer * 1000:7.1f} ms {ours / peer:6.2f}  {target}")


if __name__ == "__main__":
    main()
