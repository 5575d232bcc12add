"""Runs on Spark clusters beside spark-submit typed by hand on the head node: two workers, and YARN.

All are on this machine. It needs what the tests need: Docker, the image of a host, Spark, Hadoop and a conda
channel (`doit engines`).
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from amlexec.docker.client import from_environment
from benchmarks import yarn
from benchmarks.hosts import Station, Wire, station
from benchmarks.ssh import bytes_of, in_turn, row
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Row, Sizes, run
from tests.engines import channel, spark, ssh_host
from tests.engines.places import CHANNEL, HOW, state
from tests.engines.ssh_host import QUIET
from tests.support.hosts import spark_cluster
from tests.support.places import SPARK_FAST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.hosts import Host

__all__ = ["rows"]

_KILOBYTES = 200.0
"""What a second run with the same dependencies may send."""
NOTHING = "print('nothing')\n"
"""A script that asks Spark for nothing: what a job takes differs by more than is measured here."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Raises RuntimeError where a part is absent."""
    if not (ssh_host.is_there() and spark.is_there() and channel.is_there()):
        raise RuntimeError(f"a Docker engine, the image of a host, Spark or the channel is not there: {HOW}")

    def measured(head: Host, what: str, compute: str, settings: str) -> Iterator[Row]:
        return _measured(head, folder / what.replace(" ", "-"), rounds, what, compute, settings)

    with spark_cluster(from_environment(), spark.installed(), folder / "machine") as head:
        yield from measured(head, "a cluster", f"master: {head.master}\n", SPARK_FAST)
    if sizes.yarn:
        yield from yarn.rows(folder / "machines", measured)


def _measured(head: Host, folder: Path, rounds: int, what: str, compute: str, settings: str) -> Iterator[Row]:
    """The rows of a cluster, called `what` in them; with more lines of its file, and Spark's settings."""
    folder.mkdir()
    with station(folder) as home:
        wire = Wire(head.port)
        home.knows(head, head.port)
        home.knows(head, wire.port)
        try:
            project = _project(head, folder / "submit", compute, settings)
            yield from _rows_of(head, home, wire, project, rounds, what)
        finally:
            home.hang_up()
            wire.close()


def _rows_of(head: Host, home: Station, wire: Wire, project: Path, rounds: int, what: str) -> Iterator[Row]:
    run(home.amlexec(project, "experiment", "prepare", "-c", "big"))
    submit = home.amlexec(project, "experiment", "submit", "-c", "big", "train.py")
    first = run(submit)
    (record,) = (project / ".amlexec/runs").glob("*/run.json")
    settings = ("ControlMaster=auto", f"ControlPath={home.runtime}/m", "ControlPersist=60")
    multiplexed = [word for one in settings for word in ("-o", one)]

    def typed(command: str) -> Command:
        return home.command(project, "ssh", *multiplexed, f"bench-{head.port}", command)

    by_hand = typed(_by_hand(head, json.loads(record.read_text("utf-8"))))
    # A single round measures nothing, and takes what there is.
    again = (lambda: run(submit)) if rounds > 1 else (lambda: first)
    ours, theirs, unit = in_turn(project, rounds, again, lambda: run(by_hand))
    name = f"submit on {what}, environment prepared"
    yield row(name, ours, "ssh HEAD spark-submit, the same", theirs, Figure("more ms", 400), unit)

    prepare = home.amlexec(project, "experiment", "prepare", "-c", "big")
    nothing = typed("true")
    ours, theirs, unit = in_turn(project, rounds, lambda: run(prepare), lambda: run(nothing))
    name = f"prepare {what}, nothing to do"
    yield row(name, ours, "ssh HEAD true", theirs, Figure("more ms", 60), unit)

    # From now on the same machine, by way of what counts.
    compute = project / "aml_config/big.compute"
    compute.write_text(compute.read_text("utf-8").replace(f":{head.port}\n", f":{wire.port}\n"), "utf-8")
    sent = [bytes_of(wire, home, submit) for _ in range(max(1, rounds // 4))]
    name = f"the second run on {what} with these dependencies: kB sent"
    yield row(name, sent, "kB allowed", [_KILOBYTES] * len(sent), Figure("ratio", 1), unit)


def _project(head: Host, folder: Path, compute: str, settings: str) -> Path:
    """A project with the cluster as its target `big`, with more lines of it; its environment is ours."""
    made = new_project(folder)
    files = {
        "train.py": NOTHING,
        "aml_config/big.compute": f"type: cluster\naddress: 127.0.0.1:{head.port}\nusername: {QUIET}\n"
        f"userManagedEnvironment: false\n{compute}",
        "aml_config/big.runconfig": "Target: big\nFramework: PySpark\n",
        "aml_config/spark_dependencies.yml": settings,
        "aml_config/conda_dependencies.yml": f"channels:\n  - {(state() / CHANNEL).as_uri()}\n"
        "dependencies:\n  - python\n  - six\n",
    }
    for name, text in files.items():
        (made / name).write_text(text, "utf-8")
    return made


def _by_hand(head: Host, record: dict[str, object]) -> str:
    """The spark-submit of a run, in a folder that is laid out as the run's was.

    With the archive of the environment on the head node, as somebody would type it. On YARN, ours names the
    stored one instead, and Spark would upload the former for each application. This script makes none, so
    neither has to pay for that.
    """
    steps = (
        "cd && mkdir -p hand/project hand/control",
        "cp .amlexec/projects/submit-*/tree/train.py hand/project/",
        "cd hand/control && python3 -m zipfile -c modules.zip ../project/train.py",
    )
    head.ssh(" && ".join(steps), QUIET)
    argv, python = record["argv"], record["python"]
    assert isinstance(argv, list)
    assert isinstance(python, dict)
    variables = f"PYSPARK_PYTHON=./environment/bin/python PYSPARK_DRIVER_PYTHON={python['path']}"
    # Without the program that stays with an application of YARN.
    at = next(at for at, word in enumerate(argv) if word.rpartition("/")[2] == "spark-submit")
    return f"cd hand/project && {variables} {shlex.join(argv[at:])}"
