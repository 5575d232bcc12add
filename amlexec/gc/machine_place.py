"""A machine over SSH: what amlexec has in the user's home there, in `~/.amlexec`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.environments.ownership import ownership
from amlexec.gc import needed
from amlexec.gc.model import CACHE, EXTRA, LEFTOVER, PART, ROOT, Item
from amlexec.gc.places import Outcome
from amlexec.history.record import is_run_id
from amlexec.owner import owner_of
from amlexec.prefixes.remote_prefix import NAME_LENGTH, failed, script
from amlexec.prefixes.store import PrefixStore
from amlexec.targets.ssh_verbs import Verbs, runtime_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.gc.project_items import ProjectRuns
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import Project

__all__ = ["MachinePlace"]

_NAME = r"[^/\x00-\x1f]{1,250}"
_LINE = re.compile(
    r"(?P<kind>[a-z]+) (?P<size>[0-9]{1,15}) (?P<changed>[0-9]{1,12}) (?P<name>[^\x00-\x1f]{1,250})"
)
"""A "/" in the name is a line end."""
_USES = re.compile(r"uses (?P<environment>[0-9a-f]{64}|-) (?P<jars>spark-[0-9a-f]{32}\.zip)")
_LINK = re.compile(rf"link (?P<environment>[^/ \x00-\x1f]{{1,250}}) (?P<package>{_NAME})")
_PART = re.compile(r"part (?P<array>[^/ \x00-\x1f]{1,250}) (?P<run>[^/ \x00-\x1f]{1,250})")
_ABANDONED_S = 30 * 86400
"""After this time without a submission, another project's mirror may go; seconds."""
_YOUNG_S = 86400
"""Runtime files that arrived since may belong to a run that is being submitted."""
_WHY = {
    "used": "it is in use",
    "locked": "a prepare on that machine is in progress",
    "needed": "a run of another project needs it",
    "others": "it belongs to another project",
}
_TIMEOUT_S = 600.0
_NO_ENVIRONMENT = "-"


class _Survey(NamedTuple):
    """What the machine has; sizes in bytes, and times, by kind and name."""

    entries: dict[str, dict[str, tuple[int, int]]]
    links: dict[str, list[str]]
    """The packages of environments."""
    locked: set[str]
    uses: dict[str, list[str]]
    """Spark's jars in a cluster, by the environments that were used with them; "-" is for none."""
    arrays: dict[str, str]
    """The job arrays of runs, by run id."""


