"""Where the folders of a container's run are: what is mounted into it, and for whom."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amlexec.targets import container_files
from amlexec.targets.outputs import aliases_of, bring
from amlexec.targets.run_folders import check_out, shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.model import NotCollected, Plan, Project

__all__ = [
    "CHECKOUT",
    "LOGGED",
    "REMAPPED",
    "SHARED",
    "SITE",
    "RunVolumes",
    "LocalVolumes",
    "Mount",
    "User",
    "is_remapped",
    "is_rootless",
]

CHECKOUT = "/azureml-run"
"""Where the copy of the project is in a container, as Workbench had it."""
SHARED = "/azureml-share/"
SITE = "/amlexec/site"
LOGGED = "/amlexec/run"
"""Where the metric logger writes."""


REMAPPED = (
    "the engine gives containers users of their own (userns-remap), who may not use its machine's folders: "
    "the project is copied in, and outputs are copied out"
)


def is_rootless(options: Iterable[str]) -> bool:
    """Whether an engine runs as the user whose it is; `options` are its SecurityOptions."""
    return any(one.split(",")[0] == "name=rootless" for one in options)


def is_remapped(options: Iterable[str]) -> bool:
    """Whether the users of an engine's containers are not those of its machine; `options` as before."""
    return any(one.split(",")[0] == "name=userns" for one in options)


class User(NamedTuple):
    """Who a script is in its container."""

    uid: int
    gid: int
    name: str


class Mount(NamedTuple):
    """A folder of the engine's machine, and where it is in a container."""

    source: str
    target: str
    read_only: bool = False


class RunVolumes(Protocol):
    """The folders of runs on the machine of an engine."""

    @property
    def owner(self) -> str:
        """What tells the runs of this project from others of the same engine, beyond the project's folder."""

    @property
    def user(self) -> User:
        """Who a script is. Raises TargetError where that can't be asked now."""

    @property
    def has_other_users(self) -> bool:
        """Whether the numbers of users in containers are not those of this machine."""

    def can_mount(self, plan: Plan) -> bool:
        """Whether the run's folders are mounted, rather than copied."""

    def why_not(self, plan: Plan) -> str:
        """Why they are not mounted although the plan says so; "" where they are."""

    def check(self, plan: Plan) -> None:
        """Find out whether the folders that are to be mounted can be. Raises TargetError."""

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`."""

    def mounts(self, paths: RunPaths, plan: Plan) -> list[Mount]:
        """What is mounted into the container of a run that was staged."""

    def fetch(self, paths: RunPaths) -> list[NotCollected]:
        """Bring home what a run has made in mounted folders; what was not brought.

        Where something is another user's and can't be read, it is named so, and all may have stayed there.
        """

    def clean(self, paths: RunPaths) -> list[str]:
        """Remove those folders. Idempotent. Returns as `Target.clean`."""

    def forget(self, run_id: str) -> None:
        """Remove all that a run that is over, and was submitted anywhere, has left in such folders."""


class LocalVolumes:
    """The folders of this machine, for an engine that is on it."""

    owner = ""

    def __init__(
        self, project: Project, engine: Engine, *, uid: int | None = None, gid: int | None = None
    ) -> None:
        """Scripts are the user `uid`:`gid`, by default the caller."""
        self._project = project
        self._engine = engine
        self._asked = (uid, gid)
        self._user: User | None = None
        self._options: tuple[str, ...] | None = None

    @property
    def user(self) -> User:
        """See `RunVolumes.user`. A rootless engine has the caller as its root."""
        if self._user is None:
            uid, gid = self._asked
            own = (0, 0) if is_rootless(self._security()) else (os.getuid(), os.getgid())
            found = (own[0] if uid is None else uid, own[1] if gid is None else gid)
            self._user = User(*found, container_files.user_name(os.getuid() if uid is None else uid))
        return self._user

    @property
    def has_other_users(self) -> bool:
        """See `RunVolumes.has_other_users`."""
        return is_remapped(self._security())

    def _security(self) -> tuple[str, ...]:
        if not self._engine.address.startswith("unix:"):
            return ()
        if self._options is None:
            self._options = tuple(self._engine.info().get("SecurityOptions") or ())
        return self._options

    def can_mount(self, plan: Plan) -> bool:
        """See `RunVolumes.can_mount`."""
        # The engine behind a network address has another machine's folders.
        is_here = plan.target.shared_volumes and self._engine.address.startswith("unix:")
        return is_here and not self.has_other_users

    def why_not(self, plan: Plan) -> str:
        """See `RunVolumes.why_not`."""
        if self.can_mount(plan) or not plan.target.shared_volumes:
            return ""
        if self.has_other_users:
            return REMAPPED
        return (
            f"the engine at {self._engine.address} can't mount folders of this machine: "
            "the project is copied in, and outputs are copied out"
        )

    def check(self, plan: Plan) -> None:
        """See `RunVolumes.check`."""
        shared_folder(self._project, plan.target)

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `RunVolumes.stage`."""
        check_out(self._project, paths, plan, tree)

    def mounts(self, paths: RunPaths, plan: Plan) -> list[Mount]:
        """See `RunVolumes.mounts`."""
        logged = paths.folder / "logged"
        if self.user.uid not in {os.getuid(), 0}:
            container_files.give(paths.checkout, self.user.uid, self.user.gid)
            container_files.give(logged, self.user.uid, self.user.gid)
        found = [
            Mount(str(paths.checkout), CHECKOUT),
            Mount(str(logged), LOGGED),
            Mount(str(container_files.SITE), SITE, read_only=True),
        ]
        if shared := shared_folder(self._project, plan.target):
            found.append(Mount(str(shared), SHARED.rstrip("/")))
        return found

    def fetch(self, paths: RunPaths) -> list[NotCollected]:
        """See `RunVolumes.fetch`."""
        aliases = [CHECKOUT, *aliases_of(paths.checkout)]
        return bring(paths.checkout, paths.outputs, aliases, foreign_stays=True)

    def clean(self, paths: RunPaths) -> list[str]:  # noqa: ARG002 - nothing of it is elsewhere
        """See `RunVolumes.clean`: the target removes what is here."""
        return []

    def forget(self, run_id: str) -> None:
        """See `RunVolumes.forget`: no other computer has folders here."""
