"""The doit command that loads our tasks: what it is asked is checked before it does anything.

doit has no hook between reading the command line and obeying it: `doit_internals` makes one.
"""

from __future__ import annotations

import functools
import shlex
from typing import TYPE_CHECKING, Any

from doit.cmd_clean import Clean
from doit.cmd_help import Help
from doit.cmd_info import Info
from doit.cmd_run import Run

from amlexec import doit_graph, doit_internals, doit_signals
from amlexec.console import data, say, show
from amlexec.doit_reporter import CALL, environment_of, output, reporters
from amlexec.errors import AmlexecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["READ", "enter"]

READ: dict[str, set[str]] = {}
"""By task: the command line's variables (`name=value`) that it reads. The tasks' modules fill it in."""
_MOST_LISTED = 8
_OURS = ("lint", "prepare", "submit")


def enter() -> Any | None:
    """Stand before the doit command that is loading the tasks, which is returned. Idempotent.

    None where no doit command calls for them.
    """
    command = doit_internals.loading_command()
    if command is not None:
        command.outstream = output()
        doit_internals.intercept(command, functools.partial(_execute, command))
    return command


def _execute(command: Any, execute: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    CALL.__init__()  # type: ignore[misc]
    CALL.is_always = bool(options.get("always"))
    tasks = {task.name: task for task in command.task_list}
    try:
        _check_names(command, tasks)
        doit_graph.complete(command, tasks, options)
        if isinstance(command, Run):
            _check_submit(command, tasks)
            _check_variables(doit_graph.needed(command.sel_tasks or (), tasks))
            if isinstance(options.get("reporter"), str):
                command.reporters = command.reporters | reporters()
        if isinstance(command, Info):
            command.get_reasons = functools.partial(_reasons, command, tasks[command.sel_tasks[0]])
        code = execute(*arguments, **options)
    except (AmlexecError, KeyboardInterrupt, OSError) as error:
        shown = show(error)
        raise SystemExit(doit_signals.code() or shown) from None
    if isinstance(command, Info):
        environment = environment_of(tasks[command.sel_tasks[0]])
        if environment is not None and environment.is_ready:
            data(f"\nreason     : {environment.reason}")
    if isinstance(command, Clean) and command.sel_default_tasks and not options.get("cleanall"):
        say("`doit clean prepare` removes the environments; `amlexec experiment clean --all` what runs left")
    if isinstance(command, Run):
        if command.sel_default_tasks and command.sel_tasks == ["lint"] and not code and not CALL.code:
            _list(tasks)
        code = doit_signals.code() or (max(code, CALL.code) if CALL.others else CALL.code or code)
    return CALL.code if isinstance(command, Clean) else code


def _check_names(command: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse a name that no task has, with those that are near.

    Raises:
        UsageError: there is one, or what follows a task was meant for a script.
    """
    if command.name == "tabcompletion" or command.sel_default_tasks:
        return
    words = list(command.sel_tasks)
    if any(task.loader for task in tasks.values()):
        return  # tasks that are made later may have any name
    targets = {target for task in tasks.values() for target in task.targets}
    before = ""
    for at, word in enumerate(words):
        if word in tasks:
            before = word
        elif word.startswith("-") or (before.startswith("submit:") and word not in targets):
            if _is_ours(before):
                raise _not_ours(command, before, words[at:], tasks)
            if before and tasks[before].params:
                return  # options of a task of the user's own
        elif "*" not in word and word not in targets and not (before and _takes_more(tasks[before])):
            raise _unknown(command, word, tasks)


def _takes_more(task: Any) -> bool:
    return bool(task.pos_arg or task.params)


def _is_ours(name: str) -> bool:
    return name.partition(":")[0] in _OURS


def _not_ours(command: Any, task: str, words: list[str], tasks: Mapping[str, Any]) -> AmlexecError:
    """What follows a task of ours on the command line, and is neither a task nor a variable."""
    options = command.get_options()
    if words[0].partition("=")[0] in {f"-{one.short}" for one in options if one.short} | {
        f"--{one.long}" for one in options if one.long
    }:
        return UsageError(
            f"{words[0]} stands after a task", hint=f"doit's own options come first: doit {words[0]} … {task}"
        )
    if not task.startswith("submit"):
        return UsageError(f"{task} takes no options", hint=f"doit help {task}")
    given = doit_internals.variables()
    if words[0].partition(":")[0] in tasks:
        return _unknown(command, words[0], tasks)
    script, rest = given.get("script"), words
    if script is None and not words[0].startswith("-"):
        script, rest = words[0], words[1:]
    called = f"doit {task} script={script or 'SCRIPT'}"
    more = shlex.join([*shlex.split(given.get("args", "")), *rest]) if rest else given.get("args", "")
    if more:
        called += f" args={shlex.quote(more)}"
    if not rest:
        return UsageError(f"{words[0]} is no task", hint=f"a script is given as script=: {called}")
    what = f"doit has no option {rest[0]}" if rest[0].startswith("-") else f"{rest[0]} is no task"
    return UsageError(what, hint=f"a script's arguments are given as args=: {called}")


def _near(word: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, list(known), n=3)


def _near_task(word: str, known: Iterable[str]) -> list[str]:
    """The tasks that may have been meant. Of a group that is named rightly, they are its members."""
    group, colon, member = word.partition(":")
    members = [name.partition(":")[2] for name in known if colon and name.startswith(f"{group}:")]
    if members:
        return [f"{group}:{name}" for name in _near(member, members)]
    return _near(word, [name for name in known if ":" not in name])


def _unknown(command: Any, word: str, tasks: Mapping[str, Any]) -> AmlexecError:
    is_either = isinstance(command, (Run, Help))
    near = _near_task(word, [*tasks, *(command.loader.cmd_names if is_either else ())])
    what = "task or command" if is_either else "task"
    hint = f"did you mean {' or '.join(near)}?" if near else "doit list --all says which there are"
    return UsageError(f"there is no {what} {word}", hint=hint)


def _check_submit(command: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse `doit submit`, which would be a run on each of several run configurations.

    Raises:
        UsageError: it is asked for.
    """
    if "submit" not in (command.sel_tasks or ()) or "submit" not in tasks:
        return
    names = [name for name in tasks["submit"].task_dep if tasks[name].subtask_of == "submit"]
    if len(names) == 1:
        return
    if not names:
        raise UsageError("there are no run configurations yet", hint="amlexec init makes some")
    given = doit_internals.variables()
    words = " ".join(f"{key}={shlex.quote(value)}" for key, value in given.items()) or "script=SCRIPT"
    raise UsageError(
        f"submit runs on one run configuration, and this project has {len(names)}: "
        + ", ".join(name.partition(":")[2] for name in names),
        hint=f"name one: doit {names[-1]} {words}",
    )


def _check_variables(selected: Iterable[str]) -> None:
    """Refuse variables that nobody reads, before anything runs.

    Raises:
        UsageError: there is one.
    """
    given = set(doit_internals.variables())
    wanted = {name for task in selected for name in READ.get(task.partition(":")[0].rstrip("*"), ())}
    unread = sorted(given - wanted - READ.get("", set()))
    if not unread:
        return
    near = _near(unread[0], sorted(wanted))
    if near:
        hint = f"did you mean {near[0]}=?"
    elif wanted:
        hint = f"there are {' and '.join(f'{known}=' for known in sorted(wanted, reverse=True))}"
    else:
        hint = "the tasks that were asked for take no variables"
    raise UsageError(
        f"unknown variable {unread[0]}=",
        hint=f"{hint}; a dodo.py that reads variables of its own says so with amlexec.tasks.variables()",
    )


def _reasons(command: Any, task: Any, reasons: Any) -> str:
    """Why `doit info` says that a task is to run. doit would show our objects as Python does."""
    if task.has_subtask and _is_ours(task.name):
        return " * This is a group: `doit info` tells of each task in it."
    lines = [
        f" * {call.words()}" for call, _, _ in reasons.get("uptodate_false", ()) if hasattr(call, "words")
    ]
    rest = reasons.copy()  # what is missing in it is empty
    rest["uptodate_false"] = [one for one in reasons["uptodate_false"] if not hasattr(one[0], "words")]
    if environment_of(task) is not None and not command.dep_manager.backend.get(task.name, "deps:"):
        rest["changed_file_dep"] = []  # all of them: it was never executed
    return "\n".join([*lines, *filter(None, [Info.get_reasons(rest)])])


def _list(tasks: Mapping[str, Any]) -> None:
    """After a bare `doit`: what else can be typed."""
    rows = []
    if "prepare" in tasks:
        rows.append(("prepare", tasks["prepare"].doc))
    submits = [
        (f"{name} script=SCRIPT", task.doc) for name, task in tasks.items() if task.subtask_of == "submit"
    ]
    rows += submits[:_MOST_LISTED]
    own = [name for name, task in tasks.items() if not (_is_ours(name) or task.subtask_of)]
    rows += [(name, tasks[name].doc or "") for name in own if not name.startswith("_")][:_MOST_LISTED]
    rows.append(("list --all", "list all tasks"))
    width = max(len(name) for name, _ in rows)
    data("\nWhat else can be done:\n")
    for name, doc in rows:
        data(f"  doit {name:{width}}  {doc}")
