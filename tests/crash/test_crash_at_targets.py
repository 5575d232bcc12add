"""The same crashes where the target is an engine, a machine or a cluster: the suite tries a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.flows import AT_SITES, ATTACH, PREPARE
from tests.crash.sites import EngineSite, MachineSite
from tests.crash.test_crash import ALL, IS_WHOLE, crash_everywhere
from tests.support.places import (
    PLACES,
    ClusterProject,
    DockerProject,
    RemoteDockerProject,
    RemoteProject,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.harness import Flow
    from tests.support.hosts import Client
    from tests.support.places import Shop

PLACE = {place.name: place for place in PLACES}
SAMPLE = (("docker", "submit"), ("remote", "submit"))
"""What the suite tries: it has to be quick."""


def _pairs() -> list[tuple[str, Flow]]:
    found = []
    for name in ("docker", "remote", "managed", "remotedocker", "cluster"):
        flows = (*AT_SITES, *((PREPARE,) if name not in {"remote", "cluster"} else ()))
        flows += (ATTACH,) if name == "remote" else ()
        found += [(name, flow) for flow in flows if IS_WHOLE or (name, flow.name) in SAMPLE]
    return found


@pytest.mark.parametrize(("name", "flow"), _pairs(), ids=lambda value: getattr(value, "name", value))
def test_a_crash_at_a_target_loses_nothing(
    name: str, flow: Flow, shop: Shop, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = PLACE[name]
    if name == "docker":
        site = EngineSite(name, shop, shop.engine, lambda root: DockerProject(root, shop, place))
    else:
        site = _machine(name, shop, request)
    crash_everywhere(site, flow, tmp_path, ALL if IS_WHOLE else {"KILL": 2})


def _machine(name: str, shop: Shop, request: pytest.FixtureRequest) -> MachineSite:
    place = PLACE[name]
    client: Client = request.getfixturevalue("client")
    if name == "cluster":
        head = request.getfixturevalue("spark_head")
        return MachineSite(name, shop, client, lambda root: ClusterProject(root, shop, place, head), head)
    if name == "remotedocker":
        other = request.getfixturevalue("engine_host")
        return MachineSite(
            name, shop, client, lambda root: RemoteDockerProject(root, shop, place, other), other
        )
    host = request.getfixturevalue("host")
    client.lets_in(host)
    return MachineSite(name, shop, client, lambda root: RemoteProject(root, shop, place, host), host)
