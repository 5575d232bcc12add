"""The conda packages of an environment, installed on another machine: by its engine, or in a folder over SSH.

What goes over is a Python with rattler in it, once, the packages that only this machine has, and a list.
"""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, Protocol
from amlexec.packages import conda_bootstrap, conda_remote
from amlexec.packages.network import cache_folder
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from rattler import RepoDataRecord

    from amlexec.environments.build_context import BuildContext

__all__ = ["CondaHost", "install"]


class CondaHost(Protocol):
    """Where the packages come to be. Every method raises TargetError where the machine can't do it."""

    @property
    def machine(self) -> str:
        """What messages call it."""

    @property
    def prefix(self) -> str:
        """The folder there that becomes the environment; there is none yet, or one with some packages."""

    @property
    def packages(self) -> str:
        """The folder there that keeps packages for the next environment."""

    @property
    def sent(self) -> str:
        """The folder there for packages that are sent. Whoever makes the host removes it."""

    def has_bootstrap(self) -> bool:
        """Whether it has the bootstrap Python of this version."""

    def send_bootstrap(self, archive: IO[bytes]) -> None:
        """Unpack the bootstrap Python: it is there whole, or not at all."""

    def send(self, archive: IO[bytes]) -> None:
        """Unpack a compressed archive, whose last member is `~whole`, in the folder `sent`."""

    def run_python(self, arguments: Sequence[str], given: bytes, told: Callable[[bytes], object]) -> str:
        """Run the bootstrap Python with `given` on its standard input; what else came from there.

        `told` is given its standard output, as it comes.
        """


def install(host: CondaHost, context: BuildContext, present: Sequence[RepoDataRecord] = ()) -> bool:
    """Install the packages; False, and nothing is done, where no channel has a Python that could do it.

    `present` are those that are in `host.prefix` already.

    Raises:
        TargetError: a package can't be had, or the machine can't do it.
    """
    if not _send_bootstrap(host, context):
        return False
    names = {record.file_name for record in present}
    missing = [record for record in context.resolution.records if record.file_name not in names]
    _send_packages(host, context, missing)
    records, progress = context.resolution.records, context.progress
    progress.step(f"installing {counted(missing)} on {host.machine}")
    platform, packages = context.request.spec.platform, host.packages
    text = conda_remote.request(
        records, host.prefix, platform, context.network, cache=packages, sent=host.sent
    )
    context.log.line(f"{len(_ask(host, context, records, text))} conda packages")
    return True


def _send_bootstrap(host: CondaHost, context: BuildContext) -> bool:
    """Have the bootstrap Python there; whether there is one."""
    if host.has_bootstrap():
        return True
    request = context.request
    archive = conda_bootstrap.archive(
        request.project, request.dependencies, request.spec.platform, context.network, cache_folder()
    )
    if archive is None:
        return False
    size = archive.stat().st_size
    context.progress.step(f"sending an installer to {host.machine}, once: {size / 1e6:.0f} MB")
    with archive.open("rb") as file:
        host.send_bootstrap(file)
    return True


def _send_packages(host: CondaHost, context: BuildContext, records: Sequence[RepoDataRecord]) -> None:
    """Send the packages that only this machine can fetch, and that are not kept there."""
    local = [record for record in records if conda_remote.is_only_here(record)]
    if not local:
        return
    missing = _ask(host, context, local, conda_remote.question(local, host.packages))
    sent = [record for record in local if record.file_name in missing]
    if not sent:
        return
    size = sum(record.size or 0 for record in sent)
    context.progress.step(f"sending {counted(sent)} that only this machine has: {size / 1e6:.1f} MB")
    with conda_remote.packed(sent, context.network) as archive:
        host.send(archive)


def _ask(host: CondaHost, context: BuildContext, records: Sequence[RepoDataRecord], text: bytes) -> list[str]:
    answer = conda_remote.InstallerAnswer(records, context.network, host.machine, context.progress.at)
    noise = host.run_python(conda_remote.arguments(), text, answer.feed)
    found: list[str] = answer.result(noise)
    return found
