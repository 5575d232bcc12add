"""The services of an engine, as the labels of their containers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import containers as engine_containers
from amlexec.docker.labels import SERVICE, SERVICE_GENERATION, SERVICE_ROLE, SERVICE_SETTINGS
from amlexec.errors import TargetError, UsageError
from amlexec.services import containers
from amlexec.services.containers import LISTENER, Settings
from amlexec.services.image import PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.docker.client import Engine

__all__ = ["Replica", "Service", "find", "find_all", "the"]


class Replica(NamedTuple):
    """A container of a service."""

    id: str
    name: str
    generation: int
    state: str
    """The engine's word, such as `running` or `restarting`."""
    status: str
    """A sentence of the engine, such as `Up 3 minutes (healthy)`."""


class Service(NamedTuple):
    """A service."""

    settings: Settings
    replicas: tuple[Replica, ...]
    """Those of the active generation."""
    others: tuple[Replica, ...]
    """What an interrupted update has left."""
    listener: str | None
    """The id of its listener; None if it was removed."""
    host: str
    port: int
    """Where it is published on the engine's machine; 0 if it is not, or its listener does not run."""
    is_listening: bool = False
    """Whether its listener runs."""

    @property
    def newest(self) -> int:
        """The highest generation."""
        return max([self.settings.generation, *(one.generation for one in self.others)])

    @property
    def state(self) -> str:
        """`running`, `degraded` or `down`."""
        running = sum(one.state == "running" for one in self.replicas)
        if not running or not self.is_listening:
            return "down"
        return "running" if running == self.settings.replicas else "degraded"


def find(engine: Engine, name: str) -> Service | None:
    """The service of that name, if there is one. Raises EngineError."""
    return next(iter(_grouped(engine, engine_containers.find(engine, {SERVICE: name}))), None)


def the(engine: Engine, name: str) -> Service:
    """The service of that name. Raises UsageError if there is none."""
    found = find(engine, name)
    if found is not None:
        return found
    from difflib import get_close_matches

    known = [one.settings.name for one in find_all(engine)]
    near = get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "amlexec service list"
    raise UsageError(f"there is no service {name!r} on this engine", hint=hint)


def find_all(engine: Engine) -> list[Service]:
    """All services of the engine, by name. Raises EngineError."""
    return _grouped(engine, engine_containers.find(engine, {SERVICE: ""}))


def _grouped(engine: Engine, found: list[dict[str, Any]]) -> list[Service]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for container in found:
        labels = container.get("Labels") or {}
        by_name.setdefault(str(labels.get(SERVICE, "")), []).append(container)
    services = [_service(engine, group) for name, group in sorted(by_name.items()) if name]
    return [service for service in services if service is not None]


def _service(engine: Engine, group: list[dict[str, Any]]) -> Service | None:
    listener: dict[str, Any] | None = None
    replicas: list[tuple[Replica, Settings]] = []
    for container in group:
        labels: Mapping[str, str] = container.get("Labels") or {}
        try:
            settings = Settings.of(labels.get(SERVICE_SETTINGS, ""))
            generation = int(labels.get(SERVICE_GENERATION, ""))
        except (ValueError, TypeError):
            continue  # somebody else's, with our label
        if labels.get(SERVICE_ROLE) == LISTENER:
            listener = container
            continue
        name = str(next(iter(container.get("Names") or ()), "")).lstrip("/")
        state, status = str(container.get("State", "")), str(container.get("Status", ""))
        replicas.append((Replica(str(container["Id"]), name, generation, state, status), settings))
    if not replicas:
        if listener is None:
            return None
        settings = Settings.of((listener.get("Labels") or {})[SERVICE_SETTINGS])
        return Service(settings, (), (), str(listener["Id"]), *_published(listener))  # nothing answers
    generations = {replica.generation for replica, _ in replicas}
    active = max(generations)
    if len(generations) > 1 and listener is not None:
        # An update goes on, or was interrupted.
        active = _active(engine, str(listener["Id"]), active)
    settings = next(settings for replica, settings in replicas if replica.generation == active)
    chosen = sorted(replica for replica, _ in replicas if replica.generation == active)
    others = tuple(replica for replica, _ in replicas if replica.generation != active)
    host, port = _published(listener) if listener else ("", 0)
    identity = str(listener["Id"]) if listener else None
    is_listening = listener is not None and listener.get("State") == "running"
    return Service(settings, tuple(chosen), others, identity, host, port, is_listening)


def _active(engine: Engine, listener: str, newest: int) -> int:
    """The generation that takes requests, as the listener knows it; else the newest."""
    try:
        found = containers.tell(engine, listener, "state").get("active")
    except TargetError:
        return newest
    return found if isinstance(found, int) and 0 < found <= newest else newest


def _published(listener: Mapping[str, Any]) -> tuple[str, int]:
    for port in listener.get("Ports") or ():
        if port.get("PrivatePort") == PORT and port.get("PublicPort"):
            return str(port.get("IP", "")), int(port["PublicPort"])
    return "", 0
