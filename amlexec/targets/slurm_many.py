"""The states of the runs of a Slurm cluster, also of many in one call."""

from __future__ import annotations

import re
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.targets import answers, slurm_container, slurm_script, slurm_state, slurm_states
from amlexec.targets.script_environment import of_run
from amlexec.targets.ssh import SSHTarget
from amlexec.targets.ssh_channel import RunChannels
from amlexec.targets.ssh_launch import home_of
from amlexec.targets.ssh_verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.prepare.prepare import Readiness
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import Launch, State
    from amlexec.values import Plan, Project

__all__ = ["SlurmRuns"]

_STOP_TIMEOUT_S = 90.0
"""In addition to the grace."""
_MARK = re.compile(r"(\S+) (began|ended)")


class SlurmRuns(SSHTarget):
    """Runs on a Slurm cluster that were submitted."""

    _follow_brings_results = False

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        super().__init__(project, connection)
        self._verbs = Verbs(connection, self._runtime, slurm_states.PARTS)
        self._channels = RunChannels(self._verbs)
        self._stop_timeout = _STOP_TIMEOUT_S

    def states(self, runs: Sequence[RunPaths]) -> dict[str, State]:
        """See `slurm_states.read`."""
        return slurm_states.read(self._verbs, self._connection.name, runs)

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
        home = home_of(launch)
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
