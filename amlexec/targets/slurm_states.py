"""The states of many runs of a Slurm cluster in one call. Imports little, unlike a target."""

from __future__ import annotations

import io
import re
from typing import IO, TYPE_CHECKING

from amlexec.config import load as config
from amlexec.errors import AmlexecError, UnreachableError
from amlexec.ssh.connection import connection_of
from amlexec.targets import answers, live_metrics, slurm_state
from amlexec.targets.ssh_verbs import Verbs, runtime_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["PARTS", "of_target", "read"]

PARTS = ("identity.sh", "host.sh", "slurm.sh", "slurm_many.sh", "slurm_array.sh")
"""The files with the verbs of a cluster."""
_TIMEOUT_S = 90.0
_METRICS = re.compile(rb"M ([0-9]{1,15}) ([0-9]{1,15})\n")


def of_target(project: Project, name: str, runs: Sequence[RunPaths]) -> dict[str, State]:
    """As `read`, for the runs of a compute target. Raises ConfigurationError, too."""
    connection = connection_of(config.load_target(project, name))
    return read(Verbs(connection, runtime_digest(), PARTS), connection.name, runs)


def read(verbs: Verbs, where: str, runs: Sequence[RunPaths]) -> dict[str, State]:
    """The states of these runs by id, with one round trip; copies the new metrics of running ones.

    Runs whose state is not known are left out. Raises like `Target.state`; UnreachableError if none is known.
    """
    by_id = {paths.folder.name: paths for paths in runs}
    if not by_id:
        return {}
    starts = {run_id: live_metrics.size(paths) for run_id, paths in by_id.items()}
    asked = "".join(f"{run_id} {start}\n" for run_id, start in starts.items())
    found: dict[str, State] = {}
    silent: UnreachableError | None = None
    # Not as a stream: that would take another round trip where the verbs may not be there yet.
    answer = verbs.run("states", input=asked.encode("ascii"), timeout=_TIMEOUT_S)
    if answer.exit_code != 0:
        raise answers.failure("the states of the runs can't be read", answer.stderr, where)
    source = io.BytesIO(answer.stdout.encode("utf-8", "surrogateescape"))
    while line := source.readline(answers.LONGEST_LINE):
        run_id = line.decode("utf-8", "replace").rstrip("\n")
        if run_id.startswith("R "):
            if not _take_metrics(source, by_id.get(run_id[2:]), starts.get(run_id[2:], 0)):
                break
            continue
        facts = source.readline(answers.LONGEST_LINE).decode("utf-8", "replace")
        if run_id not in by_id or not slurm_state.is_facts(facts):
            continue
        try:
            found[run_id] = slurm_state.judged(slurm_state.read_facts(facts, where), where)
        except UnreachableError as error:
            silent = error
        except AmlexecError:
            continue  # the run alone is asked about it, and then says what is wrong
    if silent is not None and not found:
        raise silent
    return found


def _take_metrics(source: IO[bytes], paths: RunPaths | None, start: int) -> bool:
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
