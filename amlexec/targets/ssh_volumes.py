"""Container runs' folders on an engine's machine over SSH: the same as for runs without a container."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from amlexec.errors import AmlexecError, TargetError
from amlexec.targets.run_folders import check_out, remote_shared_folder
from amlexec.targets.ssh import SSHTarget
from amlexec.targets.volumes import (
    CHECKOUT,
    LOGGED,
    REMAPPED,
    SHARED,
    SITE,
    Mount,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine
    from amlexec.docker.forward import SSHTransport
    from amlexec.history.paths import RunPaths
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import NotCollected, Plan, Project

__all__ = ["SSHVolumes"]

_STAGED = "staged"
"""A file in a run's control folder: the machine has a folder of the run."""


class SSHVolumes:
    """A `RunVolumes` on another machine."""

    def __init__(
        self, project: Project, connection: SSHConnection, transport: SSHTransport, engine: Engine
    ) -> None:
        """`transport` reaches `engine` over `connection`. No I/O."""
        self._project = project
        self._connection = connection
        self._transport = transport
        self._engine = engine
        self._host = SSHTarget(project, connection)
        self._user: User | None = None

    @property
    def owner(self) -> str:
        """See `RunVolumes.owner`."""
        return self._host.mirror

    @property
    def user(self) -> User:
        """See `RunVolumes.user`: the SSH user, who then owns what a script writes into mounted folders."""
        if self._user is None:
            found = self._transport.surroundings
            # In a rootless engine, the user is root.
            uid, gid = (0, 0) if self._engine.features.is_rootless else (found.uid, found.gid)
            self._user = User(uid, gid, found.user or "user")
        return self._user

    @property
    def has_other_users(self) -> bool:
        """See `RunVolumes.has_other_users`."""
        return True

    def can_mount(self, plan: Plan) -> bool:
        """See `RunVolumes.can_mount`."""
        return plan.target.shared_volumes and not self._engine.features.has_other_users

    def why_not(self, plan: Plan) -> str:
        """See `RunVolumes.why_not`."""
        return REMAPPED if plan.target.shared_volumes and not self.can_mount(plan) else ""

    def check(self, plan: Plan) -> None:
        """See `RunVolumes.check`. Creates the shared folder if it is missing."""
        if not (shared := self._shared(plan)):
            return
        answer = self._connection.run('mkdir -p "$1"', shared)
        if answer.exit_code != 0:
            raise TargetError(
                f"nativeSharedDirectory: {shared} can't be made on {self._connection.name}: "
                f"{answer.stderr.strip().rpartition(': ')[2]}",
                where=str(plan.target.place),
                hint="name a folder that you may write to there, or remove the key",
            )

    def _shared(self, plan: Plan) -> str:
        return remote_shared_folder(self._project, plan.target, self._transport.surroundings.home)

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `RunVolumes.stage`. Without mounts, the snapshot is checked out locally and copied in."""
        if not self.can_mount(plan):
            check_out(self._project, paths, plan, tree)
            return
        (paths.control / _STAGED).touch()
        self._host.stage(paths, plan, tree)

    def mounts(self, paths: RunPaths, plan: Plan) -> list[Mount]:
        """See `RunVolumes.mounts`."""
        home = self._transport.surroundings.home
        run = f"{home}/.amlexec/runs/{paths.folder.name}"
        found = [
            Mount(run, LOGGED),
            Mount(f"{run}/project", CHECKOUT),
            Mount(f"{home}/{self._host.runtime}/site", SITE, read_only=True),
        ]
        if shared := self._shared(plan):
            found.append(Mount(shared, SHARED.rstrip("/")))
        return found

    @contextlib.contextmanager
    def bringing_metrics(self, paths: RunPaths) -> Iterator[None]:
        """See `RunVolumes.bringing_metrics`: while the engine is asked, at the same time."""
        if not (paths.control / _STAGED).exists():
            yield
            return
        bringing = threading.Thread(target=self._bring_metrics, args=[paths], daemon=True)
        bringing.start()
        try:
            yield
        finally:
            bringing.join()

    def _bring_metrics(self, paths: RunPaths) -> None:
        # Without them, the last known ones are shown; that the machine is gone, the engine's answer says.
        # Where the disk is full here, or no more files can be opened, what comes next says so.
        with contextlib.suppress(AmlexecError, OSError):
            self._host.bring_metrics(paths)

    def fetch(self, paths: RunPaths) -> list[NotCollected]:
        """See `RunVolumes.fetch`."""
        return self._host.fetch(paths, [CHECKOUT])

    def clean(self, paths: RunPaths) -> list[str]:
        """See `RunVolumes.clean`."""
        return self._host.clean(paths) if (paths.control / _STAGED).exists() else []

    def forget(self, run_id: str) -> None:
        """See `RunVolumes.forget`."""
        self._host.forget(run_id)
