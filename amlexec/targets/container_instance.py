"""Runs as container groups of Azure Container Instances."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.azure.clouds import (
    Place,
    blob_endpoint,
    manager_address,
    registry_server,
    scope_of,
)
from amlexec.azure.groups import ContainerGroups
from amlexec.azure.phase import phase_of
from amlexec.azure.request import CONTAINER, GroupRequest, RegistryLogin
from amlexec.azure.sdk import log_in
from amlexec.azure.storage import RunStorage
from amlexec.errors import TargetError
from amlexec.owner import plain, resource_name
from amlexec.targets.service import ServiceView, Words
from amlexec.targets.service_command import COMMAND, variables
from amlexec.targets.service_place import read_state
from amlexec.targets.service_target import ServiceTarget

if TYPE_CHECKING:
    from amlexec.azure.groups import GroupView
    from amlexec.docker.client import Engine
    from amlexec.targets.target import Launch, State
    from amlexec.values import ComputeTarget, Project

__all__ = ["ContainerInstanceTarget"]

_RUN_TAG, _OWNER_TAG = "amlexec-run", "amlexec-owner"
_STATE_LIMIT = 1 << 16
_PATTERNS = {
    "subscription": re.compile(r"[A-Za-z0-9-]{1,64}"),
    "resource_group": re.compile(r"[\w.()-]{1,90}"),
    "group": re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"),
    "owner": re.compile(r"[^\x00-\x1f]{1,200}"),
}


class ContainerInstances:
    """Azure Container Instances: see `ContainerService`."""

    words = Words(
        gone="its container group is no longer in Azure: somebody else has deleted it, or Azure has",
        never="Azure has no container group of it: it never began, or was deleted",
        stopped="Azure stopped its container",
        where="in Azure",
        not_shared="a container instance has no shared directory; AZUREML_NATIVE_SHARE_DIRECTORY is not set",
    )
    pause_s = 0.2

    def __init__(self) -> None:
        # Each of them keeps its connections.
        self._storages: dict[Place, RunStorage] = {}
        self._groups: dict[tuple[str, str, str], ContainerGroups] = {}

    def _groups_of(self, place: Place) -> ContainerGroups:
        key = place.manager, place.subscription, place.resource_group
        if key not in self._groups:
            self._groups[key] = ContainerGroups(*key)
        return self._groups[key]

    def log_in(self, target: ComputeTarget) -> None:
        """See `ContainerService.log_in`."""
        log_in(scope_of(manager_address(target.resource_manager, str(target.place))))

    def place(self, target: ComputeTarget, run_id: str, owner: str, image: str) -> Place:
        """See `ContainerService.place`."""
        del image  # only its creation needs it
        where = str(target.place)
        manager = manager_address(target.resource_manager, where)
        group = resource_name(run_id, owner)
        storage = blob_endpoint(target.storage_account, manager, where)
        return Place(manager, target.subscription_id, target.resource_group, group, storage, owner)

    def user(self, target: ComputeTarget) -> tuple[str, str]:
        """See `ContainerService.user`."""
        del target
        return "root", "/root"

    def kept(self, place: Place) -> dict[str, str]:
        """See `ContainerService.kept`."""
        return place._asdict()

    def place_of(self, kept: dict[str, str]) -> Place:
        """See `ContainerService.place_of`."""
        place = Place(**{name: kept[name] for name in Place._fields})
        if not all(pattern.fullmatch(getattr(place, name)) for name, pattern in _PATTERNS.items()):
            raise ValueError
        manager_address(place.manager)
        blob_endpoint(place.storage, place.manager)
        return place

    def storage(self, place: Place) -> RunStorage:
        """See `ContainerService.storage`."""
        if place not in self._storages:
            self._storages[place] = RunStorage(place)
        return self._storages[place]

    def create(self, place: Place, target: ComputeTarget, launch: Launch, run_id: str, image: str) -> None:
        """See `ContainerService.create`. Azure has then accepted the group."""
        request = GroupRequest(
            target.region,
            image,
            COMMAND,
            target.cpu_cores,
            target.memory_gb,
            variables(launch, run_id, self.storage(place).address_for_run()),
            gpu=target.gpu,
            gpu_count=target.gpu_count if target.gpu else 0,
            registry=_login(target),
            subnet=target.subnet,
            tags=((_RUN_TAG, plain(run_id)), (_OWNER_TAG, place.owner)),
        )
        self._groups_of(place).create(place.group, request)

    def reported(self, place: Place) -> State | None:
        """See `ContainerService.reported`: the run writes it into its storage."""
        storage = self.storage(place)
        data = storage.get("state", _STATE_LIMIT)
        return None if data is None else read_state(data, storage.address, self.words.stopped)

    def look(self, place: Place, age: float) -> ServiceView | None:
        """See `ContainerService.look`."""
        view = self._view(place)
        if view is None:
            return None
        phase = phase_of(view, age)
        return ServiceView(phase.name, phase.why, phase.warning, view.began, view.ended, view.exit_code)

    def _view(self, place: Place) -> GroupView | None:
        view = self._groups_of(place).get(place.group)
        if view is not None and dict(view.tags).get(_OWNER_TAG) != place.owner:
            raise TargetError(
                f"the container group {place.group} is not this run's: its tag {_OWNER_TAG} is "
                f"{dict(view.tags).get(_OWNER_TAG, 'missing')!r:.80}",
                where=place.resource_group,
            )
        return view

    def printed(self, place: Place, lines: int) -> str:
        """See `ContainerService.printed`."""
        return self._groups_of(place).log(place.group, CONTAINER, lines)

    def delete(self, place: Place, timeout: float) -> tuple[str, str] | None:
        """See `ContainerService.delete`."""
        if self._view(place) is None or self._groups_of(place).delete(place.group, timeout):
            return None
        return (
            f"Azure has not deleted the container group {place.group} yet; it may cost money",
            f"az container show -g {place.resource_group} -n {place.group}",
        )


class ContainerInstanceTarget(ServiceTarget[Place]):
    """Runs in containers of Azure."""

    def __init__(self, project: Project, engine: Engine) -> None:
        super().__init__(project, engine, ContainerInstances())


def _login(target: ComputeTarget) -> RegistryLogin | None:
    """How the group gets its image: an identity, a password of the key store, or Docker's own login."""
    from amlexec import redaction
    from amlexec.docker.login import login_of, registry_of
    from amlexec.keystore import store as keystore

    server = registry_server(target.registry)
    if target.identity:
        return RegistryLogin(server, identity=target.identity)
    if target.username:
        secret = keystore.get(target.password) if keystore.is_handle(target.password) else target.password
        redaction.learn(secret)
        return RegistryLogin(server, target.username, secret)
    found = login_of(registry_of(target.registry))
    user, password = (
        found.get("username") or found.get("Username"),
        found.get("password") or found.get("Password"),
    )
    # A token, as `az acr login` gets one, is only valid for hours.
    if user and password and not found.get("IdentityToken") and set(str(user)) - set("0-"):
        return RegistryLogin(server, str(user), str(password))
    return None
