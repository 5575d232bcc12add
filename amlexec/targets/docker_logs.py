"""A container's output, passed on as it arrives, and continued after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError, EngineLostError
from amlexec.targets.run_folders import hand_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from amlexec.docker.client import Engine

__all__ = ["ContainerLogs", "save_logs"]


class ContainerLogs:
    """Both logs of a container; `sinks` are keyed by the stream's number."""

    def __init__(self, engine: Engine, sinks: Mapping[int, Callable[[bytes], object]]) -> None:
        self._engine = engine
        self._sinks = sinks
        self._seen = dict.fromkeys(sinks, 0)
        """Bytes of each stream that have been passed on."""

    def hand_on(self, container: str, found: Callable[[], object]) -> bool:
        """Pass on the output until the container (True) or the connection (False) ends.

        `found` is called when the engine has answered.

        Raises:
            UnreachableError, EngineError: the engine does not answer.
        """
        skip = (self._seen[containers.STDOUT], self._seen[containers.STDERR])
        try:
            with containers.logs(self._engine, container, follow=True, skip=skip) as output:
                found()
                for frame in output:
                    self._sinks[frame.stream](frame.data)
                    self._seen[frame.stream] += len(frame.data)
        except EngineLostError:
            return False  # the caller asks again, which fails if the engine has stopped
        except EngineAnswerError as error:
            if error.status not in {404, 409}:  # removed, or being removed
                raise
        return True

    def hand_on_files(self, paths: Mapping[int, Path]) -> None:
        """Pass on the rest from the collected log files."""
        for stream, path in paths.items():
            hand_on(path, self._seen[stream], self._sinks[stream])


def save_logs(engine: Engine, container: str, stdout: Path, stderr: Path) -> None:
    """Write both logs of a container atomically."""
    # Not `files.write_atomically`: the logs may be larger than memory.
    beside = {path: path.with_name(f".{path.name}.new") for path in (stdout, stderr)}
    for new in beside.values():
        new.unlink(missing_ok=True)  # left by a killed process
    logs = containers.logs(engine, container)
    with logs as output, beside[stdout].open("xb") as out, beside[stderr].open("xb") as err:
        for frame in output:
            (out if frame.stream == containers.STDOUT else err).write(frame.data)
    for path, new in beside.items():
        new.replace(path)
