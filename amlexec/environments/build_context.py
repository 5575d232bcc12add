"""What all steps of making one environment are given, as one value."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.network import Network
    from amlexec.packages.resolve import Resolution
    from amlexec.progress import Progress

__all__ = ["BuildContext"]


class BuildContext(NamedTuple):
    """One build: what is asked of it, what that comes to, how packages are reached, and who is told."""

    request: BuildRequest
    resolution: Resolution
    network: Network
    progress: Progress
    log: BuildLog
