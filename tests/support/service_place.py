"""The cloud service of the tests: a stand-in of the resource manager, Azurite as storage, a real registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engines import azurite
from tests.engines.azure_manager import SUBSCRIPTION, Manager, serve
from tests.engines.fixtures import need
from tests.support.places import LABEL, DockerProject, Place, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SERVICE", "Service", "ServiceProject", "published", "service", "service_of_session"]

SERVICE = Place("containerinstance", "containerinstance", mounts=False, volumes=False)


class Service(NamedTuple):
    """What runs of the service need."""

    manager: Manager
    storage: str
    """Address of the storage account."""
    registry: str
    """REGISTRY/REPOSITORY of the session."""
    certificate: Path

    def storage_containers(self) -> list[str]:
        """The names of the storage containers: one for each run that is not cleaned."""
        from azure.core.credentials import AccessToken
        from azure.storage.blob import BlobServiceClient

        from tests.engines.azure_manager import token

        class Login:
            def get_token(self, *_: str, **__: object) -> AccessToken:
                return AccessToken(token("https://storage.azure.com"), 1 << 40)

        client = BlobServiceClient(
            self.storage,
            credential=Login(),
            api_version="2022-11-02",
            connection_verify=str(self.certificate),
        )
        return sorted(each.name for each in client.list_containers())


class ServiceProject(DockerProject):
    """A project whose runs are container groups."""

    def __init__(self, root: Path, shop: Shop, service: Service) -> None:
        self.service = service
        super().__init__(root, shop, SERVICE)

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        told = [
            "type: containerinstance",
            f"subscriptionId: {SUBSCRIPTION}",
            "resourceGroup: experiments",
            "region: westeurope",
            f"registry: {self.service.registry}",
            f"storageAccount: {self.service.storage}",
            f"resourceManager: {self.service.manager.address}",
            f"baseDockerImage: {base or self.shop.base}",
        ]
        return "\n".join([*told, *lines]) + "\n"

    def containers(self) -> list[dict[str, object]]:
        """The container groups of this project's runs."""
        runs = set(self.run_ids())
        groups = [*self.service.manager.groups.values()]
        return [{"Id": group.name} for group in groups if group.body["tags"]["amlexec-run"] in runs]

    def container(self, run_id: str) -> str:
        """The engine's container of a run; "" if it has none."""
        return self.service.manager.container_of(run_id)

    def printed(self, run_id: str) -> bytes:
        """What a run has printed to standard output by now."""
        from amlexec.docker import containers

        if len(container := self.container(run_id)) < 12:
            return b""
        with containers.logs(self.engine, container) as output:
            return b"".join(frame.data for frame in output if frame.stream == containers.STDOUT)

    def tell(self, run_id: str, name: str = "go") -> None:
        """Put an empty file into the folder that a run executes in."""
        import io
        import tarfile

        from amlexec.docker import archives

        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        archives.put(self.engine, self.container(run_id), "/azureml-run", held.getvalue())


@pytest.fixture(scope="session")
def service_of_session(
    shop_of_session: Shop, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service, started once for the tests of a process."""
    need("azurite", f"Azurite {azurite.VERSION}", azurite.is_there)
    folder = tmp_path_factory.mktemp("service")
    secured = azurite.certificate(folder)
    labels = {LABEL: f"service of {shop_of_session.session}"}  # what it runs is none of the session's runs
    with azurite.serve(folder, secured) as storage, serve(shop_of_session.engine, secured, labels) as manager:
        repository = f"{registry}/team/{shop_of_session.session}"
        yield Service(manager, storage, repository, secured.file)


@pytest.fixture
def service(service_of_session: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, which this test has logged in to; nothing that was asked was against its description."""
    for name, value in service_of_session.manager.variables.items():
        monkeypatch.setenv(name, value)
    manager = service_of_session.manager
    manager.wrong.clear()
    manager.log.clear()
    manager.bodies.clear()
    yield service_of_session
    manager.faults.clear()
    manager.events, manager.stays, manager.gpus = [], "", []
    manager.has_logs, manager.deletes_slowly, manager.cores = True, False, (10, 100)
    manager.prices = None
    assert manager.wrong == []


@pytest.fixture(scope="session")
def published(
    shop_of_session: Shop, service_of_session: Service, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The environment of the suite in the registry of the service; where it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMLEXEC_CACHE", str(shop_of_session.cache))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        folder = tmp_path_factory.mktemp("published") / "demo"
        done = ServiceProject(folder, shop_of_session, service_of_session).prepare()
    assert done.code == 0, done.err
    return service_of_session.registry
