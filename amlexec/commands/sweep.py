"""`amlexec sweep`: list sweeps, show one, stop or cancel it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands.options import add_project, project_of
from amlexec.errors import AmlexecError, TargetError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.sweeps.store import SweepPaths
    from amlexec.values import Project

__all__ = ["add", "run"]

_STARTING_TIMEOUT_S = 30.0
_SWEEP = "sweep id, a unique prefix of it, or `last`"


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    group = groups.add_parser("sweep", help="list, watch, stop and cancel sweeps", allow_abbrev=False)
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True)
    about = {
        "list": "list the sweeps, newest first",
        "status": "show a sweep, its points and the best one",
        "stop": "start no more runs of a sweep; those that run may end",
        "cancel": "start no more runs of a sweep, and cancel those that run",
    }
    for name, text in about.items():
        verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name != "list":
            verb.add_argument(
                "sweep", nargs="?", default="last", metavar="SWEEP", help=f"{_SWEEP} (the default)"
            )
        add_project(verb)
        if name in {"list", "status"}:
            verb.add_argument(
                "-o", "--output", choices=["table", "json"], default="table", help="output format"
            )


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = project_of(arguments)
    verbs: dict[str, Callable[[Project, argparse.Namespace], None]] = {
        "list": _list,
        "status": _status,
        "stop": _stop,
        "cancel": _cancel,
    }
    verbs[arguments.verb](project, arguments)
    return 0


def _list(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.commands import output, sweep_of_doit, sweep_view
    from amlexec.sweeps import store

    found: list[dict[str, Any]] = []
    for name in reversed(store.ids(project)):
        paths = store.find(project, name)
        try:
            found.append(sweep_view.summary(paths, store.load(paths), store.states(paths)))
        except (AmlexecError, OSError) as error:
            console.say(f"warning: {error}")
    found += [sweep_view.summary(*each) for each in sweep_of_doit.all_of(project)]
    if arguments.output == "json":
        console.data(output.as_json(found))
    elif found:
        console.data(sweep_view.listing(found))
    else:
        console.say("there are no sweeps yet: amlexec experiment sweep -c local SCRIPT --lr 0.1,0.01")


def _status(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.commands import output, sweep_of_doit, sweep_view
    from amlexec.sweeps import store

    of_doit = sweep_of_doit.named(project, arguments.sweep)
    if of_doit is not None:
        paths, definition, states = of_doit
    else:
        paths = store.find(project, arguments.sweep)
        definition, states = store.load(paths), store.states(paths)
    found = sweep_view.describe(paths, definition, states)
    if arguments.output == "json":
        console.data(output.as_json(found))
        return
    console.data(sweep_view.points_table(found, output.terminal_width()))
    console.data("")
    for line in sweep_view.ending(paths, definition, states):
        console.data(line)
    if of_doit is not None and found["state"] == "stopped":
        console.say(f"continue it: doit sweep:{found['run_configurations'][0]}")
    elif found["state"] == "stopped":
        console.say(f"it is not running; continue it: amlexec experiment sweep --resume {definition.id}")


def _stop(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.commands import sweep_of_doit
    from amlexec.sweeps import store

    sweep_of_doit.must_have_process(arguments.sweep)
    paths = store.find(project, arguments.sweep)
    if store.is_running(paths):
        store.ask_to_stop(paths)
    elif not _withdraw(project, paths):
        console.say(f"the sweep {paths.folder.name} is not running")
        return
    console.data(f"{paths.folder.name} starts no more runs")


def _cancel(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.commands import sweep_of_doit
    from amlexec.sweeps import store

    sweep_of_doit.must_have_process(arguments.sweep)
    paths = store.find(project, arguments.sweep)
    before = _queued(paths)
    if not store.is_running(paths):
        _withdraw(project, paths)
    store.ask_to_stop(paths)
    done: dict[str, bool] = {}
    problems: list[str] = []
    until = time.monotonic() + _STARTING_TIMEOUT_S
    while True:
        is_late = time.monotonic() > until
        live = [state for state in store.states(paths).values() if not state.is_over]
        if store.is_running(paths) and not is_late:
            # The sweep's own process takes these out of the queue, all at once.
            live = [state if state.status != "Queued" else state.claimed("", None) for state in live]
        for run_id in [state.run_id for state in live if state.run_id and state.run_id not in done]:
            done[run_id] = _canceled(project, run_id, paths.folder.name, problems)
        # A run that is being started at this moment has no id yet.
        starting = any(state.status == "Starting" for state in live)
        if not starting or not store.is_running(paths) or is_late:
            break
        time.sleep(0.1)
    for problem in problems:
        console.say(f"warning: {problem}")
    gone = len(before - _queued(paths) - done.keys())
    taken = f", and {gone} were taken out of the queue" if gone else ""
    console.data(f"{paths.folder.name} starts no more runs; {sum(done.values())} were canceled{taken}")
    if problems:
        raise TargetError(f"{len(problems)} runs could not be canceled")


def _queued(paths: SweepPaths) -> set[str]:
    """The runs of a sweep that wait in a cluster's queue."""
    from amlexec.sweeps import store

    return {state.run_id for state in store.states(paths).values() if state.status == "Queued"}


def _withdraw(project: Project, paths: SweepPaths) -> bool:
    """Take the runs of a sweep without a process out of the cluster's queue; whether there were any.

    Raises:
        TargetError: the cluster can't be reached.
    """
    from amlexec.sweeps import array
    from amlexec.sweeps.sweep import open_again

    if not _queued(paths):
        return False
    with open_again(project, paths) as opened:
        return array.withdraw_queued(opened)


def _canceled(project: Project, run_id: str, sweep_id: str, problems: list[str]) -> bool:
    """Cancel a run; whether this ended it. Adds a sentence to `problems` if it can't be canceled."""
    from amlexec.history.paths import RunPaths
    from amlexec.runs import lifecycle

    try:
        reason = f"the sweep {sweep_id} was canceled"
        return lifecycle.cancel(project, RunPaths.of(project, run_id), reason=reason)[1]
    except (AmlexecError, OSError) as error:
        problems.append(f"{run_id}: {error}")
        return False
