"""Runs on a YARN with a pair of ResourceManagers, and HDFS with a pair of NameNodes.

pytest runs them only if it is given the path of this file. The pairs are switched by their own commands,
`rmadmin` and `haadmin`, and what both of a pair have to know lies in a volume of Docker: so no ZooKeeper is
needed.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from amlexec.errors import TargetError
from tests.conftest import PATIENCE
from tests.gc.test_gc import collected
from tests.support.yarn import _SITES, NODES, YarnCluster, YarnProject, seldom, yarn_cluster, yarn_project_on
from tests.targets.test_yarn import HOME, PRINTED, SUBMIT, begun, prepared, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed
    from tests.support.hosts import Client
    from tests.support.places import Shop

_HEADS = {"head": "1", "head2": "2"}
"""The nodes with a ResourceManager and a NameNode each, and their numbers in the configuration."""
_DAEMONS = ("resourcemanager", "namenode")
_SERVICE = "pair"
_SHARED = "/var/shared"
_PROXY = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
_PAIRS: dict[str, dict[str, str]] = {
    "core-site": {
        "fs.defaultFS": f"hdfs://{_SERVICE}",
        # A daemon that hangs would be waited for for two minutes.
        "ipc.client.rpc-timeout.ms": "15000",
    },
    "hdfs-site": {
        "dfs.nameservices": _SERVICE,
        f"dfs.ha.namenodes.{_SERVICE}": "nn1,nn2",
        f"dfs.client.failover.proxy.provider.{_SERVICE}": _PROXY,
        "dfs.namenode.shared.edits.dir": f"file://{_SHARED}/edits",
        **{f"dfs.namenode.rpc-address.{_SERVICE}.nn{n}": f"{node}:8020" for node, n in _HEADS.items()},
        **{f"dfs.namenode.http-address.{_SERVICE}.nn{n}": f"{node}:9870" for node, n in _HEADS.items()},
    },
    "yarn-site": {
        "yarn.resourcemanager.ha.enabled": "true",
        "yarn.resourcemanager.ha.automatic-failover.enabled": "false",
        "yarn.resourcemanager.ha.rm-ids": "rm1,rm2",
        "yarn.resourcemanager.cluster-id": "pair",
        "yarn.resourcemanager.fs.state-store.uri": f"file://{_SHARED}/states",
        **{f"yarn.resourcemanager.hostname.rm{n}": node for node, n in _HEADS.items()},
    },
}


class PairsCluster(YarnCluster):
    """Two head nodes; users log in to the first one, whose daemons stand by at first."""

    nodes: ClassVar[tuple[str, ...]] = ("head2", *NODES)
    sites: ClassVar[dict[str, dict[str, str]]] = {
        name: {**found, **_PAIRS.get(name, {})} for name, found in _SITES.items()
    }

    def _start(self, node: str, binds: list[str], parts: Installed) -> None:
        super()._start(node, [*binds, f"{self.name}:{_SHARED}"], parts)

    def _begin(self) -> None:
        for node in _HEADS:
            self.daemon(node, "resourcemanager")
        for node in NODES:
            self.run(node, "rm -rf /usr/bin/python3* /usr/lib/python3*; ! command -v python3")
            self.daemon(node, "nodemanager")
        self.format()
        self.run("head", f"cp -r /var/hadoop/dfs/name {_SHARED}")
        self.run("head2", f"mkdir -p /var/hadoop/dfs && cp -r {_SHARED}/name /var/hadoop/dfs")
        for node in _HEADS:
            self.daemon(node, "namenode")
        self.daemon(NODES[0], "datanode")
        self.activate("head2")
        self._open()

    def activate(self, node: str) -> None:
        """Let the daemons of a head node be the active ones."""
        number = _HEADS[node]
        for command, daemon in (("yarn rmadmin", "rm"), ("hdfs haadmin", "nn")):
            self._until_done(f"{command} -transitionToActive --forceactive {daemon}{number}")
        self.active = node

    def _until_done(self, command: str) -> None:
        """Run a command until it succeeds: the daemon may be starting."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.run("head", f"{command} 2>&1")
            except AssertionError:
                assert time.monotonic() < until, self.said()
            else:
                return

    def said(self) -> str:
        """The last lines of the daemons' logs."""
        told = "tail -n 8 /tmp/*.log; grep -E 'ERROR|FATAL|Exception:' /tmp/*.log | tail -n 20"
        return "\n".join(self.run(node, told) for node in ("head", "head2"))

    def lose(self) -> str:
        """Kill the active daemons; the name of their node."""
        lost = self.active
        for daemon in _DAEMONS:
            self.end(lost, daemon)
        return lost

    def lose_again(self, node: str) -> None:
        """Kill daemons that were active while others are: what their NameNode knows is of no use."""
        for daemon in _DAEMONS:
            with contextlib.suppress(AssertionError):
                self.end(node, daemon)
        name_node = "org.apache.hadoop.hdfs.server.namenode.NameNode"
        self.run(node, f"daemon {name_node} -bootstrapStandby -force -nonInteractive 2>&1")

    def fail_over(self) -> None:
        """Kill the active daemons, and let the others be active."""
        lost = self.lose()
        self.activate(next(node for node in _HEADS if node != lost))

    def restore(self) -> None:
        """Start what was killed, and let the daemons of the first head node stand by."""
        if self.active == "head":
            self.daemon("head2", *_DAEMONS)
            self.fail_over()
        self.daemon("head", *_DAEMONS)
        self.until_nodes(len(NODES))
        seldom(lambda: self.hdfs("/tmp/restored", "MKDIRS"), "HDFS opens")

    def state(self, service: str) -> str:
        """Of a daemon, as its own command says."""
        command = "yarn rmadmin" if service.startswith("rm") else "hdfs haadmin"
        return self.run("head", f"{command} -getServiceState {service} 2>/dev/null").strip()

    def remove(self) -> None:
        """See `YarnCluster.remove`. Also removes the volume."""
        super().remove()
        with contextlib.suppress(TargetError), self.engine.asked() as api:
            api.remove_volume(self.name)


