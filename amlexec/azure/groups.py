"""Container groups of Azure Container Instances: create, look at, delete."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.azure.clouds import scope_of
from amlexec.azure.request import body
from amlexec.azure.sdk import RETRIES, AzureAnswerError, asked, credential, module

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.azure.request import GroupRequest

__all__ = ["ContainerGroups", "Event", "GroupView", "Sizes", "Usage"]

_TRANSITION_TIMEOUT_S = 180.0
"""For a group that another operation is changing."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 10.0


class Event(NamedTuple):
    """Something that happened to a group or its container."""

    name: str
    """Such as `Pulled` or `FailedMount`. The type says nothing: failures are `Normal` too."""
    message: str
    times: int = 1


class GroupView(NamedTuple):
    """A container group with its one container, as the resource manager shows it."""

    provisioning: str
    """`Pending`, `Creating`, `Succeeded`, `Failed` and others: of the last operation, not of the run."""
    state: str = ""
    """The container's state: `Waiting`, `Running`, `Terminated`; "" if it has none yet."""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    detail: str = ""
    """Why it waits or ended, in a word, such as `OOMKilled`."""
    events: tuple[Event, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    group_state: str = ""


class Usage(NamedTuple):
    """A quota of a region."""

    name: str
    used: int
    limit: int


class Sizes(NamedTuple):
    """The largest group of a region."""

    cores: float
    """Without a GPU; 0 for unknown, as `memory_gb`."""
    memory_gb: float
    gpus: dict[str, int]
    """Kinds of GPUs, and how many a group can have."""


class ContainerGroups:
    """The container groups of a resource group."""

    def __init__(self, manager: str, subscription: str, resource_group: str) -> None:
        """No I/O, nothing imported."""
        self._manager, self._subscription = manager, subscription
        self._resource_group = resource_group
        self.address = f"{manager}/subscriptions/{subscription}/resourceGroups/{resource_group}"

    @cached_property
    def _client(self) -> Any:
        made = module("azure.mgmt.containerinstance").ContainerInstanceManagementClient
        return made(
            credential(),
            self._subscription,
            base_url=self._manager,
            credential_scopes=[scope_of(self._manager)],
            **RETRIES,
        )

    def create(self, name: str, request: GroupRequest) -> None:
        """Create a group; it has been accepted, and may still fail. Repeating it is harmless.

        Raises:
            AzureAnswerError: it is refused.
            UnreachableError: it may have been created.
        """

        group = body(request)

        def put() -> None:
            self._client.container_groups.begin_create_or_update(
                self._resource_group, name, group, polling=False
            )

        self._when_settled(put)

    def get(self, name: str) -> GroupView | None:
        """The group; None if there is none. Raises as `asked` does."""
        try:
            with asked(self.address):
                return _view(self._client.container_groups.get(self._resource_group, name))
        except AzureAnswerError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, name: str, timeout: float) -> bool:
        """Delete a group; whether it is gone within `timeout` seconds. A group that is not there is gone.

        Raises:
            AzureAnswerError, UnreachableError: it could not be deleted.
        """

        def request() -> None:
            self._client.container_groups.begin_delete(self._resource_group, name, polling=False)

        try:
            self._when_settled(request)
        except AzureAnswerError as error:
            if error.status != 404:
                raise
            return True
        until, pause = time.monotonic() + timeout, _FIRST_PAUSE_S
        while self.get(name) is not None:
            if time.monotonic() > until:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        return True

    def names(self) -> list[str]:
        """The names of all groups of the resource group. Raises as `asked` does."""
        with asked(self.address):
            found = self._client.container_groups.list_by_resource_group(self._resource_group)
            return [str(each.name) for each in found]

    def log(self, name: str, container: str, tail: int) -> str:
        """The last lines that the container printed; "" if Azure does not have them, or not yet."""
        with asked(self.address):
            answer = self._client.containers.list_logs(self._resource_group, name, container, tail=tail)
        return str(getattr(answer, "content", None) or "")

    def usage(self, region: str) -> list[Usage]:
        """The quotas of a region. Raises as `asked` does."""
        with asked(self.address):
            return [
                Usage(str(each.name.localized_value or each.name.value), each.current_value, each.limit)
                for each in self._client.location.list_usage(region)
                if each.name is not None and each.limit is not None and each.current_value is not None
            ]

    def sizes(self, region: str) -> Sizes:
        """What a group in a region can have. Raises as `asked` does."""
        cores = memory = 0.0
        gpus: dict[str, int] = {}
        with asked(self.address):
            for each in self._client.location.list_capabilities(region):
                limits = each.capabilities
                if limits is None or (each.os_type or "").lower() == "windows":
                    continue
                if each.gpu and each.gpu != "None":
                    gpus[str(each.gpu)] = max(int(limits.max_gpu_count or 0), gpus.get(str(each.gpu), 0))
                else:
                    cores = max(cores, limits.max_cpu or 0.0)
                    memory = max(memory, limits.max_memory_in_gb or 0.0)
        return Sizes(cores, memory, gpus)

    def _when_settled(self, request: Callable[[], None]) -> None:
        """Repeat a request while another operation is changing the group."""
        until, pause = time.monotonic() + _TRANSITION_TIMEOUT_S, _FIRST_PAUSE_S
        while True:
            try:
                with asked(self.address):
                    request()
            except AzureAnswerError as error:
                if (
                    not (error.status == 409 and "transition" in error.code.lower())
                    or time.monotonic() > until
                ):
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _view(found: Any) -> GroupView:
    container = next(iter(found.containers or ()), None)
    instance = getattr(container, "instance_view", None)
    current = getattr(instance, "current_state", None)
    of_group = getattr(getattr(found, "instance_view", None), "events", None) or ()
    of_container = getattr(instance, "events", None) or ()
    view = GroupView(
        str(found.provisioning_state or ""),
        events=tuple(
            Event(str(each.name or ""), str(each.message or "")[:1000], int(each.count or 1))
            for each in (*of_group, *of_container)
        ),
        tags=tuple((str(key), str(value)) for key, value in (found.tags or {}).items()),
        group_state=str(getattr(getattr(found, "instance_view", None), "state", None) or ""),
    )
    if current is None:
        return view
    began, ended = getattr(current, "start_time", None), getattr(current, "finish_time", None)
    code = getattr(current, "exit_code", None)
    return view._replace(
        state=str(current.state or ""),
        began=began.timestamp() if began is not None else None,
        ended=ended.timestamp() if ended is not None else None,
        exit_code=int(code) if code is not None else None,
        detail=str(getattr(current, "detail_status", None) or "")[:200],
    )
