"""What a container prints, handed on as it comes, from where it stopped before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError, EngineLostError
from amlexec.targets.run_folders import hand_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from amlexec.docker.client import Engine

__all__ = ["ContainerLogs"]


class ContainerLogs:
    """Both logs of a container; `sinks` are by the number of the stream."""

    def __init__(self, engine: Engine, sinks: Mapping[int, Callable[[bytes], object]]) -> None:
        self._engine = engine
        self._sinks = sinks
        self._seen = dict.fromkeys(sinks, 0)
        """How many bytes of each have been handed on."""

    def hand_on(self, container: str, found: Callable[[], object]) -> bool:
        """Hand on what it prints until it, or the connection, ends; whether it was the former.

        `found` is called when the engine has answered.

        Raises:
            UnreachableError, EngineError: it can't be asked now.
        """
        skip = (self._seen[containers.STDOUT], self._seen[containers.STDERR])
        try:
            with containers.logs(self._engine, container, follow=True, skip=skip) as output:
                found()
                for frame in output:
                    self._sinks[frame.stream](frame.data)
                    self._seen[frame.stream] += len(frame.data)
        except EngineLostError:
            return False  # asked again: an engine that is there answers, one that is gone is an error
        except EngineAnswerError as error:
            if error.status not in {404, 409}:  # gone, or just being removed
                raise
        return True

    def hand_on_files(self, paths: Mapping[int, Path]) -> None:
        """Hand on the rest from where the logs are at home."""
        for stream, path in paths.items():
            hand_on(path, self._seen[stream], self._sinks[stream])
