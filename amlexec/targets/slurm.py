"""Runs as jobs of a Slurm cluster: like runs on its login node over SSH, but sbatch starts the supervisor.

The runs' folders are on a file system that the compute nodes share, and the supervisor writes the exit code
there. Slurm is asked why a run waits, and how it ended if it left no exit code.
"""

from __future__ import annotations

import shlex
import time
from typing import IO, TYPE_CHECKING

from amlexec.console import say
from amlexec.errors import UnreachableError
from amlexec.targets import slurm_container, slurm_script, slurm_state, ssh_launch
from amlexec.targets.slurm_array import SlurmArrays

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.reconnect import Reconnect
    from amlexec.targets.ssh_logs import RunLog
    from amlexec.targets.target import Launch, State
    from amlexec.values import Plan, Project

__all__ = ["SlurmTarget"]

_UNKNOWN = 76
"""Exit code of `begin`: Slurm may have taken the job."""
_SUBMIT_TIMEOUT_S = 90.0
_PAUSE_S = 1.0
"""Before a job that goes on after all is followed again."""


class SlurmTarget(SlurmArrays):
    """Runs on a Slurm cluster."""

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        super().__init__(project, connection)
        self._shown_text = ""
        """What was last shown of the job's place in the queue."""

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes] | None:
        """See `Target.start`: submits the job."""
        del lock  # the caller keeps it until the job is submitted
        run, home = paths.folder.name, ssh_launch.home_of(launch)
        folder, runtime = f"{home}/.amlexec/runs/{run}", f"{home}/{self.runtime}"
        python = slurm_container.node_python(plan.target, launch.python.path)
        on_node = launch._replace(python=launch.python._replace(path=python))
        text, before = ssh_launch.introduced(paths, on_node, self._preparing(paths, plan, launch))
        words = (python, *before, *self._command(plan, launch, run))
        script = slurm_script.script(plan.target, run, folder, runtime, words)
        text += f"script={shlex.quote(script.rstrip())}\nrequeue={int(plan.target.requeue)}\n"
        answer = self._begun(paths, text, slurm_script.options(folder), _SUBMIT_TIMEOUT_S)
        if answer.exit_code == _UNKNOWN:
            raise UnreachableError(answer.stderr.strip(), where=self._connection.name)
        if answer.exit_code != 0:
            raise self._refused(answer.stderr, plan)
        return None

    def _follow(
        self, paths: RunPaths, logs: dict[bytes, RunLog], reconnect: Reconnect | None = None
    ) -> State:
        while True:
            state = super()._follow(paths, logs, reconnect)
            if state.phase not in {"starting", "running"}:
                return state
            # It was preempted and waits again, or the shared file system does not show its end yet.
            if state.why:
                self._tell(state.why)
            time.sleep(_PAUSE_S)

    def _queued(self, text: str) -> None:
        row, _, rest = text.partition("\t")
        ahead, _, failure = rest.partition("\t")
        fields = ["slurm", "", "", "", "0", "", "1", "0", "0", row, ahead, "", "", failure]
        facts = slurm_state.read_facts("\t".join(fields), self._connection.name)
        if facts.failure:
            self._tell(f"warning: Slurm does not answer ({facts.failure[:200]}); the run is not affected")
        elif waiting := slurm_state.queue_text(facts):
            self._tell(waiting)
        elif self._shown_text and facts.state == "RUNNING":
            self._tell(f"running on {facts.nodes}")

    def _tell(self, text: str) -> None:
        if text != self._shown_text:
            self._shown_text = text
            say(f"{self._connection.name}: {text}")
