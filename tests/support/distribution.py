"""The order in which the suite takes files of tests: `--dist loadfile` gives each file to one process.

So a process starts the parts that take long, such as a cluster, for the files that need it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_collection_finish", "pytest_collection_modifyitems"]

_LONGEST = (
    "tests/test_contract.py",
    "tests/targets/test_yarn.py",
    "tests/targets/test_spark_launch.py",
    "tests/test_docs.py",
    "tests/test_benchmarks.py",
    "tests/prefixes/test_install.py",
    "tests/targets/test_spark_cluster.py",
    "tests/images/test_build.py",
    "tests/machines/test_attach.py",
    "tests/test_examples.py",
    "tests/targets/test_slurm.py",
    "tests/targets/test_yarn_secure.py",
    "tests/prepare/test_prepare.py",
    "tests/targets/test_ssh_faults.py",
    "tests/targets/test_remotedocker.py",
    "tests/serving/test_services.py",
    "tests/images/test_registry.py",
    "tests/runs/test_rerun.py",
    "tests/ssh/test_connection.py",
    "tests/targets/test_docker_faults.py",
    "tests/targets/test_container_instance.py",
    "tests/targets/test_kubernetes.py",
)
"""What takes minutes, to begin with it: at the end, one process would work on it alone."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, where several processes share the work."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(_LONGEST)}
        items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of what Python's collector looks at."""
    gc.collect()
    gc.freeze()
