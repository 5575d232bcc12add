"""Checks of a Slurm cluster: its partitions and limits, and the shared folder as the nodes see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.machines.check_results import FAILED, OK, WARNING, Finding
from amlexec.runtime import shell
from amlexec.targets import slurm_script
from amlexec.targets.slurm_state import seconds_of

if TYPE_CHECKING:
    from amlexec.local_machine import Answer
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import ComputeTarget

__all__ = ["of_slurm"]

_NODE_TIMEOUT_S = 30
"""For a node to become free, in seconds."""


class _Partition(NamedTuple):
    name: str
    is_up: bool
    seconds: int | None
    nodes: int
    text: str


def of_slurm(connection: SSHConnection, target: ComputeTarget) -> list[Finding]:
    """Check the cluster. Runs one small job for a minute at most, unless no node is free."""
    python = target.python_location if target.user_managed_environment and not target.container else ""
    script = Path(shell("slurm_check")).read_text("utf-8")
    lines = slurm_script.lines(target)
    probe = "".join(["#!/bin/sh\n", *(f"#SBATCH {line}\n" for line in lines), "exit 0\n"])
    own = ("partition", "account", "qos", "constraint", "gres")
    options = [line for line in lines if line[2:].partition("=")[0] in own]
    answer = connection.run(
        script, python, str(_NODE_TIMEOUT_S), *options, input=probe.encode(), timeout=_NODE_TIMEOUT_S + 90.0
    )
    return _findings(target, answer)


def _findings(target: ComputeTarget, answer: Answer) -> list[Finding]:
    facts: dict[str, list[str]] = {}
    for line in answer.stdout.splitlines():
        key, _, value = line.partition(" ")
        facts.setdefault(key, []).append(value.strip())
    missing = facts.get("missing", [""])[0]
    if missing or "missing" not in facts:
        hint = "attach the login node, where sbatch is; its PATH is that of a login without a terminal"
        return [Finding("Slurm", FAILED, f"missing: {missing or 'sbatch'}", hint)]
    if failure := facts.get("failure", [""])[0]:
        hint = "ask the site whether slurmctld and munge run; clocks that differ stop munge"
        return [Finding("Slurm", FAILED, f"slurmctld does not answer: {failure}", hint)]
    accounting = "with accounting" if "accounting" in facts else "without accounting"
    found = [Finding("Slurm", OK, f"{facts.get('version', ['slurm'])[0]}, {accounting}")]
    partitions = [each for text in facts.get("partition", []) if (each := _partition(text))]
    found.append(_of_partition(target, partitions))
    if refused := facts.get("refused"):
        hint = f"change {target.place.path}, or ask the site"
        return [*found, Finding("job", FAILED, f"sbatch refuses it: {'; '.join(refused)}", hint)]
    if "accepted" in facts:
        found.append(Finding("job", OK, re.sub(r"^sbatch: ", "", facts["accepted"][0])))
    if "srun" in facts:
        found += _of_node(target, facts, answer.stdout)
    return found


def _partition(text: str) -> _Partition | None:
    """A row of sinfo: `NAME|AVAILABILITY|LIMIT|NODES|CPUS|MEMORY|GRES`."""
    parts = text.split("|")
    if len(parts) < 7:
        return None
    name, up, limit, nodes, cpus, memory, gres = parts[:7]
    try:
        seconds = seconds_of(limit)
    except ValueError:
        seconds = None
    what = f"{nodes} nodes with {cpus} CPUs and {memory} MB, up to {limit}"
    if gres not in {"", "(null)"}:
        what += f", {gres}"
    return _Partition(name, up == "up", seconds, int(nodes) if nodes.isdecimal() else 0, f"{name}: {what}")


def _of_partition(target: ComputeTarget, partitions: list[_Partition]) -> Finding:
    name = "partitions"
    listed = "; ".join(each.text for each in partitions)
    if not target.partition:
        return Finding(name, OK, listed or "none is shown")
    wanted = [part for part in target.partition.split(",") if part]
    known = {each.name for each in partitions}
    for part in wanted:
        if part not in known:
            hint = f"write one of these into {target.place.path}: {', '.join(sorted(known))}"
            return Finding(name, FAILED, f"there is no partition {part!r}", hint)
    ours = [each for each in partitions if each.name in wanted]
    if not any(each.is_up for each in ours):
        return Finding(name, WARNING, f"{target.partition} is down", "choose another partition, or wait")
    nodes = sum(each.nodes for each in ours)
    if target.node_count > nodes:
        hint = f"lower nodeCount in {target.place.path}"
        return Finding(name, FAILED, f"nodeCount is {target.node_count}, but it has {nodes} nodes", hint)
    limits = [each.seconds for each in ours]
    seconds = seconds_of(target.time) if target.time else None
    if seconds is not None and None not in limits and seconds > max(one or 0 for one in limits):
        hint = f"lower time in {target.place.path}"
        return Finding(name, FAILED, f"time is {target.time}, more than the limit: {listed}", hint)
    return Finding(name, OK, "; ".join(each.text for each in ours))


def _of_node(target: ComputeTarget, facts: dict[str, list[str]], output: str) -> list[Finding]:
    name = "compute node"
    if "node" not in facts:
        if re.search(r"[Ii]mmediate|Unable to allocate|timed out|TIMEOUT", output) or facts["srun"] == [
            "124"
        ]:
            hint = (
                "whether the nodes share the folder is not known: check again when the cluster is less busy"
            )
            return [Finding(name, WARNING, f"none was free within {_NODE_TIMEOUT_S} s", hint)]
        last = [line for line in output.splitlines() if "error" in line][-1:]
        said = last[0].strip() if last else "srun failed"
        return [Finding(name, WARNING, said, "nothing is known of the nodes: run srun there by hand")]
    node = facts["node"][0]
    found = []
    if "seen" not in facts:
        hint = f"set sharedDirectory in {target.place.path} to a folder that the nodes have too"
        where = target.shared_directory or "the home folder"
        return [Finding("shared folder", FAILED, f"{node} does not have {where} of the login node", hint)]
    if "written" not in facts:
        hint = f"set sharedDirectory in {target.place.path} to a folder that the nodes may write to"
        return [Finding("shared folder", FAILED, f"{node} can't write to it", hint)]
    found.append(Finding("shared folder", OK, f"the login node and {node} share it"))
    if target.user_managed_environment and not target.container:
        version, _, path = facts.get("python", [""])[0].partition(" ")
        if not version or not path:
            hint = f"set pythonLocation in {target.place.path} to a Python that the nodes have"
            missing = f"{node} has no {target.python_location}"
            return [*found, Finding("Python of the nodes", FAILED, missing, hint)]
        found.append(Finding("Python of the nodes", OK, f"{version} ({path})"))
    if target.communicator in {"OpenMpi", "IntelMpi"} and "mpirun" not in facts:
        hint = "load its module in the start-up file of your shell, or write communicator: Gloo"
        found.append(Finding("MPI", FAILED, f"{node} has no mpirun", hint))
    return [*found, _of_runtime(target, facts.get("runtime", []), node)]


def _of_runtime(target: ComputeTarget, runtimes: list[str], node: str) -> Finding:
    name = "container runtime"
    if target.container and target.container not in runtimes:
        hint = f"ask the site, or change container in {target.place.path}"
        there = f"; it has {', '.join(runtimes)}" if runtimes else ""
        return Finding(name, FAILED, f"{node} has no {target.container}{there}", hint)
    return Finding(name, OK, target.container or ", ".join(runtimes) or "none")
