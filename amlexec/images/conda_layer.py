"""The conda layer of an environment: one for all environments that only differ in their pip section.

For an engine on this machine the packages are installed here and copied in. An engine on another machine has
them fetched on its side: a container made of the base image runs the installer's Python, which lies in a
volume of the engine's, and keeps packages in another one. Neither ever gets into an image: what is mounted is
not committed.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING

from amlexec import digest as content
from amlexec.docker import images
from amlexec.errors import TargetError
from amlexec.images import labels
from amlexec.images.build_container import IDLE, BuildContainer
from amlexec.images.build_lock import sweep, turn
from amlexec.images.labels import PREFIX
from amlexec.packages import conda_bootstrap, conda_install, conda_remote, scratch, stable_tar
from amlexec.packages.network import cache_folder
from amlexec.packages.urls import public
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.images.base_image import Base
    from amlexec.packages.network import Network
    from amlexec.progress import Progress

__all__ = ["COMPILE", "VOLUME", "archived", "conda_layer", "is_elsewhere"]

VOLUME = "amlexec.volume"
"""The label of the volumes; its value is what is in them."""
# Below /dev, which is in no layer: a folder that something is mounted on would be left in the image.
_INSTALLER = "/dev/amlexec/installer"
_PACKAGES = "/dev/amlexec/packages"
_WHOLE = "whole"
_NORMALIZE = f"""
import os
# As in an archive that `layers.write` makes: the layer is the same wherever its packages were fetched.
def even(path, mode):
    if not os.path.islink(path):
        os.chmod(path, mode)
    os.utime(path, ({stable_tar.EPOCH}, {stable_tar.EPOCH}), follow_symlinks=False)
for at, folders, files in os.walk({PREFIX!r}, topdown=False):
    for name in files + folders:
        path = os.path.join(at, name)
        if not os.path.isdir(path) or os.path.islink(path):
            even(path, 0o755 if os.lstat(path).st_mode & 0o111 else 0o644)
    even(at, 0o755)
at = os.path.dirname({PREFIX!r})
while at != "/":
    even(at, 0o755)
    at = os.path.dirname(at)
"""


COMPILE = f"""
import compileall, os, py_compile, sys
# Otherwise every run would compile every module anew: its user may not write here. A hash instead of a
# time, and times set back, make the layer the same whenever it is made.
import glob
for folder in glob.glob({PREFIX + "/lib/python3*/site-packages"!r}):
    compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
for at, folders, files in os.walk({PREFIX!r}, topdown=False):
    for name in files:
        if name.endswith(".pyc"):
            os.utime(os.path.join(at, name), ({stable_tar.EPOCH}, {stable_tar.EPOCH}))
    os.utime(at, ({stable_tar.EPOCH}, {stable_tar.EPOCH}))
"""
"""Executed by the environment's Python at the end."""


def is_elsewhere(engine: Engine) -> bool:
    """Whether an engine is on another machine, which fetches packages itself."""
    return engine.address.startswith("ssh:")


def conda_layer(
    engine: Engine,
    request: BuildRequest,
    found: Base,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: BuildLog,
) -> str:
    """The image with the conda packages: one for all environments that only differ in their pip section."""
    what = content.of_bytes(
        content.canonical_json(
            [
                request.spec.recipe,
                found.image_id,
                # Without logins: a new password is no new package.
                [[public(one.url), (one.sha256 or b"").hex()] for one in records],
            ]
        )
    )
    if (known := images.find(engine, {labels.CONDA: what})) and not request.anew:
        log.line(f"the conda layer is there: {known[0]['Id']}")
        return str(known[0]["Id"])
    with turn(engine, what, "makes the same conda layer", progress):
        if (known := images.find(engine, {labels.CONDA: what})) and not request.anew:
            return str(known[0]["Id"])
        sweep(engine, what)
        if is_elsewhere(engine):
            made = _fetched_by_engine(engine, request, found, what, records, network, progress, log)
            if made is not None:
                return made
            progress.step(
                "no channel has a Python that could install there: the packages are installed here, and sent"
            )
        with archived(request, records, network, progress, log) as archive:
            progress.step(f"copying them onto {request.spec.base_image}")
            with BuildContainer(engine, found.image_id, what) as builder:
                builder.put(archive)
                builder.start(request.spec.base_image, str(request.base_place))
                code = builder.run([f"{PREFIX}/bin/python", "-I", "-c", COMPILE], log.write)
                if code != 0:
                    raise TargetError(f"Python's modules could not be compiled: exit code {code}")
                return builder.commit(
                    labels.reference(what, "conda"), labels.of_layer(what, request.project), {}
                )


