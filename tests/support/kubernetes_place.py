"""The cluster of the tests: a stand-in of an API server and its node, and a real registry."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from amlexec.docker import archives, containers
from tests.engines import azurite, kubernetes
from tests.engines.fixtures import need
from tests.engines.kubernetes_cluster import CLAIM, NAMESPACE, Cluster, kubeconfig, serve
from tests.support.places import LABEL, DockerProject, Place, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["KUBERNETES", "Fleet", "KubernetesProject", "fleet", "fleet_of_session", "in_fleet"]

KUBERNETES = Place("kubernetes", "kubernetes", mounts=False, volumes=False)


class Fleet(NamedTuple):
    """What runs in the cluster need."""

    cluster: Cluster
    registry: str
    """REGISTRY/REPOSITORY of the session."""
    config: Path
    """The kubeconfig."""
    certificate: azurite.Certificate

    def configure(self, path: Path, address: str = "", **changed: Any) -> Path:
        """Write another kubeconfig."""
        path.write_text(
            yaml.safe_dump(kubeconfig(address or self.cluster.address, self.certificate, **changed))
        )
        return path


class KubernetesProject(DockerProject):
    """A project whose runs are Jobs."""

    def __init__(self, root: Path, shop: Shop, fleet: Fleet) -> None:
        self.fleet = fleet
        super().__init__(root, shop, KUBERNETES)

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        told = [
            "type: kubernetes",
            f"namespace: {NAMESPACE}",
            f"claim: {CLAIM}",
            f"registry: {self.fleet.registry}",
            "memoryGb: 0.5",
            f"baseDockerImage: {base or self.shop.base}",
        ]
        return "\n".join([*told, *lines]) + "\n"

    def containers(self) -> list[dict[str, Any]]:
        """The Jobs of this project's runs."""
        runs = set(self.run_ids())
        names = [
            each["metadata"]["name"]
            for each in self.fleet.cluster.jobs()
            if each["metadata"]["annotations"]["amlexec/run"] in runs
        ]
        return [{"Id": name} for name in names]

    def printed(self, run_id: str) -> bytes:
        """What a run has printed to standard output by now."""
        if not (container := self.fleet.cluster.container_of(run_id)):
            return b""
        with containers.logs(self.engine, container) as output:
            return b"".join(frame.data for frame in output if frame.stream == containers.STDOUT)

    def tell(self, run_id: str, name: str = "go") -> None:
        """Put an empty file into the folder that a run executes in."""
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        archives.put(self.engine, self.fleet.cluster.container_of(run_id), "/azureml-run", held.getvalue())


@pytest.fixture(scope="session")
def fleet_of_session(
    shop_of_session: Shop, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """The cluster, started once for the tests of a process."""
    need("kubernetes", "the description of Kubernetes", kubernetes.is_there)
    folder = tmp_path_factory.mktemp("cluster")
    secured = azurite.certificate(folder)
    volumes = folder / "volumes"
    volumes.mkdir()
    # The label is not that of their image: a Pod stays after it has ended, and is none of the session's runs.
    labels = {LABEL: f"cluster of {shop_of_session.session}"}
    with serve(shop_of_session.engine, volumes, secured, labels) as cluster:
        made = Fleet(cluster, f"{registry}/team/{shop_of_session.session}", folder / "kubeconfig", secured)
        made.configure(made.config)
        yield made


@pytest.fixture
def fleet(fleet_of_session: Fleet, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """The cluster, which this test can log in to; nothing that was asked was against its description."""
    cluster = fleet_of_session.cluster
    monkeypatch.setenv("KUBECONFIG", str(fleet_of_session.config))
    cluster.wrong.clear()
    cluster.log.clear()
    cluster.bodies.clear()
    yield fleet_of_session
    cluster.faults.clear()
    cluster.node.reset()
    cluster.denied.clear()
    for left in cluster.jobs():  # by a test that has failed
        cluster.answer("delete jobs", left["metadata"]["name"], {}, {})
    assert cluster.wrong == []


@pytest.fixture(scope="session")
def in_fleet(shop_of_session: Shop, fleet_of_session: Fleet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The environment of the suite in the registry of the cluster; where it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMLEXEC_CACHE", str(shop_of_session.cache))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        folder = tmp_path_factory.mktemp("published") / "demo"
        done = KubernetesProject(folder, shop_of_session, fleet_of_session).prepare()
    assert done.code == 0, done.err
    return fleet_of_session.registry
