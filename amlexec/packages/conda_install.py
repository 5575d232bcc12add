"""Conda packages, installed on this machine."""

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
) -> None:
    """Install packages into the new folder `prefix`, to be used at `final_prefix`.

    Files are hard links into `cache` where both are on one file system, so nobody may write to them or
    change their times and modes afterwards. Equal records give equal names, contents and modes of files,
    on every machine. `progress` and scripts of packages as of `linking.link`.

    Raises:
        TargetError: a package is gone from its channel, is not what was solved for, or can't be fetched.
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
            progress or _tell_nobody,
            public,
        )
    except conda_link.DamagedError as error:
        raise _damaged(records, *error.args) from None
    except (exceptions.InstallerError, exceptions.LinkError, exceptions.IoError) as error:
        raise conda_errors.not_installed(str(error), records, network) from None


def _damaged(records: Sequence[RepoDataRecord], address: str, found: str) -> TargetError:
    return conda_errors.mismatch(next(one for one in records if one.url == address), found)


def _tell_nobody(_done: int, _total: int) -> None:
    pass