class MachinePlace:
    """A `Place`. Environments of other projects are left alone."""

    def __init__(self, project: Project, name: str, connection: SSHConnection) -> None:
        """No I/O."""
        self.name = name
        self.targets = {name}
        self.prefix = f"machine:{name}:"
        self._project = project
        self._connection = connection
        self._store = PrefixStore(connection)
        self._verbs = Verbs(connection, runtime_digest())
        self._owner = owner_of(project)

    def items(self, runs: ProjectRuns) -> list[Item]:
        """See `Place.items`: two round trips."""
        survey = _parsed(self._run("survey", self._owner))
        known = {run.run_id: run for run in runs.facts}
        pinned = {run_id for run_id, run in known.items() if not run.is_finished or run.has_uncollected}
        found = [*self._environments(survey), *self._others(survey)]
        for run_id, (size, changed) in survey.entries.get("copy", {}).items():
            if is_run_id(run_id):
                role, pin = (EXTRA, "its run needs it" if run_id in pinned else "")
                if run_id not in known:
                    role, pin = ROOT, "its run is not in this project's history"
                key, array = f"{self.prefix}copy:{run_id}", survey.arrays.get(run_id)
                needs = (f"{self.prefix}array:{array}",) if array else ()
                used = float(changed)
                found.append(
                    Item(key, "copy", role, self.name, run_id, size, needs, pin, used, run_id=run_id)
                )
        return found

    def _environments(self, survey: _Survey) -> Iterator[Item]:
        is_ours = ownership(self._project)
        sizes = survey.entries.get("environment", {})
        whole = self._store.all() if sizes else {}
        for stored, installed in whole.items():
            digest = stored.removeprefix("sha256:")
            name = digest[:NAME_LENGTH]
            needs = tuple(f"{self.prefix}package:{package}" for package in survey.links.get(name, ()))
            role, size, pin = PART, sizes.get(name, (0, 0))[0], ""
            needs += tuple(f"{self.prefix}jars:{jars}" for jars in survey.uses.get(digest, ()))
            archives = survey.entries.get("archive", {}).items()
            size += sum(each for archive, (each, _) in archives if archive.startswith(name))
            if not is_ours(installed):
                role, size, pin = ROOT, 0, "it is another project's"
            elif name in survey.locked:
                pin = "it is being built"
            key = f"{self.prefix}environment:{name}"
            yield Item(key, "environment", role, self.name, name, size, needs, pin, digest=digest)

    def _others(self, survey: _Survey) -> Iterator[Item]:
        now = time.time()
        roles = {
            "package": PART,
            "unfinished": LEFTOVER,
            "installer": CACHE,
            "mirror": CACHE,
            "runtime": PART,
            "jars": PART,
            "array": PART,
            "withdrawn": LEFTOVER,
            "incoming": LEFTOVER,
            "unpacking": LEFTOVER,
            "secrets": LEFTOVER,
        }
        # Nothing says whether a Python that the user manages will run there again.
        free = set(survey.uses.get(_NO_ENVIRONMENT, ()))
        for kind, role in roles.items():
            for name, (size, changed) in survey.entries.get(kind, {}).items():
                pin, part = "", CACHE if kind == "jars" and name in free else role
                if kind == "mirror" and name != self._owner and now - changed < _ABANDONED_S:
                    continue
                if kind == "runtime" and (name == runtime_digest() or now - changed < _YOUNG_S):
                    pin = "the next run uses it"
                if kind == "package" and survey.locked:
                    pin = _WHY["locked"]
                key = f"{self.prefix}{kind}:{name}"
                yield Item(key, kind, part, self.name, name, size, (), pin, float(changed))

    def remove(self, items: Sequence[Item]) -> list[Outcome]:
        """See `Place.remove`."""
        by_kind: dict[str, list[Item]] = {}
        for item in items:
            by_kind.setdefault(item.kind, []).append(item)
        outcomes = []
        if copies := by_kind.pop("copy", []):
            answer = self._verbs.run(
                *("remove_all", self._owner), *(item.name for item in copies), timeout=_TIMEOUT_S
            )
            outcomes += _outcomes(copies, answer.stdout)
        for item in by_kind.pop("environment", []):
            outcomes.append(self._remove_environment(item))
        for item in by_kind.pop("mirror", []):
            answer = self._verbs.run("discard", item.name, timeout=_TIMEOUT_S)
            word = answer.stdout.strip().rpartition("\n")[2]
            outcomes.append(
                Outcome(item, "" if word == "gone" else _WHY.get(word, answer.stderr.strip()[-200:]))
            )
        for kind, found in by_kind.items():
            outcomes += _outcomes(found, self._run("discard", kind, *(item.name for item in found)))
        return outcomes

    def _remove_environment(self, item: Item) -> Outcome:
        with needed.unless_needed(self._project, item.digest) as why:
            if why:
                return Outcome(item, why)
            word = self._run("discard_environment", item.name, item.digest, self._owner).strip()
            needed.forget(self._project, item.digest)
        return Outcome(item, _WHY.get(word, ""))

    def _run(self, verb: str, *arguments: str) -> str:
        text = Path(__file__).with_name("machine.sh").read_text("utf-8")
        answer = self._connection.run(script(verb, more=text), *arguments, timeout=_TIMEOUT_S)
        if answer.exit_code != 0:
            raise failed(f"`{verb}` failed", answer.stderr, self._connection.name)
        return answer.stdout


def _parsed(output: str) -> _Survey:
    """What the machine has printed; other lines are passed over."""
    survey = _Survey({}, {}, set(), {}, {})
    for line in output.split("\n"):
        if (match := _LINE.fullmatch(line)) is not None:
            values = int(match["size"]), int(match["changed"])
            survey.entries.setdefault(match["kind"], {})[match["name"].replace("/", "\n")] = values
        elif (match := _LINK.fullmatch(line)) is not None:
            survey.links.setdefault(match["environment"], []).append(match["package"])
        elif (match := _PART.fullmatch(line)) is not None:
            survey.arrays[match["run"]] = match["array"]
        elif (match := _USES.fullmatch(line)) is not None:
            survey.uses.setdefault(match["environment"], []).append(match["jars"])
        elif line.startswith("locked "):
            survey.locked.add(line.removeprefix("locked "))
    return survey


def _outcomes(items: Sequence[Item], output: str) -> list[Outcome]:
    """The outcomes of items, from lines "NAME ANSWER"."""
    answers = dict(line.rsplit(" ", 1) for line in output.splitlines() if " " in line)
    found = []
    for item in items:
        word = answers.get(item.name, "")
        found.append(Outcome(item, "" if word == "gone" else _WHY.get(word, "it could not be removed")))
    return found
