"""The conda layers of an environment: the top one is shared by all that only differ in their pip section.

Those below are shared by all with the same Python (`conda_stack`). Each is an image, whose label is the
digest of all the conda packages in it.

For an engine on this machine, the packages are installed here and copied in. An engine on another machine
downloads them itself: a container of the base image runs the bootstrap Python from one volume, and caches
packages in another. Neither gets into an image: a commit leaves out what is mounted.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec import digest as content
from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import CONDA, VOLUME
from amlexec.environments import conda_host
from amlexec.errors import TargetError
from amlexec.images import compile_modules, conda_stack
from amlexec.images.build_container import IDLE, BuildContainer, NotRunningError
from amlexec.images.build_lock import locked, sweep
from amlexec.images.labels import PREFIX, of_layer, reference
from amlexec.packages import conda_bootstrap, conda_cache, conda_install, scratch, stable_tar
from amlexec.packages.network import cache_folder
from amlexec.packages.urls import public
from amlexec.progress import counted
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.docker.client import Engine
    from amlexec.environments.build_context import BuildContext
    from amlexec.images.base_image import Base

    Stack = tuple[tuple[RepoDataRecord, ...], ...]
    """The packages of each layer with those below it, from the bottom."""

__all__ = ["archived", "conda_layer", "is_elsewhere"]

# Below /dev, which no layer contains: elsewhere, the mount point would stay in the image as a folder.
_INSTALLER = "/dev/amlexec/installer"
_PACKAGES = "/dev/amlexec/packages"
_WHOLE = "whole"
_OF_EVERY_PREFIX = ("CACHEDIR.TAG", "conda-meta/history")
"""Files that rattler writes into each prefix. The lowest layer has them."""
_NORMALIZE = f"""
import os
# As in an archive of `stable_tar.write`: the layer is the same wherever its packages were downloaded.
# What is even already is left alone: a change would copy a file of the layer below into this one.
def even(path, mode):
    status = os.lstat(path)
    if not os.path.islink(path) and status.st_mode & 0o7777 != mode:
        os.chmod(path, mode)
    if status.st_mtime_ns != {stable_tar.EPOCH} * 10**9:
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
    """Whether an engine is on another machine, which then downloads packages itself."""
    return engine.address.startswith("ssh:")


def conda_layer(engine: Engine, base: Base, context: BuildContext) -> str:
    """The id of the image with the conda packages; it is built if the engine lacks it."""
    return _layer(engine, base, context, conda_stack.stacked(context.resolution.records))


def _layer(engine: Engine, base: Base, context: BuildContext, stack: Stack) -> str:
    """The image with the packages of the last part of the stack."""
    request = context.request
    context = context._replace(resolution=context.resolution._replace(records=stack[-1]))
    what = content.of_bytes(
        content.canonical_json(
            [
                request.spec.recipe,
                base.image_id,
                # Without logins: a new password must not rebuild the layer.
                [[public(record.url), (record.sha256 or b"").hex()] for record in stack[-1]],
            ]
        )
    )
    if found := _found(engine, what, context):
        return found
    with locked(engine, what, "has been building the same conda layer", context.progress):
        if found := _found(engine, what, context):
            return found
        sweep(engine, what)
        if stack[1:]:
            try:
                return _on_top(engine, base, what, context, stack)
            except _ApartError as error:
                context.log.line(f"one layer for all packages: {error}")
        return _built(engine, base.image_id, what, context, ())


def _found(engine: Engine, what: str, context: BuildContext) -> str:
    """The image of a layer; "" if the engine has none, or must not use it."""
    found = images.find(engine, {CONDA: what})
    if not found or context.request.from_scratch:
        return ""
    context.log.line(f"the engine has the conda layer: {found[0]['Id']}")
    return str(found[0]["Id"])


class _ApartError(Exception):
    """Packages can't be in two layers: both have a file, or Python does not start without those above."""


