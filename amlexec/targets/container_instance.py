"""Runs as container groups of Azure Container Instances: a container for one run, on no machine of ours.

What happens in the container, `runtime/site/amlexec/service_run.py` writes into the run's own storage. The
group itself only says whether there is a container, and how it ended.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from amlexec.azure.clouds import (
    Place,
    blob_endpoint,
    group_name,
    manager_address,
    plain,
    registry_server,
    scope_of,
)
from amlexec.azure.groups import ContainerGroups
from amlexec.azure.phase import phase_of
from amlexec.azure.request import CONTAINER, GroupRequest, RegistryLogin
from amlexec.azure.sdk import log_in
from amlexec.azure.storage import RunStorage
from amlexec.console import say
from amlexec.errors import NoContactError, TargetError, UnreachableError, UsageError
from amlexec.files import remove_tree, touch
from amlexec.history.record import Interpreter
from amlexec.images import registry
from amlexec.images.labels import PREFIX
from amlexec.images.published_store import PublishedStore
from amlexec.owner import owner_of
from amlexec.targets import service_files, service_place
from amlexec.targets.reconnect import Reconnect
from amlexec.targets.run_folders import check_out
from amlexec.targets.script_environment import with_site
from amlexec.targets.service_command import COMMAND, variables
from amlexec.targets.service_files import ServiceLog
from amlexec.targets.service_place import Asked
from amlexec.targets.target import Launch, State
from amlexec.targets.volumes import SITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.azure.groups import GroupView
    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.values import ComputeTarget, NotCollected, Plan, Project

__all__ = ["ContainerInstanceTarget"]

_RUN_TAG, _OWNER_TAG = "amlexec-run", "amlexec-owner"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
"""Between two looks at a run that is followed."""
_LOOK_AT_GROUP_S = 5.0
_STATE_LIMIT = 1 << 16
_SETTLE_TIMEOUT_S = 60.0
"""For the run to react to a cancel, in addition to the grace; and for Azure to delete a group."""
_OVER = frozenset({"ended", "failed", "lost", "new"})
_LOG_LINES = 20


class ContainerInstanceTarget:
    """Runs in containers of Azure. `engine` builds their images."""

    def __init__(self, project: Project, engine: Engine) -> None:
        self._project = project
        self._engine = engine
        self._store: PublishedStore | None = None
        self._warned: set[str] = set()

    @property
    def engine(self) -> Engine:
        """The engine that builds the images."""
        return self._engine

    def store(self, plan: Plan) -> PublishedStore:
        """See `Target.store`: the images in the target's registry."""
        if self._store is None:
            self._store = PublishedStore(self._engine, registry_of(plan.target))
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
        log_in(scope_of(self._place(plan, "run").manager))
        python = f"{PREFIX}/bin/python"
        own = {"PYTHONUNBUFFERED": "1", "HOME": "/root", "USER": "root", **dict(plan.environment_variables)}
        warning = "a container instance has no shared directory; AZUREML_NATIVE_SHARE_DIRECTORY is not set"
        return Launch(
            argv=(python, plan.script_argument, *plan.arguments),
            python=Interpreter(python, environment.python),
            platform=environment.platform,
            environment=with_site(own, SITE),
            digest=environment.digest,
            image_id=environment.key,
            warnings=(warning,) if target.native_shared_directory else (),
        )

    def _place(self, plan: Plan, run_id: str) -> Place:
        """Where a run is going to be. Raises ConfigurationError."""
        target = plan.target
        where = str(target.place)
        manager = manager_address(target.resource_manager, where)
        owner = plain(owner_of(self._project))
        return Place(
            manager,
            target.subscription_id,
            target.resource_group,
            group_name(run_id, owner),
            blob_endpoint(target.storage_account, manager, where),
            owner,
        )

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. It is sent when the run starts."""
        check_out(self._project, paths, plan, tree)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, held: Held) -> IO[bytes] | None:
        """See `Target.start`. The group has then been accepted by Azure."""
        del held  # the caller keeps it until Azure has accepted the group
        run_id = paths.folder.name
        sha256 = self.store(plan).published(launch.digest)
        if not sha256:
            raise TargetError(
                "the image of the environment has just been removed from the registry",
                where=plan.target.name,
                hint=f"{plan.prepare_command}, or submit with --prepare",
            )
        place = self._place(plan, run_id)
        storage = RunStorage(place)
        service_place.write(paths, Asked(place, time.time()))
        try:
            storage.create({"amlexec_run": plain(run_id), "amlexec_owner": place.owner})
            service_files.send(storage, paths)
            request = _request(plan.target, f"{registry_of(plan.target)}@{sha256}")
            request = request._replace(
                command=COMMAND,
                variables=variables(launch, run_id, storage.address_for_run()),
                tags=((_RUN_TAG, plain(run_id)), (_OWNER_TAG, place.owner)),
            )
        except BaseException:
            self._undo(paths, place)
            raise
        try:
            ContainerGroups.of(place).create(place.group, request)
        except UnreachableError:
            pass  # it may have been created: following the run tells
        except BaseException:
            self._undo(paths, place)
            raise
        if (paths.control / "cancel").exists():
            self.stop(paths, 0)  # asked for while Azure created it
        return None

    def _undo(self, paths: RunPaths, place: Place) -> None:
        """Nothing else would delete it: the record will say that the script did not start."""
        with suppress(NoContactError, TargetError):
            self._delete_group(place)
            RunStorage(place).delete()
            (paths.control / "group").unlink(missing_ok=True)

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`. The same call gets the new metrics of a running run."""
        asked = service_place.read(paths)
        if asked is None:
            return State("new")
        kept = service_place.kept_end(paths)
        if kept is not None:
            return kept
        storage = RunStorage(asked.place)
        said = self._said(storage)
        if said is not None and said.phase == "ended":
            return said
        found = self._by_group(paths, asked, said, storage)
        if found.phase == "running" and said is not None:
            service_files.bring_metrics(storage, paths)
        return found

    @staticmethod
    def _said(storage: RunStorage) -> State | None:
        data = storage.get("state", _STATE_LIMIT)
        return None if data is None else service_place.read_state(data, storage.address)

    def _by_group(self, paths: RunPaths, asked: Asked, said: State | None, storage: RunStorage) -> State:
        """The state by the container group; `said` is what the run has said before."""
        canceled = (paths.control / "cancel").exists()
        began = said.began if said is not None else None
        view = self._view(asked.place)
        phase = phase_of(view, time.time() - asked.at) if view is not None else None
        if phase is not None and phase.name == "starting":
            self._warn(phase.why or phase.warning)
            return said or State("starting")
        if phase is not None and phase.name == "running":
            self._warn(phase.warning)
            return said or State("starting")  # its files are on their way
        # The last thing that it did may have been to write its end.
        again = self._said(storage)
        if again is not None and again.phase == "ended":
            return again
        if view is None or phase is None:
            if said is None and not canceled and time.time() - asked.at < _SETTLE_TIMEOUT_S:
                return State("starting") if storage.metadata() is not None else State("new")
            why = "its container group is no longer in Azure: somebody else has deleted it, or Azure has"
            why = (
                why
                if said is not None
                else "Azure has no container group of it: it never began, or was deleted"
            )
            return State("lost", began, canceled=canceled, why=why)
        if phase.name == "failed":
            return State("failed", canceled=canceled, why=phase.why)
        log = self._last_line(asked.place)
        if said is None:
            # It could not even get its files.
            return State("failed", canceled=canceled, why=log or phase.why or "its container ended at once")
        why = phase.why or log or "its container ended before it had sent everything"
        return State("ended", began or view.began, view.ended, view.exit_code or 0, canceled, why)

    def _view(self, place: Place) -> GroupView | None:
        """The run's container group; None if it does not exist.

        Raises:
            TargetError: by its tags it is not this run's, so it must not be touched.
        """
        view = ContainerGroups.of(place).get(place.group)
        if view is not None and dict(view.tags).get(_OWNER_TAG) != place.owner:
            raise TargetError(
                f"the container group {place.group} is not this run's: its tag {_OWNER_TAG} is "
                f"{dict(view.tags).get(_OWNER_TAG, 'missing')!r:.80}",
                where=place.resource_group,
            )
        return view

    def _last_line(self, place: Place) -> str:
        """The last thing that amlexec itself said in the container; "" if Azure does not have it."""
        try:
            text = ContainerGroups.of(place).log(place.group, CONTAINER, _LOG_LINES)
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
        bell: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. The output comes from the run's storage, by its offset."""
        del bell
        logs = [
            ServiceLog(paths.stdout, "stdout.log", stdout),
            ServiceLog(paths.stderr, "stderr.log", stderr),
        ]
        asked = service_place.read(paths)
        if asked is None:
            return State("new")
        storage, reconnect = RunStorage(asked.place), Reconnect(paths.folder.name)
        pause, next_look = _FIRST_PAUSE_S, 0.0
        while True:
            try:
                state = service_place.kept_end(paths) or self._said(storage)
                if state is None or (state.phase == "running" and time.monotonic() >= next_look):
                    state = self.state(paths)
                    next_look = time.monotonic() + _LOOK_AT_GROUP_S
                found_more = [log.copy(storage) for log in logs]
            except UnreachableError as error:
                reconnect.lost(error)
                continue
            reconnect.found()
            if state.phase in _OVER:
                for log in logs:
                    log.show_rest()
                return state
            pause = _FIRST_PAUSE_S if any(found_more) else min(1.3 * pause, _LONGEST_PAUSE_S)
            time.sleep(pause)

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`. A run that has begun ends its script itself; else its group is deleted."""
        touch(paths.control / "cancel")
        asked = service_place.read(paths)
        state = self.state(paths)
        if asked is None or state.phase in _OVER:
            return state
        storage = RunStorage(asked.place)
        if self._said(storage) is not None:
            storage.put("cancel", str(grace).encode())
            until, pause = time.monotonic() + grace + _SETTLE_TIMEOUT_S, _FIRST_PAUSE_S
            while time.monotonic() < until:
                state = self.state(paths)
                if state.phase in _OVER:
                    return state
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE_S)
        self._delete_group(asked.place)
        return self.state(paths)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. When everything is here, the group is deleted: it is what costs money."""
        asked = service_place.read(paths)
        if asked is None:
            return []
        storage = RunStorage(asked.place)
        said = self._said(storage)
        is_whole = said is not None and said.phase == "ended"
        began = said is not None
        missing = service_files.bring_home(storage, paths, is_whole=is_whole) if began else []
        if service_place.kept_end(paths) is None and self._view(asked.place) is not None:
            service_place.keep_end(paths, self.state(paths))
        self._delete_group(asked.place)
        return missing

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`: the storage of the run."""
        asked = service_place.read(paths)
        if asked is None:
            return
        self._delete_group(asked.place)
        self._delete_storage(asked.place)
        service_place.forget(paths)

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        removed = []
        asked = service_place.read(paths)
        if asked is not None:
            self._delete_group(asked.place)
            if self._delete_storage(asked.place):
                removed.append("in Azure")
            service_place.forget(paths)
        if paths.checkout.exists():
            remove_tree(paths.checkout)
            removed.append("here")
        return removed

    def _delete_group(self, place: Place) -> None:
        if self._view(place) is None:
            return
        if not ContainerGroups.of(place).delete(place.group, _SETTLE_TIMEOUT_S):
            say(f"warning: Azure has not deleted the container group {place.group} yet; it may cost money")
            say(f"  hint: az container show -g {place.resource_group} -n {place.group}")

    @staticmethod
    def _delete_storage(place: Place) -> bool:
        """Whether there was anything. Raises TargetError if it is not this run's."""
        storage = RunStorage(place)
        found = storage.metadata()
        if found is None:
            return False
        if found.get("amlexec_owner") != place.owner:
            raise TargetError("this storage container is not of a run of this project", where=storage.address)
        storage.delete()
        return True


