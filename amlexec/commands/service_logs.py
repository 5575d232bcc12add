"""`amlexec service logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec import console

if TYPE_CHECKING:
    import argparse

    from amlexec.docker.client import Engine
    from amlexec.services.find import Service
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("name", metavar="NAME", help="name of the service")
    verb.add_argument("-f", "--follow", action="store_true", help="go on until the replicas end")
    verb.add_argument("--requests", action="store_true", help="print the logged requests, as lines of JSON")


def run(project: Project | None, arguments: argparse.Namespace) -> int:
    """Print the logs of all replicas; of several, each line has the replica's name before it."""
    assert project is not None, "only `service test` needs none"
    from amlexec.services import environment, find

    engine = environment.store_for(environment.target_for(project, arguments.target)).engine
    service = find.the(engine, arguments.name)
    if arguments.requests:
        _requests(engine, service)
        return 0
    import threading

    several = len(service.replicas) > 1
    threads = [
        threading.Thread(
            target=_print,
            args=(engine, replica.id, f"{replica.name.rpartition('-')[2]}: " if several else ""),
            kwargs={"follow": arguments.follow},
            daemon=True,
        )
        for replica in service.replicas
    ]
    for thread in threads:
        thread.start()
        if not arguments.follow:
            thread.join()
    for thread in threads:
        thread.join()
    return 0


def _print(engine: Engine, container: str, prefix: str, *, follow: bool) -> None:
    from amlexec.docker import containers

    rest = b""
    with containers.logs(engine, container, follow=follow) as found:
        for frame in found:
            *lines, rest = (rest + frame.data).split(b"\n")
            for line in lines:
                console.data(prefix + line.decode("utf-8", "backslashreplace"))
            if follow:
                import sys

                sys.stdout.flush()
    if rest:
        console.data(prefix + rest.decode("utf-8", "backslashreplace"))


def _requests(engine: Engine, service: Service) -> None:
    """The files are in the volume that all containers share; the listener lasts longest."""
    import tarfile

    from amlexec.docker import archives
    from amlexec.docker.errors import EngineAnswerError
    from amlexec.services.image import RUN_FOLDER

    if service.listener is None:
        return
    try:
        answer = archives.get(engine, service.listener, f"{RUN_FOLDER}/requests")
    except EngineAnswerError as error:
        if error.status != 404:
            raise
        console.say("no requests were logged: --log-requests 1 with create or update")
        return
    found: list[tuple[str, bytes]] = []
    stream: Any = answer
    with answer, tarfile.open(fileobj=stream, mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None:
                found.append((entry.name, file.read()))
    lines = [line for _, content in found for line in content.splitlines() if line.startswith(b'{"time": ')]
    # Each line begins with its time.
    for line in sorted(lines):
        console.data(line.decode("utf-8", "backslashreplace"))