def _on_top(engine: Engine, base: Base, what: str, context: BuildContext, stack: Stack) -> str:
    """Build the last layer of a stack on those below it, which are built if the engine lacks them.

    Raises:
        _ApartError: they can't be apart.
    """
    for is_last in (False, True):
        try:
            below = _layer(engine, base, context, stack[:-1])
        except NotRunningError as error:
            # A missing library may be in a layer above; a program that the kernel refuses stays refused.
            if error.is_refused:
                raise
            raise _ApartError(error.message) from error
        try:
            return _built(engine, below, what, context, stack[-2])
        except NotRunningError as error:
            raise _ApartError(error.message) from error
        except EngineAnswerError as error:
            # Somebody has removed it meanwhile.
            if is_last or error.status != 404 or images.inspect(engine, below) is not None:
                raise
    raise AssertionError


def _built(
    engine: Engine, image: str, what: str, context: BuildContext, below: Sequence[RepoDataRecord]
) -> str:
    """Build a layer on an image that has the packages `below`."""
    request, progress = context.request, context.progress
    if is_elsewhere(engine):
        layer = _fetched_by_engine(engine, image, what, context, below)
        if layer is not None:
            return layer
        progress.step("no channel has a bootstrap Python for the engine: installing here, then sending")
    # First: an image with a container is not removed.
    with (
        BuildContainer(engine, image, what, is_offline=True) as builder,
        archived(context, below) as archive,
    ):
        progress.step(f"copying the packages onto {request.spec.base_image}")
        builder.put(archive)
        builder.start(request.spec.base_image, str(request.base_place))
        _compile(builder, context, below)
        return _commit(builder, what, context)


@contextlib.contextmanager
def archived(context: BuildContext, below: Sequence[RepoDataRecord] = ()) -> Iterator[IO[bytes]]:
    """The conda packages as a tar archive to unpack at the root, without those `below`; a temporary file."""
    cache, records = cache_folder(), context.resolution.records
    with scratch.room(cache) as folder:
        context.progress.step(f"installing {counted(_added(context, below))}")
        conda_install.install(
            records,
            folder / "env",
            PREFIX,
            context.request.spec.platform,
            context.network,
            cache=cache,
            progress=context.progress.at,
            below=below,
        )
        if below:
            for name in _OF_EVERY_PREFIX:
                (folder / "env" / name).unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=folder) as archive:
            files = stable_tar.write(str(folder / "env"), PREFIX, archive)
            context.log.line(f"{files} files, {archive.tell()} bytes")
            archive.seek(0)
            yield archive


def _fetched_by_engine(
    engine: Engine, image: str, what: str, context: BuildContext, below: Sequence[RepoDataRecord]
) -> str | None:
    """Build the layer with digest `what` on the engine's machine, on an image with packages `below`; its id.

    None if no channel has a bootstrap Python for it. The caller holds the lock.

    Raises:
        TargetError: a package is not available, or the base image can't run the bootstrap Python.
    """
    name = conda_bootstrap.name_of(context.request.spec.platform)
    mounts = [
        _volume(f"amlexec-{name}", "installer", _INSTALLER),
        _volume("amlexec-packages", "packages", _PACKAGES),
    ]
    python = f"{_INSTALLER}/{name}/bin/python"
    with (
        BuildContainer(engine, image, what, mounts=mounts) as carrier,
        BuildContainer(engine, image, what, mounts=mounts, python=python) as builder,
    ):
        host = _EngineHost(carrier, builder, python, f"{_PACKAGES}/sent-{what[:20]}", context)
        try:
            if not conda_host.install(host, context, below):
                return None
        finally:
            host.remove_sent()
        context.progress.step("compiling Python's modules on the engine")
        # Python compiles what it imports, so import here what the other way of building imports: same layer.
        for options in (["-I", "-B", "-c", _NORMALIZE], ["-I", "-S", "-c", IDLE]):
            _must_be_done(_run(builder, options, context))
        _compile(builder, context, below)
        return _commit(builder, what, context)