def registry_of(target: ComputeTarget) -> str:
    """The repository for the images of a target. Raises UsageError."""
    return registry.place(target.registry)


def _request(target: ComputeTarget, image: str) -> GroupRequest:
    return GroupRequest(
        target.region,
        image,
        (),
        target.cpu_cores,
        target.memory_gb,
        gpu=target.gpu,
        gpu_count=target.gpu_count if target.gpu else 0,
        registry=_login(target),
        subnet=target.subnet,
    )


def _login(target: ComputeTarget) -> RegistryLogin | None:
    """How the group gets its image: an identity, a password of the key store, or Docker's own login."""
    from amlexec import redaction
    from amlexec.docker.login import login_of, registry_of
    from amlexec.keystore import store as keystore

    server = registry_server(target.registry)
    if target.identity:
        return RegistryLogin(server, identity=target.identity)
    if target.username:
        secret = keystore.get(target.password) if keystore.is_handle(target.password) else target.password
        redaction.learn(secret)
        return RegistryLogin(server, target.username, secret)
    found = login_of(registry_of(target.registry))
    user, password = (
        found.get("username") or found.get("Username"),
        found.get("password") or found.get("Password"),
    )
    # A token, as `az acr login` gets one, is only valid for hours.
    if user and password and not found.get("IdentityToken") and set(str(user)) - set("0-"):
        return RegistryLogin(server, str(user), str(password))
    return None
