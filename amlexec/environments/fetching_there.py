"""The conda layer of an environment, made of packages that are fetched on the engine's side.

A container made of the base image runs the installer's Python, which lies in a volume of the engine's, and
keeps packages in another one. Neither ever gets into an image: what is mounted is not committed.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from amlexec.environments import image
from amlexec.environments.image import PREFIX
from amlexec.environments.worker import IDLE, Worker
from amlexec.errors import TargetError
from amlexec.packages import conda_bootstrap, conda_remote, stable_tar
from amlexec.packages.network import cache_folder
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rattler import RepoDataRecord

    from amlexec.docker.client import Engine
    from amlexec.environments.base import Base
    from amlexec.environments.log import Log
    from amlexec.environments.order import Order
    from amlexec.packages.network import Network
    from amlexec.progress import Progress

__all__ = ["VOLUME", "conda_layer", "is_elsewhere"]

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


def is_elsewhere(engine: Engine) -> bool:
    """Whether an engine is on another machine, which fetches packages itself."""
    return engine.address.startswith("ssh:")


def conda_layer(
    engine: Engine,
    order: Order,
    found: Base,
    what: str,
    records: Sequence[RepoDataRecord],
    network: Network,
    compiling: str,
    progress: Progress,
    log: Log,
) -> str | None:
    """Make the layer, `what` by its digest; its id. `compiling` is what Python executes at the end.

    None where no channel has a Python for the installer. The turn is the caller's.

    Raises:
        TargetError: a package can't be had, or the base image can't run the installer.
    """
    name = conda_bootstrap.name_of(order.spec.platform)
    mounts = [
        _volume(f"amlexec-{name}", "installer", _INSTALLER),
        _volume("amlexec-packages", "packages", _PACKAGES),
    ]
    with Worker(engine, found.image_id, what, mounts=mounts) as carrier:
        if not _send_installer(carrier, order, network, progress):
            return None
        python = f"{_INSTALLER}/{name}/bin/python"
        with Worker(engine, found.image_id, what, mounts=mounts, python=python) as worker:
            worker.start(order.spec.base_image, str(order.base_place))
            _install(worker, carrier, python, order, what, records, network, progress, log)
            progress.step("compiling Python's modules there")
            # What a Python imports it compiles: here also what it would import to keep a container running.
            for options in (
                ["-I", "-B", "-c", _NORMALIZE],
                ["-I", "-S", "-c", IDLE],
                ["-I", "-c", compiling],
            ):
                if (code := worker.run([f"{PREFIX}/bin/python", *options], log.write)) != 0:
                    raise TargetError(f"Python's modules could not be compiled: exit code {code}")
            labels = image.of_layer(what, order.project)
            return worker.commit(image.reference(what, "conda"), labels, {})


def _volume(name: str, what: str, target: str) -> dict[str, object]:
    return {
        "Type": "volume",
        "Source": name,
        "Target": target,
        "VolumeOptions": {"NoCopy": True, "Labels": {VOLUME: what}},
    }


def _send_installer(carrier: Worker, order: Order, network: Network, progress: Progress) -> bool:
    """Have the installer in its volume; whether there is one."""
    if carrier.has(f"{_INSTALLER}/{_WHOLE}"):
        return True
    archive = conda_bootstrap.archive(order, network, cache_folder())
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
    worker: Worker,
    carrier: Worker,
    python: str,
    order: Order,
    what: str,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: Log,
) -> None:
    sent = f"{_PACKAGES}/sent-{what[:20]}"

    def ask(asked: Sequence[RepoDataRecord], text: bytes) -> list[str]:
        answer = conda_remote.Answer(asked, network, worker.where, progress.at)
        worker.run([python, *conda_remote.arguments()], answer.feed, given=text)
        told: list[str] = answer.result()
        return told

    def shell(script: str) -> None:
        said = bytearray()
        if worker.run([python, "-I", "-B", "-c", script, sent], said.extend) != 0:
            raise TargetError(
                f"the volume of packages can't be used: {said.decode(errors='replace').strip()}",
                where=worker.where,
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
    progress.step(f"installing {counted(records)} on {worker.where}")
    try:
        done = ask(
            records,
            conda_remote.order(records, PREFIX, order.spec.platform, network, cache=_PACKAGES, sent=sent),
        )
    finally:
        if lacked:
            shell("import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)")
    log.line(f"{len(done)} conda packages")
