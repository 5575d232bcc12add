"""`amlexec service list`, `show` and `usage`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import output, run_views
from amlexec.commands.options import add_output
from amlexec.errors import TargetError

if TYPE_CHECKING:
    import argparse

    from amlexec.docker.client import Engine
    from amlexec.services.find import Service
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    name = verb.prog.rpartition(" ")[2]
    if name != "list":
        verb.add_argument("name", metavar="NAME", help="name of the service")
    if name == "show":
        verb.add_argument("--key", action="store_true", help="print only the key that requests need")
    add_output(verb)


def run(project: Project | None, arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    assert project is not None, "only `service test` needs none"
    from amlexec.services import environment, find

    engine = environment.store_for(environment.target_for(project, arguments.target)).engine
    is_json = arguments.output == "json" or arguments.query is not None
    if arguments.verb == "list":
        rows = [_summary(service) for service in find.find_all(engine)]
        if is_json:
            run_views.show(rows, arguments)
        elif rows:
            columns = ["name", "state", "address", "replicas", "models", "image"]
            console.data(
                output.table(
                    [[row[name] for name in columns] for row in rows],
                    [output.title(name) for name in columns],
                )
            )
        else:
            console.say("there are no services: amlexec service create -n NAME --image IMAGE")
        return 0
    service = find.the(engine, arguments.name)
    if arguments.verb == "usage":
        run_views.show(_usage(engine, service), arguments)
        return 0
    if arguments.key:
        console.data(key_of(engine, service))
        return 0
    run_views.show({**_summary(service), **_details(engine, service)}, arguments)
    return 0


def key_of(engine: Engine, service: Service) -> str:
    """The key of a service; "" if it needs none. Raises TargetError if no replica has it."""
    from amlexec.services import containers

    if service.settings.insecure:
        return ""
    if not service.replicas:
        raise TargetError(f"{service.settings.name} has no replicas any more", hint="amlexec service delete")
    found = containers.secrets_of(engine, service.replicas[0].id, service.settings)
    return found["key"].decode("ascii", "replace").strip()


def _summary(service: Service) -> dict[str, Any]:
    settings = service.settings
    running = sum(replica.state == "running" for replica in service.replicas)
    scheme = "https" if settings.secure else "http"
    return {
        "name": settings.name,
        "state": service.state,
        "address": f"{scheme}://{service.host}:{service.port}" if service.port else None,
        "replicas": f"{running}/{settings.replicas}",
        "models": settings.models,
        "image": settings.reference,
        "generation": settings.generation,
    }


def _details(engine: Engine, service: Service) -> dict[str, Any]:
    from amlexec.services import containers

    found: list[dict[str, Any]] = []
    for replica in service.replicas:
        row: dict[str, Any] = {"container": replica.name, "status": replica.status}
        if replica.state == "running":
            status, body = containers.ask(engine, replica.id, "/status")
            status_page = json.loads(body) if status == 200 else {}
            row |= {"ready": status_page.get("ready", False), "answers": status_page.get("answers", {})}
            row |= {"latency_ms": status_page.get("latency_ms", {})}
        found.append(row)
    return {"containers": found, "previous": service.settings.previous_reference or None}


def _usage(engine: Engine, service: Service) -> list[dict[str, Any]]:
    rows = []
    ids = [(replica.name, replica.id) for replica in service.replicas if replica.state == "running"]
    if service.listener and service.is_listening:
        ids.append(("listener", service.listener))
    for name, container in ids:
        with engine.asked() as api:
            stats = api.stats(container, stream=False)
        memory = stats.get("memory_stats") or {}
        rows.append(
            {
                "container": name,
                "cpu_percent": _cpu(stats),
                "memory": output.size(int(memory.get("usage", 0))),
                "memory_limit": output.size(int(memory.get("limit", 0))),
                "processes": (stats.get("pids_stats") or {}).get("current"),
            }
        )
    return rows


def _cpu(stats: dict[str, Any]) -> float | None:
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    try:
        used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        passed = now["system_cpu_usage"] - before["system_cpu_usage"]
    except KeyError:
        return None
    return round(100 * used / passed * int(now.get("online_cpus", 1)), 1) if passed > 0 else None
