"""The states of the runs of a Slurm cluster, also of many in one call."""

from __future__ import annotations

import io
import re
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.errors import AmlexecError, UnreachableError
from amlexec.targets import answers, live_metrics, slurm_container, slurm_script, slurm_state
from amlexec.targets.script_environment import of_run
from amlexec.targets.ssh import SSHTarget
from amlexec.targets.ssh_verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.prepare.prepare import Readiness
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import Launch, State
    from amlexec.values import Plan, Project

__all__ = ["SlurmRuns"]

_PARTS = ("identity.sh", "host.sh", "slurm.sh", "slurm_many.sh", "slurm_array.sh")
_STOP_TIMEOUT_S = 90.0
"""In addition to the grace."""
_STATES_TIMEOUT_S = 90.0
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
        # Not as a stream: that would take another round trip where the verbs may not be there yet.
        answer = self._verbs.run("states", input=asked.encode("ascii"), timeout=_STATES_TIMEOUT_S)
        if answer.exit_code != 0:
            raise self._failed("the states of the runs can't be read", answer.stderr)
        source = io.BytesIO(answer.stdout.encode("utf-8", "surrogateescape"))
        while line := source.readline(answers.LONGEST_LINE):
            run_id = line.decode("utf-8", "replace").rstrip("\n")
            if run_id.startswith("R "):
                if not self._take_metrics(source, by_id.get(run_id[2:]), starts.get(run_id[2:], 0)):
                    break
                continue
            facts = source.readline(answers.LONGEST_LINE).decode("utf-8", "replace")
            if run_id not in by_id or not slurm_state.is_facts(facts):
                continue
            try:
                found[run_id] = self._judged(facts)
            except UnreachableError as error:
                silent = error
            except AmlexecError:
                continue  # the run alone is asked about it, and then says what is wrong
        if silent is not None and not found:
            raise silent
        return found

    def _take_metrics(self, source: IO[bytes], paths: RunPaths | None, start: int) -> bool:
        """Take the metrics of a run; False if they can't be read: bytes that are no text were replaced."""
        match = _METRICS.fullmatch(source.readline(answers.LONGEST_LINE))
        if match is None:
            return False
        data = source.read(int(match[1]))
        if live_metrics.is_changed(data, int(match[1])):
            return False
        if paths is not None:
            live_metrics.added(paths, start, data, int(match[2]))
        return True

    def marks(self, runs: Sequence[RunPaths]) -> dict[str, str]:
        """`began` or `ended` for those of the runs whose script has; without asking Slurm."""
        asked = "".join(f"{paths.folder.name}\n" for paths in runs)
        answer = self._verbs.run("marks", input=asked.encode("ascii"))
        if answer.exit_code != 0:
            raise self._failed("the states of the runs can't be read", answer.stderr)
        return {match[1]: match[2] for match in _MARK.finditer(answer.stdout)}

    def _launch(self, plan: Plan, looked: Mapping[str, str], environment: Readiness | None) -> Launch:
        if plan.target.container:
            # Only a node with the image knows; the run records it.
            image = {"python": plan.target.python_location, "version": f"of {plan.target.container_image}"}
            looked = {**looked, **image}
        return super()._launch(plan, looked, environment)

    def _command(self, plan: Plan, launch: Launch, run_id: str) -> tuple[str, ...]:
        """The words that run a script on the first of a job's nodes."""
        home = launch.environment["PYTHONPATH"].partition("/.amlexec/")[0]
        folder, runtime = f"{home}/.amlexec/runs/{run_id}", f"{home}/{self.runtime}"
        shared = launch.environment.get("AZUREML_NATIVE_SHARE_DIRECTORY", "").rstrip("/")
        mounts = slurm_container.Mounts(folder, runtime, shared)
        names = (*launch.environment, *of_run(run_id, folder))
        argv = (*slurm_container.words(plan.target, mounts, names), *launch.argv)
        if slurm_script.is_parallel(plan.target):
            argv = ("sh", f"{runtime}/ranks.sh", plan.target.communicator, folder, *argv)
        return argv

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
