"""Build an environment on a machine over SSH, in its own folder: conda packages, pip section, marker."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import tempfile
from typing import TYPE_CHECKING, cast

from amlexec.environments import conda_host, pip_files, resolved_lock
from amlexec.environments.build_context import BuildContext
from amlexec.environments.request import BuildResult
from amlexec.environments.resolve import resolved
from amlexec.errors import TargetError
from amlexec.owner import owner_of
from amlexec.packages import conda_bootstrap, conda_install, platforms, scratch, stable_tar
from amlexec.packages.network import cache_folder, settings
from amlexec.prefixes import pip_install
from amlexec.prefixes.remote_prefix import LOCK_FILE, RemotePrefix
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.platforms import Platform
    from amlexec.progress import Progress
    from amlexec.ssh.connection import SSHConnection

__all__ = ["make"]

_DROP_TIMEOUT_S = 20.0


def make(connection: SSHConnection, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
    """Build the environment of a request, atomically: the last step makes it valid.

    Raises:
        ConfigurationError: the dependencies are unsolvable.
        TargetError: the machine is unsuitable, a download failed, or the connection was lost.
    """
    remote = RemotePrefix(connection, request.digest)
    bootstrap = conda_bootstrap.name_of(request.spec.platform)
    try:
        progress.step(f"checking {remote.machine}")
        facts = remote.begin(bootstrap)
        _must_fit(facts, request.spec.platform, remote)
        network = settings()
        resolution = resolved(request, network, progress)
        context = BuildContext(request, resolution, network, progress, log)
        has_pip_section = pip_files.is_wanted(request)
        if has_pip_section:
            pip_files.must_be_reachable(context, remote.machine)
        host = _PrefixHost(remote, bootstrap, has_bootstrap="installer" in facts)
        if not conda_host.install(host, context):
            _send_all(remote, context)
        if has_pip_section:
            progress.step(f"installing the pip section on {remote.machine}")
            installed, pins = pip_install.install(remote, context)
        else:
            installed, pins = [], ()
            pip_install.finish(remote)
        lock = resolved_lock.text_of(context, pins)
        if lock:
            _send_lock(remote, lock)
        built = BuildResult(remote.prefix, "", resolution.python, resolution.conda, tuple(installed), lock)
        _finish(remote, request, built)
    except BaseException:
        # Leftovers are harmless; the next build of this environment removes them.
        with contextlib.suppress(TargetError):
            remote.run("drop", timeout=_DROP_TIMEOUT_S)
        raise
    return built


def _must_fit(facts: dict[str, str], platform: Platform, remote: RemotePrefix) -> None:
    """Raise TargetError if environments for that platform can't run on the machine."""
    reason, hint = platforms.misfit(facts, platform)
    if reason:
        raise TargetError(reason, where=remote.machine, hint=hint)


class _PrefixHost:
    """A `CondaHost`: the machine over SSH, with the folder of an environment that is being built."""

    def __init__(self, remote: RemotePrefix, bootstrap: str, *, has_bootstrap: bool) -> None:
        """`bootstrap` is the name of the bootstrap Python on the machine."""
        self._remote, self._bootstrap, self._has_bootstrap = remote, bootstrap, has_bootstrap
        self.machine, self.prefix = remote.machine, remote.prefix
        self.packages = f"{remote.base}/packages"
        self.sent = f"{remote.incoming}/sent"

    def has_bootstrap(self) -> bool:
        """See `CondaHost.has_bootstrap`; known from `begin`."""
        return self._has_bootstrap

    def send_bootstrap(self, archive: IO[bytes]) -> None:
        """See `CondaHost.send_bootstrap`."""
        self._remote.send("take", self._bootstrap, archive, "the installer")

    def send(self, archive: IO[bytes]) -> None:
        """See `CondaHost.send`."""
        self._remote.send("put", self.sent, archive, "a package")

    def run_python(self, arguments: Sequence[str], given: bytes, told: Callable[[bytes], object]) -> str:
        """See `CondaHost.run_python`."""
        return self._remote.python(self._bootstrap, *arguments, given=given, told=told)


def _send_all(remote: RemotePrefix, context: BuildContext) -> None:
    """Install on this machine and send the result: no channel has a bootstrap Python for the remote one."""
    records, cache = context.resolution.records, cache_folder()
    context.progress.step(
        f"no channel has a bootstrap Python for {remote.machine}: "
        f"installing {counted(records)} here, then sending them"
    )
    with scratch.room(cache) as room:
        conda_install.install(
            records,
            room / "env",
            remote.prefix,
            context.request.spec.platform,
            context.network,
            cache=cache,
            progress=context.progress.at,
        )
        (room / "env" / "~whole").touch()  # the last one by name
        with tempfile.TemporaryFile(dir=room) as archive:
            with gzip.GzipFile(fileobj=archive, mode="wb", compresslevel=1) as packed:
                stable_tar.write(str(room / "env"), ".", cast("IO[bytes]", packed))
            archive.seek(0)
            remote.send("put", remote.prefix, archive, "the environment")


def _send_lock(remote: RemotePrefix, lock: str) -> None:
    """Put the resolved lock into the environment."""
    data, written = lock.encode(), io.BytesIO()
    with (
        gzip.GzipFile(fileobj=written, mode="wb") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        entry = tarfile.TarInfo(LOCK_FILE)
        entry.size, entry.mode = len(data), 0o600
        archive.addfile(entry, io.BytesIO(data))
        archive.addfile(tarfile.TarInfo("~whole"))
    written.seek(0)
    remote.send("put", remote.prefix, written, "the resolved lock")


def _finish(remote: RemotePrefix, request: BuildRequest, built: BuildResult) -> None:
    """Write the marker, which makes the environment valid."""
    marker = {
        "digest": request.digest,
        "python": built.python,
        "platform": request.spec.platform.subdir,
        "project": request.project.name,
        "owner": owner_of(request.project),
        "lock": resolved_lock.name_of(built.lock),
        "packages": {
            "conda": [list(package) for package in built.conda],
            "pip": [list(package) for package in built.pip],
        },
    }
    text = (json.dumps(marker) + "\n").encode()
    remote.run("finish", str(len(text)), input=text)
