"""Collects what a run in a container has written: from mounted folders, or out of the container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.targets import container_files, own_files
from amlexec.targets.docker_logs import save_logs
from amlexec.targets.outputs import FOREIGN, bring
from amlexec.targets.run_folders import incoming
from amlexec.targets.volumes import CHECKOUT, LOGGED

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths
    from amlexec.targets.volumes import RunVolumes
    from amlexec.values import NotCollected

__all__ = ["collect", "without_container"]


def without_container(volumes: RunVolumes, paths: RunPaths) -> list[NotCollected]:
    """Collect from the local folders of a run whose container no longer exists; see `Target.collect`."""
    missing = own_files.put_in_place(paths.folder / "logged", paths, [LOGGED])
    return missing if volumes.owner else missing + volumes.fetch(paths)


def collect(
    engine: Engine, volumes: RunVolumes, container: str, paths: RunPaths, *, is_mounted: bool
) -> list[NotCollected]:
    """Collect logs and results; see `Target.collect`. The folders are mounted, or in the container."""
    save_logs(engine, container, paths.stdout, paths.stderr)
    if not is_mounted:
        return _copied_out(engine, volumes, container, paths)
    missing = own_files.put_in_place(paths.folder / "logged", paths, [LOGGED]) + volumes.fetch(paths)
    if all(item.reason != FOREIGN for item in missing):
        return missing
    # Perhaps files of root in the container, which the engine can read.
    return [item for item in missing if not item.kept] + _copied_out(engine, volumes, container, paths)


def _copied_out(engine: Engine, volumes: RunVolumes, container: str, paths: RunPaths) -> list[NotCollected]:
    owner = None if volumes.has_other_users else volumes.user[:2]
    with incoming(paths) as folder:
        copy = container_files.CopyOut(engine, container, CHECKOUT, folder / "project", owner)
        missing = []
        for name in (*own_files.FILES, "outputs"):
            missing += copy.folder(f"{LOGGED}/{name}", folder / "logged")
        missing += own_files.put_in_place(folder / "logged", paths, [LOGGED])
        missing += copy.folder(f"{CHECKOUT}/outputs", folder / "project")
        return missing + bring(folder / "project", paths.outputs, [CHECKOUT], copy.more)
