"""The states of the runs of a Slurm cluster, also of many in one call."""

from __future__ import annotations

import io
import re
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.errors import AmlexecError, UnreachableError
from amlexec.targets import answers, live_metrics, slurm_state
from amlexec.targets.ssh import SSHTarget
from amlexec.targets.ssh_verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["SlurmRuns"]

_PARTS = ("identity.sh", "host.sh", "slurm.sh", "slurm_many.sh", "slurm_array.sh")
_STOP_TIMEOUT_S = 90.0
"""In addition to the grace."""
_MARK = re.compile(r"(\S+) (began|ended)")
_METRICS = re.compile(rb"M ([0-9]{1,15}) ([0-9]{1,15})\n")


class SlurmRuns(SSHTarget):
    """Runs on a Slurm cluster that were submitted."""

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        super().__init__(project, connection)
        self._verbs = Verbs(connection, self._runtime, _PARTS)
        self._stop_timeout = _STOP_TIMEOUT_S

    def states(self, runs: Sequence[RunPaths]) -> dict[str, State]:
        """The states of these runs by id, with one round trip; copies the new metrics of running ones.

        Runs whose state is not known are left out. Raises like `state`; UnreachableError if none is known.
        """
        by_id = {paths.folder.name: paths for paths in runs}
        if not by_id:
            return {}
        starts = {run_id: live_metrics.size(paths) for run_id, paths in by_id.items()}
        asked = "".join(f"{run_id} {start}\n" for run_id, start in starts.items())
        found: dict[str, State] = {}
        silent: UnreachableError | None = None
        with self._verbs.stream("states", input=io.BytesIO(asked.encode("ascii"))) as channel:
            while line := channel.stdout.readline(answers.LONGEST_LINE):
                run_id = line.decode("utf-8", "replace").rstrip("\n")
                if run_id.startswith("R "):
                    self._take_metrics(channel.stdout, by_id.get(run_id[2:]), starts.get(run_id[2:], 0))
                    continue
                facts = channel.stdout.readline(answers.LONGEST_LINE).decode("utf-8", "replace")
                if run_id not in by_id or not slurm_state.is_facts(facts):
                    continue
                try:
                    found[run_id] = self._judged(facts)
                except UnreachableError as error:
                    silent = error
                except AmlexecError:
                    continue  # the run alone is asked about it, and then says what is wrong
            if channel.wait() != 0:
                raise self._failed("the states of the runs can't be read", channel.stderr)
        if silent is not None and not found:
            raise silent
        return found

    def _take_metrics(self, source: IO[bytes], paths: RunPaths | None, start: int) -> None:
        match = _METRICS.fullmatch(source.readline(answers.LONGEST_LINE))
        if match is None:
            raise UnreachableError("the connection ended", where=self._connection.name)
        data = source.read(int(match[1]))
        if paths is not None:
            live_metrics.added(paths, start, data, int(match[1]), int(match[2]))

    def marks(self, runs: Sequence[RunPaths]) -> dict[str, str]:
        """`began` or `ended` for those of the runs whose script has; without asking Slurm."""
        asked = "".join(f"{paths.folder.name}\n" for paths in runs)
        answer = self._verbs.run("marks", input=asked.encode("ascii"))
        if answer.exit_code != 0:
            raise self._failed("the states of the runs can't be read", answer.stderr)
        return {match[1]: match[2] for match in _MARK.finditer(answer.stdout)}

    def _read(self, paths: RunPaths, output: str) -> State:
        if slurm_state.is_facts(output):
            return self._judged(output)
        return super()._read(paths, output)

    def _judged(self, output: str, stderr: str = "", where: str = "") -> State:
        del stderr, where
        name = self._connection.name
        return slurm_state.judged(slurm_state.read_facts(output, name), name)

    def _read_records(self, source: IO[bytes]) -> list[tuple[str, State | None, str]]:
        read = partial(self._judged_or_ours)
        return list(answers.read_records(source, self._connection.name, read))

    def _judged_or_ours(self, output: str, stderr: str, where: str) -> State:
        if slurm_state.is_facts(output):
            return self._judged(output)
        return answers.read_state(output, stderr, where)
