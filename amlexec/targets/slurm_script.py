"""The script of a run's job, and the options that it is submitted with. Values only.

All that the user declares stands in the script as `#SBATCH` lines, where it can be read later; nothing of it
is on a command line. The script's words are quoted for a POSIX shell.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.values import ComputeTarget

__all__ = ["array_options", "array_script", "is_parallel", "lines", "options", "script"]

_NO_COMMUNICATOR = "None"


def lines(target: ComputeTarget) -> list[str]:
    """The options of sbatch that a target declares, one each."""
    found = [f"--nodes={target.node_count}"]
    if is_parallel(target):
        # Only then: a task count changes what a job with GPUs gets.
        found.append(f"--ntasks-per-node={target.tasks_per_node or 1}")
    declared = {
        "partition": target.partition,
        "account": target.account,
        "qos": target.qos,
        "time": target.time,
        "cpus-per-task": target.cpus_per_task or "",
        "mem": target.memory,
        "gres": target.gres,
        "constraint": target.constraint,
    }
    found += [f"--{name}={value}" for name, value in declared.items() if value]
    found.append("--requeue" if target.requeue else "--no-requeue")
    return [*found, *target.sbatch]


def is_parallel(target: ComputeTarget) -> bool:
    """Whether a run is several processes."""
    is_one = target.node_count == 1 and target.tasks_per_node <= 1
    return not is_one or target.communicator != _NO_COMMUNICATOR


def options(folder: str) -> tuple[str, ...]:
    """Our own options; `folder` is the run's folder on the shared file system."""
    control = f"{folder}/control"
    return (f"--chdir={control}", "--output=job.log", "--open-mode=append", "--export=ALL")


def script(target: ComputeTarget, run_id: str, folder: str, runtime: str, argv: Sequence[str]) -> str:
    """The text of the job's script. `argv` begins with the Python that starts the supervisor."""
    about = f"the run {run_id}"
    return _script(target, about, ("folder", folder), "control", runtime, f"job {shlex.join(argv)}")


def array_options(folder: str, elements: int, at_once: int) -> tuple[str, ...]:
    """As `options` for an array, of which `at_once` elements run at a time; `folder` is the array's."""
    limit = f"%{at_once}" if at_once < elements else ""
    array = f"--array=0-{elements - 1}{limit}"
    return (array, f"--chdir={folder}", "--output=log/%a", "--open-mode=append", "--export=ALL")


def array_script(target: ComputeTarget, name: str, folder: str, runtime: str) -> str:
    """The text of an array's script. What differs by the element is in the folder of its run."""
    return _script(target, f"the runs of {name}", ("array", folder), "tree", runtime, "element")


def _script(
    target: ComputeTarget, about: str, place: tuple[str, str], within: str, runtime: str, last: str
) -> str:
    header = "".join(f"#SBATCH {line}\n" for line in lines(target))
    name, folder = place
    return (
        f"#!/bin/sh\n{header}# Made by amlexec for {about}.\n"
        f"{name}={shlex.quote(folder)}\nruntime={shlex.quote(runtime)}\n"
        f'[ -d "${name}/{within}" ] && [ -r "$runtime/slurm_job.sh" ] || {{\n'
        f'  echo "$(uname -n) does not have the folder ${name}: it must be shared" >&2\n  exit 96\n}}\n'
        f'. "$runtime/slurm_job.sh"\n{last}\n'
    )