@contextlib.contextmanager
def archived(
    request: BuildRequest,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: BuildLog,
) -> Iterator[IO[bytes]]:
    """The conda packages as a tar archive that is unpacked at the root; a file that is gone afterwards."""
    cache = cache_folder()
    with scratch.room(cache) as folder:
        progress.step(f"installing {counted(records)}")
        conda_install.install(
            records,
            folder / "env",
            PREFIX,
            request.spec.platform,
            network,
            cache=cache,
            progress=progress.at,
        )
        with tempfile.TemporaryFile(dir=folder) as archive:
            files = stable_tar.write(str(folder / "env"), PREFIX, archive)
            log.line(f"{files} files, {archive.tell()} bytes")
            archive.seek(0)
            yield archive


def _fetched_by_engine(
    engine: Engine,
    request: BuildRequest,
    found: Base,
    what: str,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: BuildLog,
) -> str | None:
    """Make the layer, `what` by its digest; its id.

    None where no channel has a Python for the installer. The turn is the caller's.

    Raises:
        TargetError: a package can't be had, or the base image can't run the installer.
    """
    name = conda_bootstrap.name_of(request.spec.platform)
    mounts = [
        _volume(f"amlexec-{name}", "installer", _INSTALLER),
        _volume("amlexec-packages", "packages", _PACKAGES),
    ]
    with BuildContainer(engine, found.image_id, what, mounts=mounts) as carrier:
        if not _send_installer(carrier, request, network, progress):
            return None
        python = f"{_INSTALLER}/{name}/bin/python"
        with BuildContainer(engine, found.image_id, what, mounts=mounts, python=python) as builder:
            builder.start(request.spec.base_image, str(request.base_place))
            _install(builder, carrier, python, request, what, records, network, progress, log)
            progress.step("compiling Python's modules there")
            # What a Python imports it compiles: here also what it would import to keep a container running.
            for options in (
                ["-I", "-B", "-c", _NORMALIZE],
                ["-I", "-S", "-c", IDLE],
                ["-I", "-c", COMPILE],
            ):
                if (code := builder.run([f"{PREFIX}/bin/python", *options], log.write)) != 0:
                    raise TargetError(f"Python's modules could not be compiled: exit code {code}")
            return builder.commit(labels.reference(what, "conda"), labels.of_layer(what, request.project), {})


def _volume(name: str, what: str, target: str) -> dict[str, object]:
    return {
        "Type": "volume",
        "Source": name,
        "Target": target,
        "VolumeOptions": {"NoCopy": True, "Labels": {VOLUME: what}},
    }


def _send_installer(
    carrier: BuildContainer, request: BuildRequest, network: Network, progress: Progress
) -> bool:
    """Have the installer in its volume; whether there is one."""
    if carrier.has(f"{_INSTALLER}/{_WHOLE}"):
        return True
    archive = conda_bootstrap.archive(
        request.project, request.dependencies, request.spec.platform, network, cache_folder()
    )
    if archive is None:
        return False
    size = archive.stat().st_size
    progress.step(f"sending an installer to {carrier.where}, once: {size / 1e6:.0f} MB")
    with archive.open("rb") as file:
        carrier.put(file, _INSTALLER)
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as written:
        written.addfile(tarfile.TarInfo(_WHOLE))
    carrier.put(held.getvalue(), _INSTALLER)  # last: an installer that was cut off is sent again
    return True


def _install(
    builder: BuildContainer,
    carrier: BuildContainer,
    python: str,
    request: BuildRequest,
    what: str,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: BuildLog,
) -> None:
    sent = f"{_PACKAGES}/sent-{what[:20]}"

    def ask(asked: Sequence[RepoDataRecord], text: bytes) -> list[str]:
        answer = conda_remote.InstallerAnswer(asked, network, builder.where, progress.at)
        builder.run([python, *conda_remote.arguments()], answer.feed, given=text)
        told: list[str] = answer.result()
        return told

    def shell(script: str) -> None:
        said = bytearray()
        if builder.run([python, "-I", "-B", "-c", script, sent], said.extend) != 0:
            raise TargetError(
                f"the volume of packages can't be used: {said.decode(errors='replace').strip()}",
                where=builder.where,
            )

    here = [one for one in records if conda_remote.is_only_here(one)]
    lacking = ask(here, conda_remote.question(here, _PACKAGES)) if here else []
    lacked = [one for one in here if one.file_name in lacking]
    if lacked:
        size = sum(one.size or 0 for one in lacked)
        progress.step(f"sending {counted(lacked)} that only this machine has: {size / 1e6:.1f} MB")
        shell("import os, sys; os.makedirs(sys.argv[1], exist_ok=True)")
        with conda_remote.packed(lacked, network) as archive:
            carrier.put(archive, sent)
    progress.step(f"installing {counted(records)} on {builder.where}")
    try:
        done = ask(
            records,
            conda_remote.request(records, PREFIX, request.spec.platform, network, cache=_PACKAGES, sent=sent),
        )
    finally:
        if lacked:
            shell("import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)")
    log.line(f"{len(done)} conda packages")
