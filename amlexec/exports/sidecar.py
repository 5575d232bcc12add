"""What was exported of a run already: a file for each run and destination, below `.amlexec/exports/`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import locks, private_folders
from amlexec.files import SMALL, read_regular, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.values import Project

__all__ = ["Sidecar", "opened"]

_LOCK_TIMEOUT_S = 600.0
"""Another process may export the same run: the first time, with its outputs."""


class Sidecar:
    """The state of an export, which is held while it is open."""

    def __init__(self, path: Path, destination: str) -> None:
        self._path, self._destination = path, destination
        self.run_id = ""
        """MLflow's id of the run; "" if it was not exported."""
        self.values = 0
        """Lines of `metrics.jsonl` that were exported."""
        self.metrics: list[int] = []
        """Inode, size and time of change of that file then."""
        self.tags: dict[str, str] = {}
        self.files: dict[str, list[int]] = {}
        """The exported files by their names as artifacts, with size and time of change."""
        self.state: list[Any] = []
        """Status and time of the end."""
        self.has_parameters = False
        self._read()

    def _read(self) -> None:
        try:
            found = json.loads(read_regular(self._path, 64 * SMALL, follow=False))
        except (OSError, ValueError, RecursionError):
            return  # what MLflow has is then asked
        if not isinstance(found, dict) or found.get("destination") != self._destination:
            return
        expected = {"run_id": str, "values": int, "metrics": list, "tags": dict, "files": dict, "state": list}
        if all(isinstance(found.get(name), kind) for name, kind in expected.items()):
            for name in expected:
                setattr(self, name, found[name])
            self.has_parameters = found.get("has_parameters") is True

    def forget(self) -> None:
        """Begin anew: MLflow no longer has the run."""
        self.__init__(Path("/nonexistent"), self._destination)  # type: ignore[misc]

    def write(self) -> None:
        """Keep the state. Raises OSError."""
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        write_atomically(self._path, json.dumps({**values, "destination": self._destination}), durable=False)


@contextlib.contextmanager
def opened(project: Project, destination: str, run_id: str) -> Iterator[Sidecar]:
    """The state of a run's export to a destination; other processes wait.

    Raises:
        TargetError: another process has exported the run for more than 10 minutes.
    """
    name = hashlib.sha256(destination.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = Path(project.state, "exports", name)
    for each in (folder.parent, folder):
        private_folders.make(each)
    # The same server may have several addresses.
    with locks.exclusive(str(folder.parent / f"{run_id}.lock"), _LOCK_TIMEOUT_S):
        yield Sidecar(folder / f"{run_id}.json", destination)
