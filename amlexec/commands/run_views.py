"""Runs as the commands show them: with the status of now, and in an output format."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import output, run_files, run_view
from amlexec.errors import AmlexecError, NoContactError
from amlexec.history import folders, listing, notes, tags
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Run, is_run_id

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = [
    "answer",
    "marks_of",
    "now",
    "of_many",
    "of_names",
    "show",
    "stream",
    "view_of",
    "views",
    "warn",
    "with_states",
]


_AT_ONCE = 1000
"""Records that are read before targets are asked."""


def of_many(project: Project, records: Iterable[Run], silent: dict[str, NoContactError]) -> dict[str, State]:
    """The states, by run id and for `now`, of runs on targets that tell the states of many in one call."""
    from amlexec.runs import many

    found: dict[str, State] = {}
    for runs in many.by_target(records):
        try:
            found |= many.states(project, runs)
        except AmlexecError as error:
            if isinstance(error, NoContactError):
                warn(error)
                silent[runs[0].target] = error
    return found


def now(
    project: Project,
    record: Run,
    silent: dict[str, NoContactError] | None = None,
    states: Mapping[str, State] | None = None,
) -> Run:
    """The run with its current status, or, if its target can't be reached, with the recorded one.

    Adds unreachable targets to `silent`, and does not ask those in it again. `states` has states that
    `of_many` has just read.
    """
    if record.status in FINAL or (silent is not None and record.target in silent):
        return record
    from amlexec.history import live_outputs
    from amlexec.runs import lifecycle

    try:
        state = states.get(record.run_id) if states else None
        record = lifecycle.refresh(project, record, state, is_fresh=state is not None)
        if record.status not in FINAL:
            logged = live_outputs.summary(RunPaths.of(project, record.run_id))
            record = record._replace(metrics=logged.values, metric_counts=logged.counts)
            if logged.unreadable:
                console.say(
                    f"warning: {record.run_id}: {logged.unreadable} lines of metrics.jsonl are unreadable"
                )
    except AmlexecError as error:
        warn(error)
        if silent is not None and isinstance(error, NoContactError):
            silent[record.target] = error
    except OSError as error:
        warn(console.system_error(error))
    return record


def warn(problem: AmlexecError) -> None:
    """Print a problem that does not stop the command."""
    place = f"{problem.where}: " if problem.where else ""
    console.say(f"{place}warning: {problem.message}")


def view_of(project: Project, record: Run) -> dict[str, Any]:
    """A run in the form of `history info -o json`, from its record alone: no connections."""
    return views(project, [record])[0]


def views(
    project: Project, records: Sequence[Run], *, files: bool = True, silent: Container[str] = ()
) -> list[dict[str, Any]]:
    """Runs in the form of `history list -o json`.

    Args:
        project: theirs.
        records: the runs.
        files: whether the names of their files are read.
        silent: targets that can't be reached.
    """
    numbers = _numbers(project)
    return [_view(project, record, numbers, files=files, silent=silent) for record in records]


def _view(
    project: Project, record: Run, numbers: Mapping[str, int], *, files: bool, silent: Container[str]
) -> dict[str, Any]:
    marks, note = marks_of(project, record.run_id)
    return run_view.flat(
        record,
        number=numbers.get(record.run_id),
        attachments=_attachments(project, record) if files else (),
        project=project.name,
        now=datetime.now(timezone.utc),
        unreachable=record.target in silent and record.status not in FINAL,
        tags=marks,
        note=note,
    )


def _attachments(project: Project, record: Run) -> list[str]:
    return run_files.names(
        RunPaths.of(project, record.run_id), lambda error: warn(console.system_error(error))
    )


def marks_of(project: Project, run_id: str) -> tuple[dict[str, str], str]:
    """The tags and the note of a run; without those that can't be read."""
    paths = RunPaths.of(project, run_id)
    try:
        return tags.read(paths), notes.read(paths)
    except OSError as error:
        warn(console.system_error(error))
        return {}, ""


def of_names(
    project: Project,
    names: Iterable[str],
    *,
    files: bool,
    silent: dict[str, NoContactError],
    numbered: bool = False,
) -> Iterator[dict[str, Any]]:
    """The runs of these names as `views` gives them, with the status of now, readable or not; one by one.

    Their numbers are None unless they are asked for, with `numbered` or with `files`.
    """
    numbers = _numbers(project) if files or numbered else {}
    for entry, states in with_states(project, listing.read(project, names), silent):
        if isinstance(entry, listing.Broken):
            yield run_view.broken(
                entry.name, entry.reason, number=numbers.get(entry.name), project=project.name
            )
        else:
            record = now(project, entry, silent, states)
            yield _view(project, record, numbers, files=files, silent=silent)


def with_states(
    project: Project, entries: Iterable[Run | listing.Broken], silent: dict[str, NoContactError]
) -> Iterator[tuple[Run | listing.Broken, dict[str, State]]]:
    """The entries, each with the states that `of_many` has read for it and its neighbours."""
    entries = iter(entries)
    while several := list(islice(entries, _AT_ONCE)):
        states = of_many(project, (each for each in several if not isinstance(each, listing.Broken)), silent)
        for entry in several:
            yield entry, states


def stream(shown: Iterable[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print runs as JSON as `show` does, one after the other: not all are in memory."""
    is_first = True
    for view in shown:
        text = output.as_json(run_view.flattened(view) if arguments.flat else view)
        console.write(("[\n  " if is_first else ",\n  ") + text.replace("\n", "\n  "))
        is_first = False
    console.write("[]\n" if is_first else "\n]\n")


def _numbers(project: Project) -> dict[str, int]:
    """The number of every run by the time in its id; the oldest is 1."""
    newest = listing.newest_of([name for name in folders.names(project) if is_run_id(name)])
    return {name: place for place, name in zip(range(len(newest), 0, -1), newest, strict=True)}


def show(value: Any, arguments: argparse.Namespace) -> None:
    """Print `value`, or the result of `--query`, in the output format."""
    if getattr(arguments, "flat", False):
        value = (
            [run_view.flattened(each) for each in value]
            if isinstance(value, list)
            else run_view.flattened(value)
        )
    answer(value, arguments)


def answer(value: Any, arguments: argparse.Namespace) -> None:
    """Print any `value` as `show` does."""
    if arguments.query is not None:
        value = output.query(arguments.query, value)
    console.data(output.render(value, arguments.output))
