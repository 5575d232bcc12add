"""Runs that are the elements of one job array: submitted together, and each a run of its own afterwards."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UnreachableError, UsageError
from amlexec.history.record import text_of
from amlexec.targets import python_used, slurm_container, slurm_script, ssh_send
from amlexec.targets.script_environment import handed, is_plain, of_run, of_supervisor
from amlexec.targets.slurm_many import SlurmRuns
from amlexec.targets.ssh_launch import exports, home_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.errors import TargetError
    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.prepare.prepare import Readiness
    from amlexec.targets.target import Launch
    from amlexec.values import Plan

__all__ = ["Element", "SlurmArrays"]

_UNKNOWN = 76
"""Exit code of `begin_array`: Slurm may have taken the job."""
_SUBMIT_TIMEOUT_S = 120.0
_MOST = 1000
"""Elements of an array; more runs are several arrays."""
_SET = re.compile(r"AMLEXEC_SET_([0-9]+)")
_ANSWER = re.compile(r"(\S+) (gone|begun|others)")


class Element(NamedTuple):
    """A run that becomes an element of an array."""

    paths: RunPaths
    plan: Plan
    launch: Launch
    run: Run
    """As it is recorded when it starts."""


class SlurmArrays(SlurmRuns):
    """Job arrays of a Slurm cluster."""

    def most(self) -> int:
        """The most elements of an array; 0 if the cluster takes none. Raises like `state`."""
        answer = self._verb("limit").strip()
        return min(_MOST, int(answer)) if answer.isascii() and answer.isdecimal() else _MOST

    def check_many(self, plans: Sequence[Plan], environment: Readiness | None) -> list[Launch]:
        """As `Target.check` for each of the plans, which differ by arguments and variables only."""
        looked = (environment and self._looked) or self._look_before(plans[0].target.python_location)
        return [python_used.asked(self._launch(plan, looked, environment), plan) for plan in plans]

    def stage_many(self, name: str, elements: Sequence[Element], tree: str) -> None:
        """As `Target.stage`: send the snapshot, once, and the files of each run."""
        files = [("runs", "".join(f"{each.run.run_id}\n" for each in elements).encode("ascii"))]
        common = _common(elements)
        for number, each in enumerate(elements):
            folder = f"made/{each.run.run_id}"
            files += [
                (f"{folder}/run.json", text_of(each.run).encode("utf-8", "surrogateescape")),
                (f"{folder}/control/owner", f"{self.mirror}\n".encode()),
                (f"{folder}/control/runtime", f"{self._runtime}\n".encode()),
                (f"{folder}/control/array", f"{name} {number}\n".encode()),
                (f"{folder}/control/point.sh", self._point(each, common).encode("utf-8", "surrogateescape")),
            ]
        add = ssh_send.file_of("runs.tgz", ssh_send.files_of(files))
        self._stage("stage_array", name, elements[0].plan, tree, add)

    def start_many(self, name: str, elements: Sequence[Element], at_once: int) -> str:
        """Submit the array, of which `at_once` elements run at a time; returns the number of its job.

        Raises:
            UnreachableError: it may have been submitted.
            TargetError: it was not.
        """
        first = elements[0]
        home = home_of(first.launch)
        folder = f"{home}/.amlexec/arrays/{name}"
        given = handed(_common(elements), _node_python(first.plan, first.launch))
        text = exports(given.variables, first.launch)
        script = slurm_script.array_script(first.plan.target, name, folder, f"{home}/{self.runtime}")
        text += f"script={shlex.quote(script.rstrip())}\nrequeue={int(first.plan.target.requeue)}\n"
        answer = self._verbs.run(
            *("begin_array", name, *slurm_script.array_options(folder, len(elements), at_once)),
            input=text.encode("utf-8", "surrogateescape"),
            timeout=_SUBMIT_TIMEOUT_S,
        )
        if answer.exit_code == _UNKNOWN:
            raise UnreachableError(answer.stderr.strip(), where=self._connection.name)
        if answer.exit_code != 0:
            raise self._refused(answer.stderr, first.plan)
        return answer.stdout.strip().rpartition("\n")[2]

    def _refused(self, stderr: str, plan: Plan) -> TargetError:
        error = self._failed("the job could not be submitted", stderr)
        name = plan.target.name
        error.hint = error.hint or f"amlexec computetarget check {name} shows the partitions and limits"
        return error

    def _point(self, element: Element, common: dict[str, str]) -> str:
        """The shell text that runs an element: what is not common to all of them."""
        plan, launch, run_id = element.plan, element.launch, element.run.run_id
        home = home_of(launch)
        folder = f"{home}/.amlexec/runs/{run_id}"
        own = {name: value for name, value in launch.environment.items() if common.get(name) != value}
        # The variables of all elements come first, in pieces with numbers; these follow them.
        python = _node_python(plan, launch)
        before = handed(common, python)
        given = handed({**own, **of_run(run_id, folder)}, python)
        if given.before:
            name = next(name for name in own if not is_plain(name))
            raise UsageError(
                f"no shell can set the variable {name!r}, which differs between the points of the sweep",
                hint="rename it",
            )
        pieces = {
            _SET.sub(lambda match: f"AMLEXEC_SET_{int(match[1]) + len(before.variables)}", name): value
            for name, value in given.variables.items()
        }
        variables = {**pieces, **of_supervisor(run_id, folder)}
        argv = self._command(plan, launch, run_id)
        return f"{exports(variables)}job {shlex.join((python, *before.before, *argv))}\n"

    def withdraw(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Remove the runs whose script has not begun, so that it never begins; returns what happened to each.

        `gone`: removed, or it was not there. `begun`: it is left. `others`: it is another project's.
        """
        if not run_ids:
            return {}
        asked = "".join(f"{run_id}\n" for run_id in run_ids)
        answer = self._verbs.run(
            "withdraw", self.mirror, input=asked.encode("ascii"), timeout=_SUBMIT_TIMEOUT_S
        )
        if answer.exit_code != 0:
            raise self._failed("the runs can't be withdrawn", answer.stderr)
        return {match[1]: match[2] for match in _ANSWER.finditer(answer.stdout)}

    def throttle(self, name: str, at_once: int) -> None:
        """Set how many elements of an array may run at once."""
        self._verb("throttle", name, str(at_once))


def _node_python(plan: Plan, launch: Launch) -> str:
    return slurm_container.node_python(plan.target, launch.python.path)


def _common(elements: Sequence[Element]) -> dict[str, str]:
    """The variables that all elements have with the same value: only these may be secret."""
    found = dict(elements[0].launch.environment)
    for each in elements[1:]:
        environment = each.launch.environment
        found = {name: value for name, value in found.items() if environment.get(name) == value}
    return found
