"""Runs on YARN, for the benchmark `spark`: two nodes and HDFS on this machine. They take long to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker.client import from_environment
from tests.engines import hadoop, spark
from tests.engines.places import HOW
from tests.support.yarn import yarn_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.timing import Row
    from tests.support.hosts import Host

__all__ = ["rows"]


def rows(folder: Path, measured: Callable[[Host, str, str, str], Iterator[Row]]) -> Iterator[Row]:
    """The rows; `measured` yields them for a head node, its name in them, lines of its file, and settings.

    Raises RuntimeError where a part is absent.
    """
    if not hadoop.is_there():
        raise RuntimeError(f"Hadoop is not there: {HOW}")
    with yarn_cluster(from_environment(), spark.installed(), folder) as head:
        # The driver is a process of the head node, so that the script's time does not depend on the nodes.
        yield from measured(head, "YARN", "yarnDeployMode: client\n", "configuration: {}\n")
