"""The same crashes where the target is an engine, a machine or a cluster: the suite tries a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.flows import AT_SITES, ATTACH, PREPARE
from tests.crash.sites import EngineSite, MachineSite
from tests.crash.test_crash import ALL, IS_WHOLE, crash_everywhere
from tests.engines.ssh_host import QUIET
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
SAMPLE = {
    ("docker", "submit"): {
        "KILL": ("control/.container", "os.chmod /docker-#/.amlexec/runs/"),
        "EIO": ("answer of an engine", "os.rename /docker-#/.amlexec/runs/docker-#_#/project/outputs"),
    },
    ("remote", "submit"): {"KILL": ("open /remote-#/.amlexec/runs/remote-#_#/stdout.log",)},
    ("remote", "attach"): {"KILL": ("os.rename /passwords/",)},
}
"""What the suite tries: it has to be quick."""
CHEAP = """\
#!/bin/sh
# spark-submit without Java: a script that uses no Spark runs on the head node alone.
while :; do case $1 in */spark_driver.py) break ;; esac; shift; done
"$PYSPARK_DRIVER_PYTHON" "$@"
"""
AT_HEAD = f"/home/{QUIET}/cheap-submit"


def _pairs() -> list[tuple[str, Flow]]:
    found = []
    for name in ("docker", "remote", "managed", "remotedocker", "cluster", "cluster-cheap"):
        flows = (*AT_SITES, *((PREPARE,) if name in {"docker", "managed", "remotedocker"} else ()))
        flows += (ATTACH,) if name == "remote" else ()
        found += [(name, flow) for flow in flows if IS_WHOLE or (name, flow.name) in SAMPLE]
    return found


@pytest.mark.parametrize(("name", "flow"), _pairs(), ids=lambda value: getattr(value, "name", value))
def test_a_crash_at_a_target_loses_nothing(
    name: str, flow: Flow, shop: Shop, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = PLACE[name.removesuffix("-cheap")]
    if name == "docker":
        site = EngineSite(name, shop, shop.engine, lambda root: DockerProject(root, shop, place))
    else:
        site = _machine(name, shop, request)
    crash_everywhere(site, flow, tmp_path, ALL if IS_WHOLE else SAMPLE[name, flow.name])


def _machine(name: str, shop: Shop, request: pytest.FixtureRequest) -> MachineSite:
    place = PLACE[name.removesuffix("-cheap")]
    client: Client = request.getfixturevalue("client")
    if place.name == "cluster":
        head = request.getfixturevalue("spark_head")
        kind = ClusterProject if name == place.name else CheapCluster
        site = MachineSite(place.name, shop, client, lambda root: kind(root, shop, place, head), head)
        if kind is CheapCluster:
            site.variant = " without Java"
            head.ssh(f"cat >{AT_HEAD} && chmod 755 {AT_HEAD}", QUIET, input=CHEAP.encode())
        return site
    if name == "remotedocker":
        other = request.getfixturevalue("engine_host")
        return MachineSite(
            name, shop, client, lambda root: RemoteDockerProject(root, shop, place, other), other
        )
    host = request.getfixturevalue("host")
    client.lets_in(host)
    return MachineSite(name, shop, client, lambda root: RemoteProject(root, shop, place, host), host)


class CheapCluster(ClusterProject):
    """A cluster whose runs start no Java: what the client does is the same."""

    def compute(self, *lines: str, base: str = "", master: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        return super().compute(f"sparkSubmitLocation: {AT_HEAD}", *lines, base=base, master=master)
