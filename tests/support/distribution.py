"""Which tests one process of the suite executes: `--dist loadgroup` gives each group to one process.

A group is a file, or all tests that need the same part that takes long to start, such as a cluster: each
process would start one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["pytest_collection_modifyitems"]

_PARTS = {
    "yarn_of_session": "yarn",
    "spark_head_of_session": "cluster",
    "engine_host_of_session": "engine-host",
    "service_of_session": "service",
    "slurm_head_of_session": "slurm",
    "served": "mlflow",
    "browser": "browser",
}
"""Fixtures of a session, and the groups of their tests."""
_PLACES = {
    "cluster": "cluster",
    "remotedocker": "engine-host",
    "slurm": "slurm",
    "containerinstance": "service",
}
"""Kinds of the contract suite's places, likewise."""
_LONGEST = (
    *_PARTS.values(),
    "tests/test_benchmarks.py",
    "tests/test_docs.py",
    "tests/images/test_build.py",
    "tests/prefixes/test_install.py",
    "tests/test_examples.py",
    "tests/targets/test_spark_launch.py",
)
"""What takes minutes, to begin with it: at the end, one process would work on it alone."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name the group of every test, and put the longest groups first."""
    if not hasattr(config, "workerinput"):
        return
    order = {name: number for number, name in enumerate(dict.fromkeys(_LONGEST))}
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: order.get(groups[item], len(order)))


def _group(item: pytest.Item) -> str:
    names: Sequence[str] = getattr(item, "fixturenames", ())
    for part, group in _PARTS.items():
        if part in names:
            return group
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    place = parameters.get("place")
    return _PLACES.get(getattr(place, "kind", ""), item.nodeid.partition("::")[0])
