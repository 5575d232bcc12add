"""Runs as containers of a Docker engine, which is the only source of their state."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from typing import IO, TYPE_CHECKING, Any

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError, EngineLostError
from amlexec.docker.labels import OWNER, PROJECT, PROJECT_FOLDER, RUN
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.files import SMALL, read_regular, touch, write_atomically
from amlexec.history.record import is_run_id
from amlexec.images.store import ImageStore
from amlexec.models import run_folder
from amlexec.runtime import SITE as SITE_FILES
from amlexec.ssh.errors import UnreachableError
from amlexec.targets import (
    container_settings,
    docker_launch,
    live_metrics,
    shared_engine,
)
from amlexec.targets.answers import downloaded_elsewhere
from amlexec.targets.docker_logs import ContainerLogs
from amlexec.targets.reconnect import Reconnect
from amlexec.targets.target import State
from amlexec.targets.volumes import CHECKOUT, LOGGED, SITE, LocalVolumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.targets.target import Launch
    from amlexec.targets.volumes import RunVolumes
    from amlexec.values import NotCollected, Plan, Project

__all__ = ["DockerTarget"]

_CONTAINER = re.compile(r"[0-9a-f]{12,64}")


class DockerTarget:
    """Runs in containers of an engine; `volumes` are the folders on its machine, by default local ones."""

    def __init__(self, project: Project, engine: Engine, volumes: RunVolumes | None = None) -> None:
        self._project = project
        self.engine = engine
        self._volumes = LocalVolumes(project, engine) if volumes is None else volumes
        self._collected = ""
        """The container that was found to be a run's and collected."""
        self._released = ""
        """The run whose container was removed."""

    def store(self, plan: Plan) -> ImageStore:
        """See `Target.store`: the images of the engine."""
        del plan
        return ImageStore(self.engine)

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """See `Target.check`."""
        assert environment is not None, "every container has an environment"
        return docker_launch.launch(self.engine, self._volumes, plan, environment)

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. The staged files are mounted, or copied in."""
        self._volumes.stage(paths, plan, tree)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes] | None:
        """See `Target.start`. The engine is the supervisor."""
        del lock  # the caller keeps it until the engine shows the container
        mounted = self._volumes.can_mount(plan)
        logged = paths.folder / "logged"
        logged.mkdir(mode=0o700)
        run_folder.skeleton(paths.folder / run_folder.FOLDER, logged / run_folder.FOLDER)
        mounts = self._volumes.mounts(paths, plan) if mounted else []
        settings = container_settings.of_run(
            paths, plan, launch, self._volumes, self.engine.features, self._labels, mounts
        )
        container = self._create(paths, settings, plan)
        try:
            write_atomically(paths.control / "container", container, durable=False)
            self._fill(container, paths, mounted=mounted)
            self._begin(container)
        except BaseException:
            # Nothing else would remove it: the record will say that the script did not start.
            with suppress(UnreachableError):
                containers.remove(self.engine, container, force=True)
            raise
        if (paths.control / "cancel").exists():
            self.stop(paths, 0)  # asked for while the engine started it
        return None

    def _begin(self, container: str) -> None:
        try:
            try:
                containers.start(self.engine, container)
            except EngineLostError:
                # Starting is idempotent. If the engine has stopped, this raises another error.
                containers.start(self.engine, container)
        except UnreachableError:
            # It may have started: following the run tells.
            pass

    def _create(self, paths: RunPaths, settings: dict[str, Any], plan: Plan) -> str:
        try:
            try:
                return containers.create(self.engine, settings, name=f"amlexec-{paths.folder.name}")
            except EngineAnswerError as error:
                if error.status != 409:
                    raise
                # A project of the same name has started a run in the same millisecond.
                return containers.create(self.engine, settings)
        except EngineAnswerError as error:
            if error.status != 404:
                raise
            raise TargetError(
                "the image of the environment has just been removed from the engine",
                where=plan.target.name,
                hint=f"{plan.prepare_command}, or submit with --prepare",
            ) from error

    def _fill(self, container: str, paths: RunPaths, *, mounted: bool) -> None:
        uid, gid, name = self._volumes.user
        if uid or not mounted:
            from amlexec.targets import container_files  # whose imports take longer than some requests
        if uid:
            container_files.add_user(self.engine, container, uid, gid, name, docker_launch.HOME)
        if not mounted:
            owner = uid, gid
            models = run_folder.contents(paths.folder / run_folder.FOLDER)
            folders = [
                (paths.checkout, CHECKOUT, owner),
                (paths.folder / "logged", LOGGED, owner),
                *((files, f"{LOGGED}/{run_folder.FOLDER}/{name}", owner) for name, files in models),
                (SITE_FILES, SITE, (0, 0)),
            ]
            container_files.fill(self.engine, container, folders)
        if (paths.control / "cancel").exists():
            raise KeyboardInterrupt

    @property
    def _labels(self) -> dict[str, str]:
        """The labels that identify this project's containers."""
        owner = self._volumes.owner
        named = {PROJECT: self._project.name, PROJECT_FOLDER: self._project.place}
        return {**named, **({OWNER: owner} if owner else {})}

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return shared_engine.is_of(labels, self._project.place, self._volumes.owner)

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`."""
        container = _container(paths)
        if container is None:
            return State("new")
        with self._volumes.bringing_metrics(paths):
            found = self._inspect(paths, container)
        if found is not None:
            state = shared_engine.state_of(found, canceled=(paths.control / "cancel").exists())
            if state.phase == "running" and not found.is_mounted:
                self._bring_metrics(container, paths)
            return state
        if self._is_of_others(paths):
            raise downloaded_elsewhere(paths, self.engine.address)
        return State("lost", why="its container is no longer on the engine")

    def _bring_metrics(self, container: str, paths: RunPaths) -> None:
        # Nothing has been logged yet, or the container has just ended and will be collected.
        with suppress(EngineAnswerError, EngineLostError):
            live_metrics.from_container(self.engine, container, f"{LOGGED}/{paths.metrics.name}", paths)

    def _inspect(self, paths: RunPaths, container: str) -> containers.ContainerState | None:
        """The state of the container that the run's folder names; None if it does not exist.

        Raises:
            TargetError: its labels are not this run's, so it must not be touched.
        """
        answer = containers.inspect(self.engine, container)
        if answer is None:
            return None
        found = containers.state_of(self.engine, answer)
        run = found.labels.get(RUN)
        if run != paths.folder.name or not (self._is_of_others(paths) or self._is_ours(found.labels)):
            project = found.labels.get(PROJECT_FOLDER) or found.labels.get(PROJECT)
            whose = f"to the run {run!r:.80} in {project!r:.200}" if run else "to no run"
            raise TargetError(
                f"the container {container[:12]} is not this run's: by its labels it belongs {whose}",
                where=str(paths.control / "container"),
                hint="if the project was moved or copied, use the run in the project that submitted it",
            )
        return found

    def _own(self, paths: RunPaths) -> str | None:
        """The id of the run's container, which may be removed. Raises like `_inspect`."""
        container = _container(paths)
        if container is not None:
            self._inspect(paths, container)
        return container

    def follow(
        self,
        paths: RunPaths,
        end_pipe: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. After a restart of the engine, the output continues where it stopped.

        If the container is removed because the run's end is recorded, the local logs are used. If the
        connection to the engine's machine is lost, waits until it is back.
        """
        del end_pipe  # the engine reports the container's end
        logs = ContainerLogs(self.engine, {containers.STDOUT: stdout, containers.STDERR: stderr})
        reconnect = Reconnect(paths.folder.name)
        while True:
            try:
                container = self._own(paths)
                is_whole = container is None or logs.hand_on(container, reconnect.found)
                state = self.state(paths)
            except UnreachableError as error:
                reconnect.lost(error)
                continue
            if state.phase == "lost":
                logs.hand_on_files({containers.STDOUT: paths.stdout, containers.STDERR: paths.stderr})
            # If it ended after the logs were cut off, read the rest.
            if state.phase != "running" and (is_whole or state.phase != "ended"):
                return state

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`."""
        container = self._own(paths)
        touch(paths.control / "cancel")
        if container is not None:
            is_shared = bool(self._volumes.owner)
            run_id = paths.folder.name
            with shared_engine.canceling(self.engine, container, run_id) if is_shared else nullcontext():
                containers.stop(self.engine, container, grace)
        return self.state(paths)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`."""
        from amlexec.targets import docker_collect  # at the end of a run

        container = _container(paths)
        found = self._inspect(paths, container) if container else None
        if not container or found is None:
            self._collected = ""
            return docker_collect.without_container(self._volumes, paths)
        self._collected = container
        return docker_collect.collect(
            self.engine, self._volumes, container, paths, is_mounted=found.is_mounted
        )

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`. Another computer's run is kept until that computer has downloaded it."""
        if self._is_of_others(paths):
            return
        container = _container(paths)
        if container is None or container != self._collected:
            container = self._own(paths)
        if container is not None:
            containers.remove(self.engine, container, force=True)
            self._released = paths.folder.name
        else:
            self._remove_all(paths)  # the submitting command may have been killed before it wrote the id

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        if not self._is_of_others(paths) and self._released != paths.folder.name:
            self._remove_all(paths)
        removed = self._volumes.clean(paths)
        if paths.checkout.exists():
            removed.append("here")
        for folder in (paths.checkout, paths.folder / "logged"):
            remove_tree(folder)
        return removed

    def _is_of_others(self, paths: RunPaths) -> bool:
        """Whether another computer submitted the run, on an engine that several use."""
        return bool(self._volumes.owner) and paths.returned.exists()

    def records(self, start: str) -> list[tuple[str, State | None, str]]:
        """Every run on the engine whose id begins with `start`: see `SSHTarget.records`."""
        return [*shared_engine.records(self.engine, start)]

    def adopted(self, paths: RunPaths) -> None:
        """Find the container of a run that another computer submitted.

        Raises:
            TargetError: the engine can't be asked.
        """
        if _container(paths) is None and (found := shared_engine.ids(self.engine, paths.folder.name)):
            write_atomically(paths.control / "container", found[0], durable=False)

    def forget(self, run_id: str) -> None:
        """Remove all containers and files of a finished run, whichever computer submitted it."""
        self.remove(shared_engine.ids(self.engine, run_id))
        self._volumes.forget(run_id)

    def _remove_all(self, paths: RunPaths) -> None:
        found = containers.find(self.engine, {RUN: paths.folder.name})
        self.remove([str(container["Id"]) for container in found if self._is_ours(container["Labels"])])

    def containers(self) -> dict[str, list[str]]:
        """The containers of this project's runs, by run id. Raises TargetError."""
        by_run: dict[str, list[str]] = {}
        for found in containers.find(self.engine, {RUN: ""}):
            run_id = str(found["Labels"][RUN])
            if is_run_id(run_id) and self._is_ours(found["Labels"]):
                by_run.setdefault(run_id, []).append(str(found["Id"]))
        return by_run

    def remove_builds(self) -> int:
        """Remove the build containers of killed processes; returns their number."""
        from amlexec.images import build_lock

        return build_lock.sweep(self.engine)

    def remove(self, ids: list[str]) -> bool:
        """Remove containers, running or not; whether one of them existed."""
        removed = [containers.remove(self.engine, container, force=True) for container in ids]
        return any(removed)


def _container(paths: RunPaths) -> str | None:
    try:
        content = read_regular(paths.control / "container", SMALL, follow=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TargetError(f"the file can't be read: {error.strerror}", where=str(error.filename)) from None
    identity = content.decode("ascii", "replace").strip()
    return identity if _CONTAINER.fullmatch(identity) else None
