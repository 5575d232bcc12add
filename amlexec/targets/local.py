"""Runs as local processes: a supervisor starts them, and its files contain their state."""

from __future__ import annotations

import os
import select
import time

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.runtime import SHELL, shell, site_folder
from amlexec.targets import local_python
from amlexec.targets.run_folders import checking_out, hand_on, shared_folder
from amlexec.targets.script_environment import handed, is_plain, of_run, of_supervisor, with_site
from amlexec.targets.target import Launch, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import IO

    from amlexec.history.paths import RunPaths
    from amlexec.local_machine import Connection
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.values import NotCollected, Plan, Project

__all__ = ["LocalTarget"]

_LOOK_INTERVAL_S = 0.05
"""Seconds between two reads of a run's logs."""
_ASK_INTERVAL_S = 0.5
"""Seconds between two reads of the state of a run that another process started."""
_OVER = frozenset({"ended", "lost", "new"})
_STOP_TIMEOUT_S = 60
"""For stopping a run, in seconds in addition to the grace."""


class LocalTarget:
    """Runs as processes of this machine."""

    def __init__(self, project: Project, connection: Connection) -> None:
        self._project = project
        self._connection = connection

    def store(self, plan: Plan) -> None:
        """See `Target.store`: the user manages the environments of this machine."""

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """See `Target.check`. Finds the interpreter each time: environments may have changed."""
        del environment
        path = local_python.find(self._project, plan.target)
        python = local_python.version(self._project, self._connection, path)
        launch = Launch(
            argv=(path, plan.script_argument, *plan.arguments),
            python=python,
            platform=f"{os.uname().sysname.lower()}-{os.uname().machine}",
            environment=self._environment(plan),
        )
        if plan.framework == "PySpark":
            from amlexec.targets import spark_launch

            return spark_launch.local(plan, launch, self._connection)
        return launch

    def _environment(self, plan: Plan) -> dict[str, str]:
        environment = dict(os.environ)
        # Otherwise Python buffers up to 8 kB of output.
        environment["PYTHONUNBUFFERED"] = "1"
        if shared := shared_folder(self._project, plan.target):
            # Workbench scripts use `os.environ[...] + "model.pkl"`: the path must end with a separator.
            environment["AZUREML_NATIVE_SHARE_DIRECTORY"] = f"{shared}/"
        environment.update(plan.environment_variables)
        return with_site(environment, site_folder())

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> AbstractContextManager[None]:
        """See `Target.stage`. git writes the copy while the caller goes on."""
        return checking_out(self._project, paths, plan, tree)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes]:
        """See `Target.start`."""
        from amlexec.history.paths import PROJECT

        declared = dict(plan.environment_variables)
        environment = {
            # Variables that a shell sets itself are only passed on if the files declare them.
            **{name: value for name, value in launch.environment.items() if is_plain(name)},
            **{name: launch.environment[name] for name in declared},
            **of_run(paths.run_id, paths.place),
        }
        given = handed(environment, launch.python.path)
        checkout = paths.at(PROJECT)
        return self._connection.start(
            [SHELL, shell("supervisor"), paths.place, *given.before, *launch.argv],
            checkout,
            {**_own(paths), "PWD": checkout, **given.variables},
            lock,
        )

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`."""
        from amlexec.targets.answers import read_state

        answer = self._connection.run([SHELL, shell("state"), paths.place], timeout=_STOP_TIMEOUT_S)
        return read_state(answer.stdout, answer.stderr, self._connection.name)

    def follow(
        self,
        paths: RunPaths,
        end_pipe: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. Output that arrives between two reads is shown log by log."""
        from amlexec.targets.answers import read_state

        positions = {paths.stdout: 0, paths.stderr: 0}
        sinks = {paths.stdout: stdout, paths.stderr: stderr}
        asked = float("-inf") if end_pipe is None else float("inf")
        state = State("starting")
        while True:
            over = state.phase in _OVER
            for path, sink in sinks.items():
                positions[path] = hand_on(path, positions[path], sink)
            if over:
                return state
            # The pipe is the supervisor's standard output, on which it finally prints the state. End of file
            # without a state: the supervisor was killed, and the script may still be running.
            if end_pipe is not None and select.select([end_pipe], [], [], _LOOK_INTERVAL_S)[0]:
                if output := os.read(end_pipe.fileno(), 1 << 16):
                    state = read_state(output.decode(errors="replace"), "", self._connection.name)
                else:
                    end_pipe, asked = None, float("-inf")
            elif end_pipe is None and asked > 0:
                time.sleep(_LOOK_INTERVAL_S)
            if time.monotonic() - asked > _ASK_INTERVAL_S:
                state = self.state(paths)
                asked = time.monotonic()

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`."""
        from amlexec.targets.answers import read_state

        answer = self._connection.run(
            [SHELL, shell("stop"), paths.place, str(grace)], timeout=grace + _STOP_TIMEOUT_S
        )
        if answer.exit_code != 0:
            raise TargetError(
                f"the run could not be stopped: {answer.stderr.strip()}", where=self._connection.name
            )
        return read_state(answer.stdout, answer.stderr, self._connection.name)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. The logs are local; `outputs/` moves out of the checkout."""
        from amlexec.targets.outputs import aliases_of, bring

        return bring(paths.checkout, paths.outputs, aliases_of(paths.checkout))

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`. A process that has ended leaves nothing to release."""

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        if not paths.checkout.exists():
            return []
        from amlexec.file_trees import remove_tree

        remove_tree(paths.checkout)
        return ["here"]


def _own(paths: RunPaths) -> dict[str, str]:
    """Of the supervisor's own environment: PATH, and variables that only a shell can pass on."""
    handed_on = {name: os.environ[name] for name in ("UID", "EUID", "GROUPS") if name in os.environ}
    handed_on |= of_supervisor(paths.run_id, paths.place)
    mask = os.umask(0o077)
    os.umask(mask)
    handed_on["AMLEXEC_SUPERVISED_MASK"] = f"{mask:o}"  # a shell would have to start a process to read it
    return {"PATH": os.environ.get("PATH", os.defpath), **handed_on}
