"""Install conda packages on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import private_folders
from amlexec.packages import conda_errors, conda_link
from amlexec.packages.network import client
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rattler import RepoDataRecord

    from amlexec.errors import TargetError
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform

__all__ = ["install"]


def install(
    records: Sequence[RepoDataRecord],
    prefix: Path,
    final_prefix: str,
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
    below: Sequence[RepoDataRecord] = (),
) -> None:
    """Install packages into the new folder `prefix`, to be used at `final_prefix`.

    Those that are also in `below` are left out: `prefix` will be laid over a folder that has them.

    Files are hard links into `cache` if both are on one file system: don't write to them afterwards, and
    don't change their times or modes. Equal records give equal names, contents and modes of files, on every
    machine. `progress` and scripts of packages are as in `conda_link.link`.

    Raises:
        TargetError: a package was removed from its channel, has other content, or can't be fetched.
    """
    from rattler import exceptions

    packages = cache / "packages"
    try:
        private_folders.make(packages)
    except OSError as error:
        raise conda_errors.no_cache(packages, error) from error
    try:
        conda_link.link(
            records,
            prefix,
            final_prefix,
            platform.subdir,
            packages,
            client(network),
            progress or _no_progress,
            public,
            [record.name.normalized for record in below],
        )
    except conda_link.DamagedError as error:
        raise _damaged(records, *error.args) from None
    except (exceptions.InstallerError, exceptions.LinkError, exceptions.IoError) as error:
        raise conda_errors.not_installed(str(error), records, network) from None


def _damaged(records: Sequence[RepoDataRecord], address: str, found: str) -> TargetError:
    return conda_errors.mismatch(next(record for record in records if record.url == address), found)


def _no_progress(_done: int, _total: int) -> None:
    pass
