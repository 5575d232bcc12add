"""Checks whether a compute target of a cloud service can be used. Nothing is created there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.azure import prices
from amlexec.azure.clouds import Place, blob_endpoint, manager_address, scope_of
from amlexec.azure.groups import ContainerGroups
from amlexec.azure.sdk import AzureAnswerError, log_in
from amlexec.azure.storage import RunStorage
from amlexec.docker.login import registry_of
from amlexec.errors import AmlexecError, TargetError
from amlexec.images import registry
from amlexec.images.published_store import published_digest
from amlexec.machines.check_results import FAILED, OK, WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.docker.client import Engine
    from amlexec.values import ComputeTarget

__all__ = ["examine", "registry_finding"]

_PRICES = "https://azure.microsoft.com/pricing/details/container-instances/"
_NO_ENVIRONMENT = "0" * 64


def examine(target: ComputeTarget, engine: Engine) -> list[Finding]:
    """The findings about the service; `engine` asks the registry.

    Raises:
        ConfigurationError: the target's file names no address of the service.
        UsageError: the service's SDK is not installed.
    """
    where = str(target.place)
    manager = manager_address(target.resource_manager, where)
    storage = blob_endpoint(target.storage_account, manager, where)
    groups = ContainerGroups(manager, target.subscription_id, target.resource_group)
    found = [_finding("login", lambda: _login(manager))]
    if found[0].status != FAILED:
        found.append(_finding("resource group", lambda: _resource_group(groups, target)))
        region = _finding("region", lambda: _region(groups, target))
        found.append(region)
        if region.status != FAILED:
            found.append(_finding("quota", lambda: _quota(groups, target)))
        place = Place(manager, target.subscription_id, target.resource_group, "amlexec-check", storage, "")
        found.append(_finding("storage", lambda: _storage(place)))
    found.append(registry_finding(target, engine))
    found.append(_price(manager, target, is_asked=found[0].status != FAILED))
    return found


def _finding(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except TargetError as error:
        return Finding(name, FAILED, error.message, error.hint)


def _login(manager: str) -> Finding:
    log_in(scope_of(manager))
    return Finding("login", OK, "Azure's own chain has a login")


def _resource_group(groups: ContainerGroups, target: ComputeTarget) -> Finding:
    count = len(groups.names())
    return Finding("resource group", OK, f"{target.resource_group}, with {count} container groups")


def _region(groups: ContainerGroups, target: ComputeTarget) -> Finding:
    file = target.place.path
    try:
        sizes = groups.sizes(target.region)
    except AzureAnswerError as error:
        return Finding("region", FAILED, f"{target.region}: {error.message}", f"set region in {file}")
    if target.gpu:
        most = sizes.gpus.get(target.gpu, 0)
        if most < target.gpu_count:
            has = ", ".join(f"{count} x {name}" for name, count in sorted(sizes.gpus.items())) or "none"
            message = f"{target.region} has no {target.gpu_count} x {target.gpu}; its GPUs: {has}"
            return Finding("region", FAILED, message, f"set region or gpu in {file}")
    cores, memory = sizes.cores, sizes.memory_gb
    if cores and (target.cpu_cores > cores or target.memory_gb > memory):
        message = f"a container in {target.region} has at most {cores:g} cores and {memory:g} GB"
        return Finding("region", FAILED, message, f"set cpuCores and memoryGb in {file}")
    return Finding("region", OK, target.region)


def _quota(groups: ContainerGroups, target: ComputeTarget) -> Finding:
    rows = groups.usage(target.region)
    full = [row for row in rows if row.limit and row.used >= row.limit and row.name in _NEEDED]
    if full:
        message = "; ".join(f"{row.name}: {row.used} of {row.limit} are in use" for row in full)
        return Finding("quota", WARNING, message, "wait for runs to end, delete groups, or ask for more")
    shown = "; ".join(f"{row.name}: {row.used} of {row.limit}" for row in rows if row.name in _NEEDED)
    return Finding("quota", OK, shown or "Azure does not say")


_NEEDED = frozenset({"Container Groups", "Standard Cores"})


def _price(manager: str, target: ComputeTarget, *, is_asked: bool) -> Finding:
    """What a run costs. That it is not known is no reason not to run."""
    size = prices.Size(target.cpu_cores, target.memory_gb, target.gpu, target.gpu_count if target.gpu else 0)
    shown = f"{size.cores:g} core{'s' if size.cores != 1 else ''} and {size.memory_gb:g} GB"
    shown += f" with {size.gpu_count} x {size.gpu}" if size.gpu else ""
    if not is_asked:
        return Finding("price", OK, f"{shown}, by the second: {_PRICES}")
    try:
        price = prices.per_hour(manager, target.region, size)
    except TargetError as error:
        return Finding("price", OK, f"{shown}, by the second; not known ({error.message}): {_PRICES}")
    amount = f"{price.amount:.4f} {price.currency}"
    return Finding(
        "price", OK, f"{shown}, by the second: {amount} an hour in Azure's list, without discounts"
    )


def _storage(place: Place) -> Finding:
    RunStorage(place).address_for_run()
    return Finding("storage", OK, place.storage)


def registry_finding(target: ComputeTarget, engine: Engine) -> Finding:
    """Whether the engine can ask the target's registry."""
    try:
        where = registry.place(target.registry)
        published_digest(engine, registry.published(where, _NO_ENVIRONMENT))
    except AmlexecError as error:
        return Finding("registry", FAILED, error.message, error.hint)
    return Finding("registry", OK, f"{registry_of(where)} answers")
