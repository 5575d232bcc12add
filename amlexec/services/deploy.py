"""Deploy services: create, update, scale, roll back and delete them, without a failed request."""

from __future__ import annotations

import secrets as random
import time
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker import containers as engine_containers
from amlexec.docker.errors import EngineAnswerError, EngineError
from amlexec.errors import ScriptFailedError, TargetError, UsageError
from amlexec.services import containers, retired
from amlexec.services.find import Service, find
from amlexec.services.image import PORT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from amlexec.docker.client import Engine
    from amlexec.progress import Progress
    from amlexec.services.containers import Settings
    from amlexec.values import Project

__all__ = ["Deployment"]

_JOIN_TIMEOUT_S = 30.0
_DRAIN_TIMEOUT_S = 60
_LAST_LINES = 20


class Deployment(NamedTuple):
    """Changes of the services of an engine."""

    engine: Engine
    project: Project
    progress: Progress

    def create(self, settings: Settings, *, key: str = "", certificate: bytes = b"") -> str:
        """Start a new service; its key, which is a new one if none is given.

        Raises:
            UsageError: there is a service of that name.
            TargetError: it does not become ready, or its port is taken.
        """
        with self._alone(settings.name):
            if find(self.engine, settings.name) is not None:
                raise UsageError(
                    f"there is a service {settings.name} already",
                    hint=f"amlexec service update {settings.name}",
                )
            key = "" if settings.insecure else key or random.token_urlsafe(24)
            secrets = {"key": key.encode() + b"\n"} if key else {}
            if certificate:
                secrets["certificate.pem"] = certificate
            self._sweep(settings.name)
            try:
                listener, settings = self._listener(settings)
                self._replaced(settings, secrets, listener, ())
            except BaseException:
                self._sweep(settings.name)
                raise
        return key

    def update(self, service: Service, settings: Settings) -> None:
        """Replace all replicas by those of another generation.

        The new ones have to be ready and to answer the sample before they take requests. If they don't, the
        old ones go on.

        Raises:
            ScriptFailedError: the new version is not ready, or fails the sample.
        """
        with self._alone(service.settings.name):
            current = find(self.engine, service.settings.name)
            if current is None or current.listener is None:
                raise UsageError(f"there is no service {service.settings.name} any more")
            settings = settings._replace(generation=current.newest + 1)
            secrets = self._secrets(current)
            for left in current.others:  # by an update that was interrupted
                engine_containers.remove(self.engine, left.id, force=True)
            try:
                old = [one.id for one in current.replicas]
                self._replaced(settings, secrets, current.listener, old, current.settings.generation)
            except TargetError as error:
                raise ScriptFailedError(
                    f"the service was not updated, and goes on as before: {error.message}", hint=error.hint
                ) from None

    def scale(self, service: Service, replicas: int) -> None:
        """Start or end replicas of the same version. Raises as `update`."""
        self.update(service, service.settings._replace(replicas=replicas))

    def delete(self, name: str) -> bool:
        """Remove a service's containers and volume; returns whether there were any. gc removes its images."""
        with self._alone(name):
            service = find(self.engine, name)
            has_removed = self._sweep(name)
            if service is not None:
                retired.note(self.project, [service.settings.image, service.settings.previous])
        return has_removed

    def _alone(self, name: str) -> AbstractContextManager[None]:
        from amlexec.digest import of_bytes
        from amlexec.images.build_lock import locked

        return locked(
            self.engine, of_bytes(f"service {name}".encode()), f"changes the service {name}", self.progress
        )

    def _listener(self, settings: Settings) -> tuple[str, Settings]:
        """Start the listener; its id, and the settings with its port.

        A port that the engine has chosen is written into the settings: it would choose another one after a
        restart.
        """
        if settings.host and not settings.port:
            first = self._started_listener(settings)
            try:
                settings = settings._replace(port=self._port(first))
            finally:
                engine_containers.remove(self.engine, first, force=True)
        return self._started_listener(settings), settings

    def _port(self, listener: str) -> int:
        """The public port of a listener that was just started. Raises TargetError if it has ended."""
        found = engine_containers.inspect(self.engine, listener) or {}
        ports = (found.get("NetworkSettings") or {}).get("Ports") or {}
        published = ports.get(f"{PORT}/tcp")
        if not published:
            with engine_containers.logs(self.engine, listener) as output:
                told = b"".join(frame.data for frame in output).decode("utf-8", "replace").strip()
            raise TargetError(
                f"the service's listener has ended: {told[-500:] or 'without a message'}",
                where=self.engine.address,
            )
        return int(published[0]["HostPort"])

    def _started_listener(self, settings: Settings) -> str:
        container = containers.create_listener(self.engine, self.project, settings)
        try:
            engine_containers.start(self.engine, container)
        except EngineAnswerError as error:
            engine_containers.remove(self.engine, container, force=True)
            taken = "already allocated" in error.reason or "address already in use" in error.reason
            if not taken:
                raise
            raise TargetError(
                f"the port {settings.port} is taken on {settings.host}",
                where=self.engine.address,
                hint="choose another one with --port, or leave it out for any free one",
            ) from error
        return container

    def _replaced(
        self,
        settings: Settings,
        secrets: dict[str, bytes],
        listener: str,
        old: Sequence[str],
        before: int = 0,
    ) -> None:
        """Start a generation, and let it take the place of the `old` replicas, of generation `before`."""
        started: list[str] = []
        try:
            for number in range(1, settings.replicas + 1):
                self.progress.step(
                    f"starting replica {number} of {settings.replicas} of {settings.reference}"
                )
                started.append(self._started(settings, number, secrets))
            for container in started:
                self._until_ready(container, settings)
                self._must_answer(container, settings)
            for container in started:
                containers.keep(self.engine, container, forever=True)
            self.progress.step("switching to the new replicas")
            self._switched(listener, settings, old, before)
        except BaseException:
            for container in started:
                engine_containers.remove(self.engine, container, force=True)
            raise
        for container in old:
            self._ended(container)

    def _switched(self, listener: str, settings: Settings, old: Sequence[str], before: int) -> None:
        """Let a generation take requests; if it does not, the one before goes on. Raises TargetError."""
        try:
            for container in old:
                # They end by themselves once their clients have left.
                containers.keep(self.engine, container, forever=False)
            containers.tell(self.engine, listener, "activate", str(settings.generation))
            self._until_joined(listener, settings)
        except BaseException:
            for container in old:
                containers.keep(self.engine, container, forever=True)
                engine_containers.start(self.engine, container)
            if before:
                containers.tell(self.engine, listener, "activate", str(before))
            raise

    def _started(self, settings: Settings, number: int, secrets: dict[str, bytes]) -> str:
        try:
            container = containers.create_replica(self.engine, self.project, settings, number, secrets)
        except EngineAnswerError as error:
            if error.status != 404:
                raise
            raise TargetError(
                f"the image {settings.reference} is no longer on the engine",
                where=self.engine.address,
                hint="amlexec image create makes it again",
            ) from error
        try:
            engine_containers.start(self.engine, container)
        except BaseException:
            engine_containers.remove(self.engine, container, force=True)
            raise
        return container

    def _until_ready(self, container: str, settings: Settings) -> None:
        """Follow the log of a replica until it is ready.

        Raises:
            TargetError: it ended; with the end of its log.
        """
        last: list[str] = []
        rest = b""
        with engine_containers.logs(self.engine, container, follow=True) as output:
            for frame in output:
                *lines, rest = (rest + frame.data).split(b"\n")
                for line in lines:
                    last = [*last[-_LAST_LINES + 1 :], line.decode("utf-8", "replace")]
                    if b" ready after " in line:
                        return
        shown = "".join(f"\n  {line}" for line in last)
        found = engine_containers.inspect(self.engine, container)
        code = engine_containers.state_of(self.engine, found).exit_code if found else 0
        raise TargetError(
            f"{settings.reference} does not become ready: it ended with code {code}; "
            f"the end of its log:{shown}"
        )

    def _must_answer(self, container: str, settings: Settings) -> None:
        if not settings.sample:
            return
        status, body = containers.ask(self.engine, container, "/score", settings.sample.encode())
        if not 200 <= status < 400:
            told = body.decode("utf-8", "replace")[:500]
            raise TargetError(f"{settings.reference} answers the sample with {status}: {told}")

    def _until_joined(self, listener: str, settings: Settings) -> None:
        until = time.monotonic() + _JOIN_TIMEOUT_S
        while len(containers.tell(self.engine, listener, "state").get("replicas", ())) < settings.replicas:
            if time.monotonic() > until:
                raise TargetError("the replicas do not find their listener", where=self.engine.address)
            time.sleep(0.1)

    def _ended(self, container: str) -> None:
        try:
            engine_containers.wait(self.engine, container, timeout=_DRAIN_TIMEOUT_S)
        except EngineError:
            engine_containers.stop(self.engine, container, 10)
        engine_containers.remove(self.engine, container, force=True)

    def _secrets(self, service: Service) -> dict[str, bytes]:
        if not service.replicas:
            raise TargetError(
                f"all replicas of {service.settings.name} were removed, and its key with them",
                where=self.engine.address,
                hint="delete the service, and create it again",
            )
        return containers.secrets_of(self.engine, service.replicas[0].id, service.settings)

    def _sweep(self, name: str) -> bool:
        found = find(self.engine, name)
        if found is None:
            return False
        ids = [one.id for one in (*found.replicas, *found.others)]
        for container in [*ids, *([found.listener] if found.listener else [])]:
            engine_containers.remove(self.engine, container, force=True)
        containers.remove_volume(self.engine, name)
        return True
