"""Time commands from outside, in interleaved rounds, so that a busy machine is busy for all of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "Figure", "Peer", "Row", "Sizes", "compared", "installed", "run", "script"]


class Sizes(NamedTuple):
    """How much there is to do."""

    files: int = 1000
    """Small files that are checked."""
    runs: int = 200
    """Runs in the history."""
    kept_runs: int = 10_000
    """Runs of a project whose disk space is freed."""
    removed_files: int = 100_000
    """Files of runs that are removed."""
    versions: int = 30
    """Snapshots that are packed."""
    many_runs: int = 100_000
    """Runs in a long history."""
    reported_runs: int = 1000
    """Runs on the page of `history report`."""
    snapshot: int = 10_000
    """Files of 10 kB in a snapshot."""
    configurations: int = 100
    """Run configurations of a project that has many."""
    environments: int = 5
    """Environments that they share."""
    packages: tuple[str, ...] = ("six", "idna", "tabulate", "pip", "setuptools")
    """Of an environment that is built in Docker; `pip` has to be one of them."""
    hosts: int = 6
    """Machines over SSH, side by side."""
    cuts: int = 100
    """Of the connection, while a log is followed."""
    log: int = 25_000_000
    """Bytes of that log from one cut to the next."""
    points: int = 200
    """Points of a sweep that is executed."""
    queued: int = 100
    """Runs in the queue of a cluster."""
    submitted: int = 1000
    """Points of a sweep that are submitted to it."""
    plan: int = 10_000
    """Points of a sweep that is listed or continued."""
    scalars: int = 20_000
    """Scalars that a script logs."""
    series: int = 1_000_000
    """Points of a series that is read."""
    settling: float = 2.1
    """Seconds until stat data alone says that a file is unchanged."""
    yarn: bool = True
    """Whether to measure on YARN, too, whose daemons take long to start."""


class Command(NamedTuple):
    """What is timed, and where."""

    arguments: tuple[str, ...]
    folder: Path


class Peer(NamedTuple):
    """What ours is held against; `command` is None where it isn't installed."""

    name: str
    command: Command | None


class Figure(NamedTuple):
    """What is wanted of a row."""

    kind: str
    """`ms` of ours, `more ms` than the peer's, or the `ratio` to the peer's."""
    most: float | None
    """The largest value that is good; None where the row is only for comparison. Milliseconds are those of
    a machine whose bare Python takes 10."""


class Row(NamedTuple):
    """One line of the table. Times are medians in milliseconds."""

    name: str
    ours: float
    peer_name: str
    peer: float | None
    value: float | None
    """What `wanted` is about: the median over the rounds, not the difference of two medians."""
    wanted: Figure
    unit: float
    """A bare Python in the same rounds."""
    rounds: int

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is as good as is wanted; None where nothing is wanted or the peer is absent."""
        if self.value is None or self.wanted.most is None:
            return None
        if self.wanted.kind == "ratio":
            return self.value <= self.wanted.most
        return self.value / self.unit <= self.wanted.most / 10


def script(name: str) -> str:
    """The path of a program of the environment that the benchmarks run in."""
    return str(Path(sys.executable).parent / name)


def installed(name: str) -> bool:
    """Whether that environment has the module `name`."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def _environment() -> dict[str, str]:
    # Without compiled files every import compiles; unbuffered output costs a call per write.
    unwanted = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    # A dodo.py or a hook that calls programs by name gets those of this environment too.
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])}


def run(command: Command) -> float:
    """Run it to the end of its output; milliseconds by the wall's clock.

    Raises:
        RuntimeError: it failed. A figure of a command that did not do its work says nothing.
    """
    environment = _environment()
    began = time.perf_counter()
    done = subprocess.run(
        command.arguments,
        cwd=command.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="backslashreplace")[-2000:]
        raise RuntimeError(f"{' '.join(command.arguments)[:200]} ended with {done.returncode}:\n{said}")
    return took * 1000


def compared(name: str, ours: Command, peer: Peer, wanted: Figure, rounds: int) -> Row:
    """Time ours, the peer and a bare Python in turn, after one run of each that does not count.

    A single round measures nothing: it shows that a benchmark runs, and has no such run before it.
    """
    commands: list[Command] = [ours, Command((sys.executable, "-c", "pass"), ours.folder)]
    if peer.command is not None:
        commands.append(peer.command)
    times = _interleaved(commands, rounds)
    theirs = times[2] if peer.command is not None else None
    value = None if theirs is None else statistics.median(_figures(wanted.kind, times[0], theirs))
    if wanted.kind == "ms":
        value = statistics.median(times[0])
    return Row(
        name=name,
        ours=statistics.median(times[0]),
        peer_name=peer.name,
        peer=None if theirs is None else statistics.median(theirs),
        value=value,
        wanted=wanted,
        unit=statistics.median(times[1]),
        rounds=rounds,
    )


def _interleaved(commands: Sequence[Command], rounds: int) -> list[list[float]]:
    for command in commands if rounds > 1 else ():
        run(command)
    times: list[list[float]] = [[] for _ in commands]
    for number in range(rounds):
        # Each is first as often as the others: what a command leaves to be written burdens the next one.
        for step in range(len(commands)):
            at = (number + step) % len(commands)
            times[at].append(run(commands[at]))
    return times


def _figures(kind: str, ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    if kind == "ratio":
        return [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return [mine - other for mine, other in zip(ours, theirs, strict=True)]
