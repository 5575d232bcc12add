"""What is asked for when a container group is created: one container, which runs once."""

from __future__ import annotations

from typing import Any, NamedTuple

from amlexec.azure.sdk import module

__all__ = ["CONTAINER", "GroupRequest", "RegistryLogin", "body"]

CONTAINER = "run"
"""The name of a group's one container."""


class RegistryLogin(NamedTuple):
    """How a group gets its image: with a password, with an identity, or without a login."""

    server: str
    username: str = ""
    password: str = ""
    identity: str = ""


class GroupRequest(NamedTuple):
    """A container group."""

    region: str
    image: str
    command: tuple[str, ...]
    cores: float
    memory_gb: float
    variables: tuple[tuple[str, str], ...] = ()
    """Each is a secret to Azure: it is in no answer, and on no page of the portal."""
    gpu: str = ""
    gpu_count: int = 0
    registry: RegistryLogin | None = None
    subnet: str = ""
    tags: tuple[tuple[str, str], ...] = ()


def body(request: GroupRequest) -> Any:
    """The group as the SDK takes it."""
    models = module("azure.mgmt.containerinstance").models
    gpu = models.GpuResource(count=request.gpu_count, sku=request.gpu) if request.gpu else None
    wanted = models.ResourceRequests(cpu=request.cores, memory_in_gb=request.memory_gb, gpu=gpu)
    container = models.Container(
        name=CONTAINER,
        image=request.image,
        command=list(request.command),
        resources=models.ResourceRequirements(requests=wanted),
        environment_variables=[
            models.EnvironmentVariable(name=name, secure_value=value) for name, value in request.variables
        ],
    )
    login, identity = request.registry, None
    credentials = None
    if login is not None and login.identity:
        assigned = {login.identity: models.UserAssignedIdentities()}
        identity = models.ContainerGroupIdentity(type="UserAssigned", user_assigned_identities=assigned)
        credentials = [models.ImageRegistryCredential(server=login.server, identity=login.identity)]
    elif login is not None and login.username:
        credentials = [
            models.ImageRegistryCredential(
                server=login.server, username=login.username, password=login.password
            )
        ]
    subnets = [models.ContainerGroupSubnetId(id=request.subnet)] if request.subnet else None
    return models.ContainerGroup(
        location=request.region,
        tags=dict(request.tags),
        identity=identity,
        containers=[container],
        image_registry_credentials=credentials,
        os_type="Linux",
        # Azure's default, Always, would run a script again and again.
        restart_policy="Never",
        subnet_ids=subnets,
    )