@pytest.fixture(scope="module")
def pairs_of_module(
    ssh_image: str, machines: Engine, hadoop_parts: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[YarnCluster]:
    with yarn_cluster(machines, hadoop_parts, tmp_path_factory.mktemp("pairs"), PairsCluster) as found:
        yield found


@pytest.fixture
def pairs(pairs_of_module: PairsCluster, client: Client) -> Iterator[PairsCluster]:
    """The daemons of the first head node stand by."""
    client.lets_in(pairs_of_module)
    assert pairs_of_module.active == "head2"
    yield pairs_of_module
    if pairs_of_module.active == "head":
        pairs_of_module.restore()


@pytest.fixture
def project(pairs: PairsCluster, shop: Shop, tmp_path: Path) -> YarnProject:
    found = yarn_project_on(pairs, shop, tmp_path)
    found.is_managed = True
    found.configure()
    return found


def test_the_check(project: YarnProject, pairs: PairsCluster) -> None:
    assert [pairs.state(one) for one in ("rm1", "rm2", "nn1", "nn2")] == ["standby", "active"] * 2
    done = project.amlexec("computetarget", "check", "cluster")
    assert done.code == 0, done.out
    assert re.search(r"Spark master +ok +head2:8032 answers", done.out), done.out
    assert re.search(r"YARN's nodes +ok +2, with \d+ MB and \d+ vcores free", done.out), done.out
    assert re.search(rf"file system +ok +hdfs://{_SERVICE}{HOME} can be written\n", done.out), done.out


@pytest.mark.parametrize("mode", ["cluster", "client"])
def test_a_run_during_which_both_fail_over(project: YarnProject, pairs: PairsCluster, mode: str) -> None:
    project.mode = mode
    go = prepared(project)
    following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
    line = begun(following)
    if line:
        pairs.fail_over()
        (run_id,) = project.run_ids()
        status = project.amlexec("experiment", "status", "-r", run_id)
        assert "Running" in status.out, status.out
    for node in ("head", *NODES):
        pairs.run(node, f"touch {go}")
    out, err = following.communicate(timeout=2 * PATIENCE)
    assert (following.returncode, line[:5]) == (1, b"begun"), err
    assert out.startswith(PRINTED), out
    record, folder = project.record(run_id), project.run_folder(run_id)
    assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), err
    assert (folder / "stdout.log").read_bytes() == line + PRINTED
    told = json.loads((folder / "outputs/deep/told.json").read_text())
    assert [one[1:] for one in told["executors"]] == [["environment", "1.17.0", "a b"]] * 2
    assert record["application"]["state"] == "FINISHED"
    assert pairs.listed(f"{HOME}/.amlexec/runs") == []
    assert record["application"]["id"] not in pairs.listed(f"{HOME}/.sparkStaging")


