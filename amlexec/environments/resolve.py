"""The conda packages of an environment: from its lock file, else from a solve."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages import conda_solve
from amlexec.packages.network import cache_folder
from amlexec.packages.resolve import Resolution

if TYPE_CHECKING:
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.network import Network
    from amlexec.progress import Progress

__all__ = ["resolved"]


def resolved(request: BuildRequest, network: Network, progress: Progress) -> Resolution:
    """The packages of a request: from its lock file, else from a solve of conda (pip resolves later, itself).

    Raises:
        ConfigurationError: the dependencies are unsolvable, or the lock file is damaged.
        TargetError: a channel can't be reached.
    """
    platform = request.spec.platform
    if request.lock is not None:
        from amlexec.environments import lockfile

        sources = conda_solve.channels(request.project, request.dependencies, network)
        name = lockfile.set_name(platform, request.dependencies)
        return lockfile.resolution_from(request.lock, name, sources)
    if not network.verifies_channels:
        progress.step("conda's ssl_verify is false: the certificates of channels are not verified")
    progress.step("solving the conda section")
    records = conda_solve.solve(
        request.project, request.dependencies, platform, network, cache=cache_folder()
    )
    return Resolution(tuple(records))