def _compile(builder: BuildContainer, context: BuildContext, below: Sequence[RepoDataRecord]) -> None:
    """Compile the modules of a layer by its own Python: the last step.

    Raises:
        _ApartError: a package of this layer and one of `below` have the same file.
    """
    text = Path(compile_modules.__file__).read_text("utf-8")
    names = [conda_cache.stem(record.file_name) for record in _added(context, below)] if below else []
    code = _run(builder, ["-I", "-c", text, PREFIX, str(stable_tar.EPOCH), *names], context)
    if code == compile_modules.SHARED and below:
        raise _ApartError("a file is in several of its packages")
    _must_be_done(code)


def _added(context: BuildContext, below: Sequence[RepoDataRecord]) -> list[RepoDataRecord]:
    """The packages of a layer, without those `below`."""
    names = {record.name for record in below}
    return [record for record in context.resolution.records if record.name not in names]


def _run(builder: BuildContainer, options: Sequence[str], context: BuildContext) -> int:
    """Run the new environment's Python; its exit code."""
    return builder.run([f"{PREFIX}/bin/python", *options], context.log.write)


def _must_be_done(code: int) -> None:
    if code != 0:
        # One that lacks a library may be killed with its container, which ends a moment after its start.
        raise NotRunningError(f"Python's modules could not be compiled: exit code {code}")


def _commit(builder: BuildContainer, what: str, context: BuildContext) -> str:
    project = context.request.project
    return builder.commit(reference(what, "conda"), of_layer(what, project), {})


def _volume(name: str, what: str, target: str) -> dict[str, object]:
    return {
        "Type": "volume",
        "Source": name,
        "Target": target,
        "VolumeOptions": {"NoCopy": True, "Labels": {VOLUME: what}},
    }


class _EngineHost:
    """A `CondaHost`: two containers with the same volumes, one to receive files and one that runs."""

    prefix = PREFIX
    packages = _PACKAGES

    def __init__(
        self,
        carrier: BuildContainer,
        builder: BuildContainer,
        python: str,
        sent: str,
        context: BuildContext,
    ) -> None:
        """The bootstrap Python keeps `builder` running, so `builder` starts after it was sent."""
        self._carrier, self._builder, self._python = carrier, builder, python
        self._request = context.request
        self._is_running = self._has_sent = False
        self.machine = builder.where
        self.sent = sent

    def has_bootstrap(self) -> bool:
        """See `CondaHost.has_bootstrap`."""
        return self._carrier.has(f"{_INSTALLER}/{_WHOLE}")

    def send_bootstrap(self, archive: IO[bytes]) -> None:
        """See `CondaHost.send_bootstrap`."""
        self._carrier.put(archive, _INSTALLER)
        mark = io.BytesIO()
        with Tar.open(fileobj=mark, mode="w") as written:
            written.addfile(tarfile.TarInfo(_WHOLE))
        # Last, so that a Python that was sent only in part is sent again.
        self._carrier.put(mark.getvalue(), _INSTALLER)

    def send(self, archive: IO[bytes]) -> None:
        """See `CondaHost.send`."""
        self._has_sent = True
        self._run("import os, sys; os.makedirs(sys.argv[1], exist_ok=True)")
        self._carrier.put(archive, self.sent)

    def remove_sent(self) -> None:
        """Remove the folder `sent`, if it exists."""
        if self._has_sent:
            self._run("import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)")

    def run_python(self, arguments: Sequence[str], given: bytes, told: Callable[[bytes], object]) -> str:
        """See `CondaHost.run_python`: standard error goes to `told` too, so it returns ""."""
        self._start()
        self._builder.run([self._python, *arguments], told, given=given)
        return ""

    def _run(self, program: str) -> None:
        self._start()
        output = bytearray()
        if self._builder.run([self._python, "-I", "-B", "-c", program, self.sent], output.extend) != 0:
            raise TargetError(
                f"the volume of packages can't be used: {output.decode(errors='replace').strip()}",
                where=self.machine,
            )

    def _start(self) -> None:
        if not self._is_running:
            self._builder.start(self._request.spec.base_image, str(self._request.base_place))
            self._is_running = True
