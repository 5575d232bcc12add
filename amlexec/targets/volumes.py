"""The folders of a container's run, and their mounts."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amlexec.models import run_folder
from amlexec.runtime import SITE as SITE_FILES
from amlexec.targets import live_metrics, users
from amlexec.targets.outputs import aliases_of, bring
from amlexec.targets.run_folders import check_out, shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.values import NotCollected, Plan, Project

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
]

CHECKOUT = "/azureml-run"
"""The copy of the project in a container, as in Workbench."""
SHARED = "/azureml-share/"
SITE = "/amlexec/site"
LOGGED = "/amlexec/run"
"""The folder of the metric logger."""


REMAPPED = (
    "the engine remaps user ids (userns-remap), so containers can't use its machine's folders: "
    "the project is copied in, and outputs are copied out"
)


class User(NamedTuple):
    """The user of a script in its container."""

    uid: int
    gid: int
    name: str


class Mount(NamedTuple):
    """A folder of the engine's machine, and its path in a container."""

    source: str
    target: str
    read_only: bool = False


class RunVolumes(Protocol):
    """The folders of runs on the machine of an engine."""

    @property
    def owner(self) -> str:
        """Identifies this project's runs on the engine, in addition to the project's folder."""

    @property
    def user(self) -> User:
        """The user of scripts. Raises TargetError if the engine does not answer."""

    @property
    def has_other_users(self) -> bool:
        """Whether user ids in containers differ from those of this machine."""

    def can_mount(self, plan: Plan) -> bool:
        """Whether the run's folders are mounted, rather than copied."""

    def why_not(self, plan: Plan) -> str:
        """Why they are not mounted although the plan asks for it; "" if they are."""

    def check(self, plan: Plan) -> None:
        """Check that the folders can be mounted. Raises TargetError."""

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`."""

    def mounts(self, paths: RunPaths, plan: Plan) -> list[Mount]:
        """The mounts for the container of a staged run."""

    def bringing_metrics(self, paths: RunPaths) -> AbstractContextManager[None]:
        """Copy the new metrics of a running container from mounted folders here, until the block's end."""

    def fetch(self, paths: RunPaths) -> list[NotCollected]:
        """Collect the outputs from mounted folders; returns what was not collected.

        A file that belongs to another user and can't be read has that reason; then nothing may be collected.
        """

    def clean(self, paths: RunPaths) -> list[str]:
        """Remove those folders. Idempotent. Returns the same as `Target.clean`."""

    def forget(self, run_id: str) -> None:
        """Remove those folders of a finished run, whichever computer submitted it."""


class LocalVolumes:
    """Folders of this machine, for a local engine."""

    owner = ""

    def __init__(
        self, project: Project, engine: Engine, *, uid: int | None = None, gid: int | None = None
    ) -> None:
        """Scripts run as `uid`:`gid`, by default the caller."""
        self._project = project
        self._engine = engine
        self._asked = (uid, gid)
        self._user: User | None = None

    @property
    def user(self) -> User:
        """See `RunVolumes.user`. In a rootless engine, the caller is root."""
        if self._user is None:
            uid, gid = self._asked
            is_root = self._is_here and self._engine.features.is_rootless
            own = (0, 0) if is_root else (os.getuid(), os.getgid())
            found = (own[0] if uid is None else uid, own[1] if gid is None else gid)
            self._user = User(*found, users.user_name(os.getuid() if uid is None else uid))
        return self._user

    @property
    def has_other_users(self) -> bool:
        """See `RunVolumes.has_other_users`."""
        return self._is_here and self._engine.features.has_other_users

    @property
    def _is_here(self) -> bool:
        """Whether its folders are ours: an engine behind a network address has another machine's."""
        return self._engine.address.startswith("unix:")

    def can_mount(self, plan: Plan) -> bool:
        """See `RunVolumes.can_mount`."""
        return plan.target.shared_volumes and self._is_here and not self.has_other_users

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
            users.give(paths.checkout, self.user.uid, self.user.gid)
            users.give(logged, self.user.uid, self.user.gid)
        found = [
            Mount(str(paths.checkout), CHECKOUT),
            Mount(str(logged), LOGGED),
            Mount(str(SITE_FILES), SITE, read_only=True),
        ]
        for name, files in run_folder.contents(paths.folder / run_folder.FOLDER):
            found.append(Mount(str(files), f"{LOGGED}/{run_folder.FOLDER}/{name}", read_only=True))
        if shared := shared_folder(self._project, plan.target):
            found.append(Mount(str(shared), SHARED.rstrip("/")))
        return found

    @contextlib.contextmanager
    def bringing_metrics(self, paths: RunPaths) -> Iterator[None]:
        """See `RunVolumes.bringing_metrics`."""
        yield
        live_metrics.copied(paths, paths.folder / "logged")

    def fetch(self, paths: RunPaths) -> list[NotCollected]:
        """See `RunVolumes.fetch`."""
        aliases = [CHECKOUT, *aliases_of(paths.checkout)]
        return bring(paths.checkout, paths.outputs, aliases, foreign_stays=True)

    def clean(self, paths: RunPaths) -> list[str]:  # noqa: ARG002 - there are no other folders
        """See `RunVolumes.clean`: the target removes what is here."""
        return []

    def forget(self, run_id: str) -> None:
        """See `RunVolumes.forget`: no other computer has folders here."""
