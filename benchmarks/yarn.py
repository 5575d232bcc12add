"""Runs on YARN beside spark-submit typed by hand on its head node: two nodes and HDFS on this machine.

It needs what the tests need: Docker, the image of a host, Spark, Hadoop and a conda channel (`doit engines`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker.client import from_environment
from benchmarks.hosts import Wire, station
from benchmarks.spark import measured, project_on
from tests.engines import channel, hadoop, spark, ssh_host
from tests.engines.places import HOW
from tests.support.yarn import yarn_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.timing import Row, Sizes

__all__ = ["rows"]

_CLIENT = "yarnDeployMode: client\n"
"""The driver is a process of the head node, so that the script's time does not depend on the nodes."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Raises RuntimeError where a part is absent."""
    del sizes
    if not (ssh_host.is_there() and hadoop.is_there() and channel.is_there()):
        raise RuntimeError(f"a Docker engine, the image of a host, Hadoop or the channel is absent: {HOW}")
    with (
        yarn_cluster(from_environment(), spark.installed(), folder / "machine") as head,
        station(folder) as home,
    ):
        wire = Wire(head.port)
        home.knows(head, head.port)
        home.knows(head, wire.port)
        try:
            project = project_on(head, folder / "submit", _CLIENT, "configuration: {}\n")
            yield from measured(head, home, wire, project, rounds, "YARN")
        finally:
            home.hang_up()
            wire.close()
