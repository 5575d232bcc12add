"""Runs on a Slurm cluster, beside sbatch and squeue over `ssh`.

It needs what the tests need: a Docker engine and the image of a node (`doit engines`). Jobs wait: what is
measured is their way into the queue, and the reading of their states.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from amlexec.docker.client import from_environment
from benchmarks.hosts import Station, station
from benchmarks.ssh import in_turn, row
from benchmarks.submit import new_project
from benchmarks.timing import Figure, Row, Sizes, run
from tests.conftest import PATIENCE
from tests.engines import slurm_versions as image
from tests.engines.places import HOW
from tests.engines.ssh_host import QUIET
from tests.support.slurm import SlurmHead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

WAITING = 'sbatch: ["--begin=now+1day"]'


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Raises RuntimeError where a part is absent."""
    if not image.is_there():
        raise RuntimeError(f"a Docker engine or the image of a node is not there: {HOW}")
    head = SlurmHead(from_environment(), folder / "machine")
    try:
        head.create()
        with station(folder) as home:
            home.knows(head, head.port)
            yield from _submits(head, home, folder, rounds)
            yield from _states(head, home, folder, rounds, sizes)
            yield _sweep(head, home, folder, max(1, min(3, rounds // 5)), sizes)
    finally:
        head.remove()


def _project(head: SlurmHead, folder: Path) -> Path:
    made = new_project(folder)
    text = f"type: slurm\naddress: {head.address}\nusername: {QUIET}\npythonLocation: python3\n"
    (made / "aml_config/lab.compute").write_text(f"{text}userManagedEnvironment: true\n{WAITING}\n", "utf-8")
    (made / "aml_config/lab.runconfig").write_text("Target: lab\nFramework: Python\n", "utf-8")
    return made


def _multiplexed(home: Station, head: SlurmHead) -> tuple[str, ...]:
    path = f"ControlPath={home.runtime}/m"
    return ("ssh", "-o", "ControlMaster=auto", "-o", path, "-o", "ControlPersist=60", f"bench-{head.port}")


def _clear(head: SlurmHead) -> None:
    head.ssh("scancel -u remo; rm -rf .amlexec/runs/* .amlexec/arrays/*", QUIET)


def _submits(head: SlurmHead, home: Station, folder: Path, rounds: int) -> Iterator[Row]:
    project = _project(head, folder / "submit")
    submit = home.amlexec(project, "experiment", "submit", "--async", "-c", "lab", "train.py")
    head.ssh("printf '#!/bin/sh\\n' >job.sh", QUIET)
    by_hand = home.command(project, *_multiplexed(home, head), "sbatch --begin=now+1day -o /dev/null job.sh")
    run(submit)
    ours, theirs, unit = in_turn(project, rounds, lambda: run(submit), lambda: run(by_hand))
    _clear(head)
    name, peer = "submit to Slurm, over a connection", "ssh HOST sbatch, multiplexed"
    yield row(name, ours, peer, theirs, Figure("more ms", 300), unit)


def _states(head: SlurmHead, home: Station, folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    project = _project(head, folder / "states")
    _submitted(home, project, sizes.queued)
    listing = home.amlexec(project, "history", "list", "--limit", "all")
    squeue = home.command(project, *_multiplexed(home, head), "squeue -r -h -t all -u remo")
    run(listing)
    ours, theirs, unit = in_turn(project, rounds, lambda: run(listing), lambda: run(squeue))
    _clear(head)
    name, peer = f"history list, {sizes.queued} runs on Slurm", "ssh HOST squeue, multiplexed"
    yield row(name, ours, peer, theirs, Figure("more ms", 100), unit)


def _sweep(head: SlurmHead, home: Station, folder: Path, rounds: int, sizes: Sizes) -> Row:
    project = _project(head, folder / "sweep")
    times = []
    for _ in range(rounds):
        times.append(_submitted(home, project, sizes.submitted))
        _clear(head)
    unit = in_turn(project, 1, lambda: 0.0, lambda: 0.0)[2]
    name = f"sweep of {sizes.submitted} points submitted to Slurm"
    took = statistics.median(times)
    return Row(name, took, "", None, took, Figure("ms", 10_000), unit, len(times))


def _submitted(home: Station, project: Path, points: int) -> float:
    """Submit a sweep of so many points, in milliseconds until it is in the queue, and leave it there."""
    words = ("experiment", "sweep", "-c", "lab", "train.py", "--lr", f"1..{points}")
    command = home.amlexec(project, *words)
    began = time.monotonic()
    with subprocess.Popen(
        command.arguments, cwd=command.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = b""
        for line in process.stderr:
            said += line
            if b"were submitted as the job" in line:
                break
        took = (time.monotonic() - began) * 1000
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        process.wait(PATIENCE)
    if b"were submitted" not in said:
        raise RuntimeError(said.decode(errors="replace"))
    return took
