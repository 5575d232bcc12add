"""`amlexec service run`: send a request to a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import kinds
from amlexec.commands.service_options import add_data, body_of, show
from amlexec.commands.service_show import key_of
from amlexec.errors import TargetError, UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.services.find import Service
    from amlexec.services.request import Answer
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("name", metavar="NAME", help="name of the service")
    add_data(verb)


def run(project: Project | None, arguments: argparse.Namespace) -> int:
    """Send it, and print the answer; the exit code is 1 if it is an error."""
    assert project is not None, "only `service test` needs none"
    from amlexec.services import environment, find, request

    if arguments.data is None:
        raise UsageError("there is nothing to send", hint="-d '{…}' or -d @FILE")
    body = body_of(arguments)
    target = environment.target_for(project, arguments.target)
    engine = environment.store_for(target).engine
    service = find.the(engine, arguments.name)
    if not service.is_listening:
        hint = f"start the container amlexec-service-{arguments.name}, or delete the service"
        raise TargetError(f"{arguments.name} is down: its listener does not run", hint=hint)
    if kinds.of(target.kind).on_local_engine and service.port:
        context = None
        if service.settings.secure:
            import ssl

            # It goes to this machine's own loopback; the certificate is for the name that others use.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001
        host = "127.0.0.1" if service.host in {"0.0.0.0", "::"} else service.host  # noqa: S104
        key = key_of(engine, service)
        answer = request.send(host, service.port, key, body, arguments.content_type, context=context)
    else:
        answer = _within(engine, service, body, arguments.content_type)
    show(answer)
    return 0 if answer.is_fine else 1


def _within(engine: object, service: Service, body: bytes, kind: str) -> Answer:
    """Ask a replica from within its container: the way there is the SSH connection to its engine."""
    from amlexec.docker.client import Engine
    from amlexec.services import containers
    from amlexec.services.request import Answer

    assert isinstance(engine, Engine)
    running = [replica for replica in service.replicas if replica.state == "running"]
    if not running:
        raise TargetError(f"no replica of {service.settings.name} runs", where=engine.address)
    status, content = containers.ask(engine, running[0].id, "/score", body, kind)
    if not status:
        raise TargetError("the service does not answer: " + content.decode("utf-8", "replace"))
    return Answer(status, content)
