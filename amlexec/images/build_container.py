"""A container in which a layer of an environment is built, and then committed as an image."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import threading
from typing import IO, TYPE_CHECKING

from amlexec.docker import archives, containers, images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import BUILDING, MAKER
from amlexec.errors import TargetError
from amlexec.images.build_lock import me
from amlexec.images.labels import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from amlexec.docker.client import Engine

__all__ = ["IDLE", "BuildContainer", "NotRunningError"]

IDLE = "import signal, sys"
"""The imports of the program that keeps a container running."""
_SLEEP = f"{IDLE}\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsignal.pause()"

_HEADERS = 1 << 16
"""Bytes of a tar archive beside the content of its file."""
_NOT_EXECUTED = (126, 127)
"""Exit codes of a program that the kernel can't execute."""
_OF_PROGRAM = re.compile(
    r"no such file|exec format error|not found|\bexec\b.*permission denied", re.IGNORECASE
)
"""What engines say if the kernel can't execute a container's program, and not if they fail otherwise."""


class NotRunningError(TargetError):
    """The Python of an environment does not start in a container, has ended, or failed."""

    is_refused = False
    """Whether it can't be executed at all."""


class BuildContainer:
    """A container from `image` to build `what` (a digest); removed at the end of the `with` block.

    With `as_machine` it uses the network of the engine's machine, including its loopback; if `is_offline`, it
    has no network, which saves the engine a third of the work for a container.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        what: str,
        *,
        as_machine: bool = False,
        is_offline: bool = False,
        mounts: Sequence[Mapping[str, object]] = (),
        python: str = f"{PREFIX}/bin/python",
    ) -> None:
        """`mounts` are in the engine's format; `python` runs the program that keeps it running."""
        self._engine = engine
        self.where = engine.address
        """The engine's name in messages."""
        self._base = self._where = ""
        settings = {
            "Image": image,
            # "" means none: the base image's must not run here, and none may stay in the new image.
            "Entrypoint": [""],
            "Cmd": [python, "-I", "-S", "-c", _SLEEP],
            "User": "0:0",
            "WorkingDir": "/",
            "Labels": {BUILDING: what, MAKER: me()},
            "Healthcheck": {"Test": ["NONE"]},
            "NetworkDisabled": is_offline,
            "HostConfig": {
                "Mounts": [dict(mount) for mount in mounts],
                **({"NetworkMode": "none"} if is_offline else {}),
                # With user namespaces on, an engine allows its network only to a user of its machine.
                **({"NetworkMode": "host", "UsernsMode": "host"} if as_machine else {}),
            },
        }
        self._container = containers.create(engine, settings)
        self._is_removed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_removed:
            containers.remove(self._engine, self._container, force=True)

    @contextlib.contextmanager
    def removed_aside(self) -> Iterator[None]:
        """Remove it while the block, which does not need it, waits for something else."""
        thread = threading.Thread(target=self._remove, daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _remove(self) -> None:
        # If it fails, it fails again at the end of the `with` block, and that error is shown.
        with contextlib.suppress(TargetError):
            containers.remove(self._engine, self._container, force=True)
            self._is_removed = True

    def put(self, archive: bytes | IO[bytes], folder: str = "/") -> None:
        """Unpack a tar archive, at the root by default."""
        archives.put(self._engine, self._container, folder, archive)

    def has(self, path: str) -> bool:
        """Whether this file exists."""
        try:
            archives.get(self._engine, self._container, path).close()
        except EngineAnswerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def read(self, path: str, largest: int) -> bytes:
        """The content of a file of at most `largest` bytes; b"" if it is another kind of entry, or larger.

        Raises:
            EngineAnswerError: there is no such file.
        """
        with archives.get(self._engine, self._container, path) as answer:
            data = answer.read(largest + _HEADERS)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            entry = archive.next()
            if entry is None or not entry.isfile() or entry.size > largest:
                return b""
            file = archive.extractfile(entry)
            return file.read() if file is not None else b""

    def start(self, base: str = "", where: str = "") -> None:
        """Start the environment's own Python, which fails early if it can't run on the base image.

        For the error, `base` is the base image's reference, and `where` the place that names it.

        Raises:
            NotRunningError: the Python does not start.
        """
        self._base, self._where = base, where
        why = ""
        try:
            containers.start(self._engine, self._container)
        except EngineAnswerError as error:
            why = error.reason
        found = containers.inspect(self._engine, self._container)
        if why or found is None or not found["State"]["Running"]:
            raise self._not_started(why)

    def _not_started(self, why: str) -> NotRunningError:
        is_refused = bool(why)
        if is_refused and not _OF_PROGRAM.search(why):
            failed = NotRunningError(
                f"the engine can't start a container on {self._base or 'this image'}: {why}",
                where=self.where,
                hint="see whether it starts one by hand: `docker run --rm IMAGE true`, or `podman run`",
            )
            failed.is_refused = True
            return failed
        if not why:
            with containers.logs(self._engine, self._container) as output:
                why = b"".join(frame.data for frame in output).decode(errors="replace").strip()
        error = NotRunningError(
            f"the environment's Python does not start on {self._base or 'this image'}: "
            f"{why or 'it ended at once'}",
            where=self._where,
            hint="baseDockerImage must be an image with glibc (Debian, Ubuntu, Fedora; not Alpine)",
        )
        error.is_refused = is_refused
        return error

    def run(
        self,
        arguments: Sequence[str],
        told: Callable[[bytes], object],
        variables: Mapping[str, str] | None = None,
        *,
        given: bytes | None = None,
    ) -> int:
        """Run a command; its exit code. Neither container nor image keeps `variables`.

        `given` is its standard input: it is not stored, and no process list shows it.

        Raises:
            TargetError: it does not start, or the engine stopped meanwhile.
        """
        try:
            code = containers.execute(
                self._engine, self._container, arguments, told, variables=variables, given=given
            )
        except EngineAnswerError as error:
            if error.status != 409:
                raise
            raise self._not_started("") from error  # it ended after `start`
        if code is None:
            raise TargetError(
                "the engine stopped while the environment was being built",
                where=self._engine.address,
                hint="check that it runs (`docker info`), then prepare again",
            )
        if code in _NOT_EXECUTED:
            raise self._not_started("")
        return code

    def commit(
        self,
        reference: str,
        labels: Mapping[str, str],
        variables: Mapping[str, str],
        more: Sequence[str] = (),
    ) -> str:
        """Commit it as an image with that name, or with none (""); its id. `more` are Dockerfile lines."""
        containers.kill(self._engine, self._container)
        changes = [
            f'CMD ["{PREFIX}/bin/python"]',
            *(f"ENV {name}={json.dumps(value)}" for name, value in variables.items()),
            *(
                f"LABEL {name}={json.dumps(value)}"
                for name, value in {BUILDING: "", MAKER: "", **labels}.items()
            ),
            *more,
        ]
        return images.commit(self._engine, self._container, reference, changes=changes)
