"""Making an environment on a machine over SSH, in its own folder: conda packages, pip section, marker."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
from typing import TYPE_CHECKING, cast

from amlexec.environments import pip_files
from amlexec.environments.request import BuildResult
from amlexec.environments.resolve import resolved
from amlexec.errors import TargetError
from amlexec.owner import owner_of
from amlexec.packages import conda_bootstrap, conda_install, conda_remote, platforms, scratch, stable_tar
from amlexec.packages.network import cache_folder, settings
from amlexec.packages.urls import public
from amlexec.prefixes import pip_install
from amlexec.prefixes.remote_prefix import RemotePrefix
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from rattler import RepoDataRecord

    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform
    from amlexec.progress import Progress
    from amlexec.ssh.connection import SSHConnection

__all__ = ["make"]


def make(connection: SSHConnection, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
    """Make the environment of an order; it is there with the last step, or never.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: the machine can't have it, something could not be fetched, or contact was lost.
    """
    there = RemotePrefix(connection, request.digest)
    name = conda_bootstrap.name_of(request.spec.platform)
    try:
        progress.step(f"looking at {there.machine}")
        known = there.begin(name)
        _must_fit(known, request.spec.platform, there)
        network = settings()
        resolution = resolved(request, network, progress)
        if pip_files.is_wanted(request):
            pip_files.must_be_reachable(request, resolution, network, there.machine)
        _Conda(there, request, network, progress, log).install(resolution.records, has="installer" in known)
        installed: list[tuple[str, str]] = []
        if pip_files.is_wanted(request):
            progress.step(f"installing the pip section on {there.machine}")
            installed = pip_install.install(there, request, resolution, network, log)
        else:
            pip_install.listed(there)
        packages = tuple(
            (one.name.source, str(one.version), str(one.build), public(one.url)) for one in resolution.records
        )
        built = BuildResult(there.prefix, "", resolution.python, packages, tuple(installed))
        _finish(there, request, built)
    except BaseException:
        # What can't be removed now is in nobody's way, and is removed by whoever makes it next.
        with contextlib.suppress(TargetError):
            there.run("drop", timeout=20.0)
        raise
    return built


def _must_fit(known: dict[str, str], platform: Platform, there: RemotePrefix) -> None:
    """Raises TargetError where no environment for that platform would run on the machine."""
    why, cure = platforms.misfit(known, platform)
    if why:
        raise TargetError(why, where=there.machine, hint=cure)


class _Conda:
    """The conda packages of an environment."""

    def __init__(
        self, there: RemotePrefix, request: BuildRequest, network: Network, progress: Progress, log: BuildLog
    ) -> None:
        self._there, self._request, self._network = there, request, network
        self._progress, self._log = progress, log
        self._name = conda_bootstrap.name_of(request.spec.platform)
        self._cache = cache_folder()

    def install(self, records: Sequence[RepoDataRecord], *, has: bool) -> None:
        """Install them; `has` says whether the machine has the installer."""
        if not has:
            archive = conda_bootstrap.archive(
                self._request.project,
                self._request.dependencies,
                self._request.spec.platform,
                self._network,
                self._cache,
            )
            if archive is None:
                self._send_all(records)
                return
            size = archive.stat().st_size
            self._progress.step(f"sending an installer to {self._there.machine}, once: {size / 1e6:.0f} MB")
            with archive.open("rb") as file:
                self._there.send("take", self._name, file, "the installer")
        packages = f"{self._there.base}/packages"
        self._send_what_is_only_here(records, packages)
        self._progress.step(f"installing {counted(records)} on {self._there.machine}")
        text = conda_remote.request(
            records,
            self._there.prefix,
            self._request.spec.platform,
            self._network,
            cache=packages,
            sent=f"{self._there.incoming}/sent",
        )
        done = self._ask(records, text)
        self._log.line(f"{len(done)} conda packages")

    def _send_what_is_only_here(self, records: Sequence[RepoDataRecord], packages: str) -> None:
        here = [one for one in records if conda_remote.is_only_here(one)]
        lacking = self._ask(here, conda_remote.question(here, packages)) if here else []
        sent = [one for one in here if one.file_name in lacking]
        if not sent:
            return
        size = sum(one.size or 0 for one in sent)
        self._progress.step(f"sending {counted(sent)} that only this machine has: {size / 1e6:.1f} MB")
        with conda_remote.packed(sent, self._network) as archive:
            self._there.send("put", f"{self._there.incoming}/sent", archive, "a package")

    def _ask(self, records: Sequence[RepoDataRecord], text: bytes) -> list[str]:
        answer = conda_remote.InstallerAnswer(records, self._network, self._there.machine, self._progress.at)
        arguments = conda_remote.arguments()
        noise = self._there.python(self._name, *arguments, given=text, told=answer.feed)
        found: list[str] = answer.result(noise)
        return found

    def _send_all(self, records: Sequence[RepoDataRecord]) -> None:
        """Where no channel has a Python for the installer: install here, for there, and send all of it."""
        self._progress.step(
            f"no channel has a Python that could install on {self._there.machine}: "
            f"installing {counted(records)} here, and sending all of them"
        )
        prefix = self._there.prefix
        with scratch.room(self._cache) as room:
            conda_install.install(
                records,
                room / "env",
                prefix,
                self._request.spec.platform,
                self._network,
                cache=self._cache,
                progress=self._progress.at,
            )
            (room / "env" / "~whole").touch()  # the last one by name
            with tempfile.TemporaryFile(dir=room) as archive:
                with gzip.GzipFile(fileobj=archive, mode="wb", compresslevel=1) as packed:
                    stable_tar.write(str(room / "env"), ".", cast("IO[bytes]", packed))
                archive.seek(0)
                self._there.send("put", prefix, archive, "the environment")


def _finish(there: RemotePrefix, request: BuildRequest, built: BuildResult) -> None:
    """Write the marker: from then on, the environment is there."""
    told = {
        "digest": request.digest,
        "python": built.python,
        "platform": request.spec.platform.subdir,
        "project": request.project.name,
        "owner": owner_of(request.project),
        "packages": {
            "conda": [list(one) for one in built.conda],
            "pip": [list(one) for one in built.pip],
        },
    }
    text = (json.dumps(told) + "\n").encode()
    there.run("finish", str(len(text)), input=text)