def test_both_are_lost_while_the_driver_ends(project: YarnProject, pairs: PairsCluster) -> None:
    """For a while there is nobody who knows the application, and nobody who takes the results."""
    go = prepared(project)
    following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
    line = begun(following)
    lost = pairs.lose()
    for node in NODES:
        pairs.run(node, f"touch {go}")
    time.sleep(25)
    pairs.activate(next(node for node in _HEADS if node != lost))
    out, err = following.communicate(timeout=3 * PATIENCE)
    assert (following.returncode, line[:5]) == (1, b"begun"), err
    assert out.startswith(PRINTED), out
    (run_id,) = project.run_ids()
    record = project.record(run_id)
    assert (record["exit_code"], record["application"]["state"]) == (7, "FINISHED"), err


def test_the_active_ones_hang(project: YarnProject, pairs: PairsCluster) -> None:
    """They take connections, and say nothing."""
    go = prepared(project)
    following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
    line = begun(following)
    with pairs.engine.asked() as api:
        api.pause(pairs.container("head2"))
        try:
            pairs.activate("head")
            pairs.until_nodes(len(NODES))
            checked = project.amlexec("computetarget", "check", "cluster")
            for node in NODES:
                pairs.run(node, f"touch {go}")
            out, err = following.communicate(timeout=3 * PATIENCE)
        finally:
            api.unpause(pairs.container("head2"))
            pairs.lose_again("head2")
    assert (following.returncode, line[:5]) == (1, b"begun"), err
    assert out.startswith(PRINTED), out
    (run_id,) = project.run_ids()
    assert project.record(run_id)["exit_code"] == 7, err
    assert checked.code == 0, checked.out


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_cancel(project: YarnProject, pairs: PairsCluster, is_lost: bool) -> None:
    """Of a run that waits; also while no ResourceManager is active."""
    project.settings(spark_yarn_queue="narrow")
    project.write("train.py", "")
    done = project.submit("--async", "--prepare", "train.py")
    assert done.code == 0, done.err
    tag = tag_of(project, done.run_id)

    def states() -> list[str]:
        return [one["state"] for one in pairs.applications(tag)]

    seldom(lambda: states() == ["ACCEPTED"], "YARN has it")
    lost = pairs.lose() if is_lost else ""
    command = (sys.executable, "-m", "amlexec", "experiment", "cancel", "-r", done.run_id)
    canceling = project.start(*command)
    if lost:
        time.sleep(5)
        pairs.activate(next(node for node in _HEADS if node != lost))
    _, err = canceling.communicate(timeout=PATIENCE)
    assert canceling.returncode == 0, err
    assert project.record(done.run_id)["status"] == "Canceled"
    seldom(lambda: states() == ["KILLED"], "it is killed")
    assert pairs.listed(f"{HOME}/.sparkStaging") == []


def test_the_archive_is_removed(project: YarnProject, pairs: PairsCluster) -> None:
    project.mode = "client"
    project.configure()
    project.write("train.py", "print('ran')\n")
    # No other run of this machine has used it.
    project.write("aml_config/conda_dependencies.yml", project.shop.conda("six", "idna"))
    done = project.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    name = f"{project.record(done.run_id)['environment_digest']}.tar.gz"
    assert name in pairs.listed(f"{HOME}/.amlexec/archives")
    (project.root / "aml_config/cluster.runconfig").unlink()
    collected(project, "--keep-last", "0")
    assert name not in pairs.listed(f"{HOME}/.amlexec/archives")
