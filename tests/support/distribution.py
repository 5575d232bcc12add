"""The order in which the suite takes files of tests: `--dist loadfile` gives each file to one process.

So a process starts the parts that take long, such as a cluster, for the files that need it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from pathlib import Path

import pytest

__all__ = ["pytest_collection", "pytest_collection_finish", "pytest_collection_modifyitems"]

_LONGEST = (
    "tests/test_contract.py",
    "tests/targets/test_yarn.py",
    "tests/test_benchmarks.py",
    "tests/targets/test_spark_launch.py",
    "tests/test_docs.py",
    "tests/targets/test_spark_cluster.py",
    "tests/targets/test_remotedocker.py",
    "tests/targets/test_ssh_faults.py",
    "tests/targets/test_slurm.py",
    "tests/prefixes/test_install.py",
    "tests/machines/test_attach.py",
    "tests/test_examples.py",
    "tests/images/test_build.py",
    "tests/targets/test_container_instance.py",
    "tests/ssh/test_connection.py",
    "tests/prepare/test_prepare.py",
    "tests/targets/test_docker_faults.py",
    "tests/serving/test_services.py",
    "tests/targets/test_yarn_secure.py",
    "tests/snapshots/test_take.py",
    "tests/runs/test_remote.py",
    "tests/targets/test_kubernetes.py",
    "tests/runs/test_rerun.py",
    "tests/images/test_registry.py",
    "tests/targets/test_slurm_array.py",
    "tests/images/test_layers.py",
)
"""What takes minutes, to begin with it: at the end, one process would work on it alone."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import all tests, beginning elsewhere than the other processes do.

    pytest compiles the modules of tests, with other assertions than Python would, and keeps what it has
    compiled. In a new checkout, processes that began with the same module would each compile them all.
    """
    config = session.config
    if hasattr(config, "workerinput") and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        names = _modules(config.rootpath)
        begin = len(names) * int(config.workerinput["workerid"][2:]) // int(config.workerinput["workercount"])
        for name in [*names[begin:], *names[:begin]]:
            with contextlib.suppress(Exception):  # the collection says which, and why
                importlib.import_module(name)


def _modules(root: Path) -> list[str]:
    paths = sorted((root / "tests").rglob("test_*.py"))
    return [".".join(path.relative_to(root).with_suffix("").parts) for path in paths]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, where several processes share the work."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(_LONGEST)}
        items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of what Python's collector looks at."""
    gc.collect()
    gc.freeze()
