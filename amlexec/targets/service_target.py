"""Runs as containers of a service: one container for a run, on no machine of ours.

What happens in the container, `runtime/site/amlexec/service_run.py` writes into the run's own storage. The
service itself only says whether there is a container, and how it ended.
"""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Generic

from amlexec import kinds
from amlexec.console import say
from amlexec.errors import TargetError, UnreachableError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.files import touch
from amlexec.images import registry
from amlexec.images.labels import PREFIX
from amlexec.images.published_store import PublishedStore
from amlexec.owner import owner_of, plain
from amlexec.targets import service_files, service_place
from amlexec.targets.reconnect import Reconnect
from amlexec.targets.run_folders import check_out
from amlexec.targets.script_environment import with_site
from amlexec.targets.service import PlaceT
from amlexec.targets.service_files import ServiceLog
from amlexec.targets.target import Launch, State
from amlexec.targets.volumes import SITE
from amlexec.values import Interpreter

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.targets.service import ContainerService
    from amlexec.values import ComputeTarget, NotCollected, Plan, Project

__all__ = ["ServiceTarget"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
"""Between two looks at a run that is followed, and prints nothing."""
_LOOK_AT_CONTAINER_S = 5.0
_SETTLE_TIMEOUT_S = 60.0
"""For the run to react to a cancel, in addition to the grace; and for the service to delete a container."""
_OVER = frozenset({"ended", "failed", "lost", "new"})
_WITH_OUTPUT = frozenset({"running", "ended", "lost"})
_LOG_LINES = 20
_OWNER = "amlexec_owner"
"""The key of a storage's metadata that says whose it is."""


class ServiceTarget(Generic[PlaceT]):
    """Runs in containers of a service. `engine` builds their images."""

    def __init__(self, project: Project, engine: Engine, service: ContainerService[PlaceT]) -> None:
        self._project = project
        self._engine = engine
        self._service = service
        self._store: PublishedStore | None = None
        self._warned: set[str] = set()

    @property
    def engine(self) -> Engine:
        """The engine that builds the images."""
        return self._engine

    def store(self, plan: Plan) -> PublishedStore:
        """See `Target.store`: the images in the target's registry."""
        if self._store is None:
            takes_any_size = kinds.of(plan.target.kind).is_kubernetes
            where = _registry_of(plan.target)
            self._store = PublishedStore(self._engine, where, takes_any_size=takes_any_size)
        return self._store

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """See `Target.check`."""
        assert environment is not None, "every container has an environment"
        target = plan.target
        if plan.framework == "PySpark":
            raise UsageError(
                f"{target.name} is of type {target.kind}, which has no Spark",
                where=str(target.place),
                hint="write Framework: Python, or name another target with -t",
            )
        self._service.place(target, "run", "owner", "image")
        self._service.log_in(target)
        python = f"{PREFIX}/bin/python"
        user, home = self._service.user(target)
        own = {"PYTHONUNBUFFERED": "1", "HOME": home, "USER": user, **dict(plan.environment_variables)}
        return Launch(
            argv=(python, plan.script_argument, *plan.arguments),
            python=Interpreter(python, environment.python),
            platform=environment.platform,
            environment=with_site(own, SITE),
            digest=environment.digest,
            image_id=environment.key,
            warnings=(self._service.words.not_shared,) if target.native_shared_directory else (),
        )

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. It is sent when the run starts."""
        check_out(self._project, paths, plan, tree)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes] | None:
        """See `Target.start`. The service has then accepted the run."""
        del lock  # the caller keeps it until then
        run_id = paths.folder.name
        sha256 = self.store(plan).published(launch.digest)
        if not sha256:
            raise TargetError(
                "the image of the environment has just been removed from the registry",
                where=plan.target.name,
                hint=f"{plan.prepare_command}, or submit with --prepare",
            )
        image = f"{_registry_of(plan.target)}@{sha256}"
        place = self._service.place(plan.target, run_id, plain(owner_of(self._project)), image)
        storage = self._service.storage(place)
        service_place.write(paths, self._service.kept(place), time.time())
        try:
            service_files.send(storage, paths, {"amlexec_run": plain(run_id), _OWNER: place.owner})
        except BaseException:
            self._undo(paths, place)
            raise
        try:
            self._service.create(place, plan.target, launch, run_id, image)
        except UnreachableError:
            pass  # it may have been created: following the run tells
        except BaseException:
            self._undo(paths, place)
            raise
        if (paths.control / "cancel").exists():
            self.stop(paths, 0)  # asked for while the service created it
        return None

    def _undo(self, paths: RunPaths, place: PlaceT) -> None:
        """Delete what a run has that does not start. If this fails, only the error of the start is raised."""
        try:
            self._delete(place)
            self._service.storage(place).delete()
        except TargetError as error:
            # It may cost money, and the record will say that the script did not start.
            say(f"warning: what the service has of the run could not be deleted: {error.message}")
            say(f"  hint: amlexec experiment clean -r {paths.folder.name} deletes it")
        else:
            service_place.unwrite(paths)

    def _asked(self, paths: RunPaths) -> tuple[PlaceT, float] | None:
        """Where a run is, and when it was asked for; None if it was not. Raises TargetError."""
        return service_place.read(paths, self._service.place_of)

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`. The same call gets the new metrics of a running run."""
        found = self._state(paths)
        asked = self._asked(paths) if found.phase == "running" else None
        if asked is not None:
            service_files.copy(self._service.storage(asked[0]), [service_files.metrics(paths)])
        return found

    def _state(self, paths: RunPaths) -> State:
        asked = self._asked(paths)
        if asked is None:
            return State("new")
        kept = service_place.kept_end(paths)
        if kept is not None:
            return kept
        place, at = asked
        reported = self._service.reported(place)
        if reported is not None and reported.phase == "ended":
            return reported
        return self._by_container(paths, place, at, reported)

    def _by_container(self, paths: RunPaths, place: PlaceT, at: float, reported: State | None) -> State:
        """The state by the container; `reported` is what the run has reported before."""
        canceled = (paths.control / "cancel").exists()
        looked = self._service.look(place, time.time() - at)
        if looked is not None and looked.phase in {"starting", "running"}:
            self._warn((looked.why if looked.phase == "starting" else "") or looked.warning)
            return reported or State("starting")  # if it runs, its files are on their way
        # The last thing that it did may have been to write its end.
        again = self._service.reported(place)
        if again is not None and again.phase == "ended":
            return again
        began = reported.began if reported is not None else None
        if looked is None:
            if reported is None and not canceled and time.time() - at < _SETTLE_TIMEOUT_S:
                is_asked = self._service.storage(place).metadata() is not None
                return State("starting" if is_asked else "new")
            words = self._service.words
            return State(
                "lost", began, canceled=canceled, why=words.gone if reported is not None else words.never
            )
        if looked.phase == "failed":
            return State("failed", canceled=canceled, why=looked.why)
        log = self._last_line(place)
        if reported is None:
            # It could not even get its files.
            return State("failed", canceled=canceled, why=log or looked.why or "its container ended at once")
        why = looked.why or log or "its container ended before it had sent everything"
        return State("ended", began or looked.began, looked.ended, looked.exit_code or 0, canceled, why)

    def _last_line(self, place: PlaceT) -> str:
        """The last thing that amlexec itself said in the container; "" if the service does not have it."""
        try:
            text = self._service.printed(place, _LOG_LINES)
        except TargetError:
            return ""  # of no more use than an empty log
        said = [line.partition("amlexec: ")[2].strip() for line in text.splitlines() if "amlexec: " in line]
        return said[-1][:400] if said else ""

    def _warn(self, text: str) -> None:
        if text and text not in self._warned:
            self._warned.add(text)
            say(f"warning: {text}")

    def follow(
        self,
        paths: RunPaths,
        end_pipe: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. The output comes from the run's storage, by its offset."""
        del end_pipe
        logs = [
            ServiceLog(paths.stdout, "stdout.log", stdout),
            ServiceLog(paths.stderr, "stderr.log", stderr),
        ]
        asked = self._asked(paths)
        if asked is None:
            return State("new")
        place, _ = asked
        storage, reconnect = self._service.storage(place), Reconnect(paths.folder.name)
        pause, next_look, found_more = _FIRST_PAUSE_S, 0.0, False
        while True:
            try:
                state = service_place.kept_end(paths) or self._service.reported(place)
                wanted = logs
                if state is None or (state.phase == "running" and time.monotonic() >= next_look):
                    state = self._state(paths)
                    next_look = time.monotonic() + _LOOK_AT_CONTAINER_S
                    wanted = [*logs, service_files.metrics(paths)] if state.phase == "running" else logs
                found_more = state.phase in _WITH_OUTPUT and service_files.copy(storage, wanted)
            except UnreachableError as error:
                reconnect.lost(error)
                continue
            reconnect.found()
            if state.phase in _OVER:
                for log in logs:
                    log.show_rest()
                return state
            pause = self._service.pause_s if found_more else min(1.3 * pause, _LONGEST_PAUSE_S)
            time.sleep(pause)

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`. A run that has begun ends its script itself; else its container is deleted."""
        touch(paths.control / "cancel")
        asked = self._asked(paths)
        state = self.state(paths)
        if asked is None or state.phase in _OVER:
            return state
        place, _ = asked
        if self._service.reported(place) is not None:
            self._service.storage(place).put("cancel", str(grace).encode())
            until, pause = time.monotonic() + grace + _SETTLE_TIMEOUT_S, _FIRST_PAUSE_S
            while time.monotonic() < until:
                state = self.state(paths)
                if state.phase in _OVER:
                    return state
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE_S)
        self._delete(place)
        return self.state(paths)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. When everything is here, the container is deleted: it is what costs money."""
        asked = self._asked(paths)
        if asked is None:
            return []
        place, at = asked
        reported = self._service.reported(place)
        is_whole = reported is not None and reported.phase == "ended"
        storage = self._service.storage(place)
        missing = service_files.bring_home(storage, paths, is_whole=is_whole) if reported is not None else []
        if service_place.kept_end(paths) is None and self._service.look(place, time.time() - at) is not None:
            service_place.keep_end(paths, self.state(paths))
        self._delete(place)
        return missing

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`: the storage of the run."""
        self._forget(paths)

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        removed = [self._service.words.where] if self._forget(paths) else []
        if paths.checkout.exists():
            remove_tree(paths.checkout)
            removed.append("here")
        return removed

    def _forget(self, paths: RunPaths) -> bool:
        """Delete all that the service has of a run; whether it had files of it."""
        asked = self._asked(paths)
        if asked is None:
            return False
        self._delete(asked[0])
        had_files = self._delete_storage(asked[0])
        service_place.forget(paths)
        return had_files

    def _delete(self, place: PlaceT) -> None:
        left = self._service.delete(place, _SETTLE_TIMEOUT_S)
        if left is not None:
            say(f"warning: {left[0]}")
            say(f"  hint: {left[1]}")

    def _delete_storage(self, place: PlaceT) -> bool:
        """Whether there was anything. Raises TargetError if it is not this run's."""
        storage = self._service.storage(place)
        try:
            return storage.delete({_OWNER: place.owner})
        except PermissionError:
            raise TargetError(
                "these files belong to a run of another project", where=storage.address
            ) from None


def _registry_of(target: ComputeTarget) -> str:
    """The repository for the images of a target. Raises UsageError."""
    return registry.place(target.registry)
