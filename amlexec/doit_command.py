"""Check the command line of doit before it runs: names of tasks, options, variables.

doit has no hook between parsing the command line and running the command: `doit_internals` adds one.
"""

from __future__ import annotations

import functools

from doit.cmd_clean import Clean
from doit.cmd_help import Help
from doit.cmd_info import Info
from doit.cmd_run import Run

from amlexec import doit_graph, doit_internals, doit_signals
from amlexec.console import data, say, show
from amlexec.doit_reporter import CALL, environment_of, output, reporters
from amlexec.errors import AmlexecError, UsageError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

__all__ = ["READ", "enter"]

READ: dict[str, set[str]] = {}
"""Task -> the variables (`name=value`) of the command line that it reads. The modules with tasks fill it."""
_MOST_LISTED = 8
_OURS = ("lint", "prepare", "submit", "sweep")


def enter() -> Any | None:
    """Intercept the doit command that is loading the tasks, and return it. Idempotent.

    None if no doit command loads them.
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
        shown = show(KeyboardInterrupt() if doit_signals.code() else error)  # which has led to the error
        raise SystemExit(doit_signals.code() or shown) from None
    if isinstance(command, Info):
        environment = environment_of(tasks[command.sel_tasks[0]])
        if environment is not None and environment.is_ready:
            data(f"\nreason     : {environment.reason}")
    if isinstance(command, Clean) and command.sel_default_tasks and not options.get("cleanall"):
        say("`doit clean prepare` removes environments; `amlexec experiment clean --all` cleans up runs")
    if isinstance(command, Run):
        if command.sel_default_tasks and command.sel_tasks == ["lint"] and not code and not CALL.code:
            _list(tasks)
        code = doit_signals.code() or (max(code, CALL.code) if CALL.others else CALL.code or code)
    return CALL.code if isinstance(command, Clean) else code


def _check_names(command: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse unknown names of tasks, with similar names as a hint.

    Raises:
        UsageError: a task is unknown, or words after a task are meant for its script.
    """
    if command.name == "tabcompletion" or command.sel_default_tasks:
        return
    words = list(command.sel_tasks)
    if any(task.loader for task in tasks.values()):
        return  # tasks that are created later may have any name
    targets = {target for task in tasks.values() for target in task.targets}
    before = ""
    for at, word in enumerate(words):
        if word in tasks:
            before = word
        elif word.startswith("-") or (before.startswith("submit:") and word not in targets):
            if _is_ours(before):
                raise _not_ours(command, before, words[at:], tasks)
            if before and tasks[before].params:
                return  # options of the user's own task
        elif "*" not in word and word not in targets and not (before and _takes_more(tasks[before])):
            raise _unknown(command, word, tasks)


def _takes_more(task: Any) -> bool:
    return bool(task.pos_arg or task.params)


def _is_ours(name: str) -> bool:
    return name.partition(":")[0] in _OURS


def _not_ours(command: Any, task: str, words: list[str], tasks: Mapping[str, Any]) -> AmlexecError:
    """The error for a word after one of amlexec's tasks that is neither a task nor a variable."""
    import shlex

    options = command.get_options()
    names = {f"-{option.short}" for option in options if option.short}
    names |= {f"--{option.long}" for option in options if option.long}
    if words[0].partition("=")[0] in names:
        return UsageError(
            f"the option {words[0]} follows a task",
            hint=f"doit's own options come first: doit {words[0]} … {task}",
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
        return UsageError(f"{words[0]} is not a task", hint=f"name a script with script=: {called}")
    what = f"doit has no option {rest[0]}" if rest[0].startswith("-") else f"{rest[0]} is not a task"
    return UsageError(what, hint=f"pass arguments to a script with args=: {called}")


def _near(word: str, names: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, list(names), n=3)


def _near_task(word: str, names: Iterable[str]) -> list[str]:
    """Tasks with similar names; after an existing group, its members."""
    group, colon, member = word.partition(":")
    members = [name.partition(":")[2] for name in names if colon and name.startswith(f"{group}:")]
    if members:
        return [f"{group}:{name}" for name in _near(member, members)]
    return _near(word, [name for name in names if ":" not in name])


def _unknown(command: Any, word: str, tasks: Mapping[str, Any]) -> AmlexecError:
    is_either = isinstance(command, (Run, Help))
    near = _near_task(word, [*tasks, *(command.loader.cmd_names if is_either else ())])
    what = "task or command" if is_either else "task"
    hint = f"did you mean {' or '.join(near)}?" if near else "doit list --all lists the tasks"
    return UsageError(f"there is no {what} {word}", hint=hint)


def _check_submit(command: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse `doit submit`, which would submit a run for each of several run configurations.

    Raises:
        UsageError: `submit` is selected.
    """
    import shlex

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
    """Refuse variables that no selected task reads.

    Raises:
        UsageError: there is such a variable.
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
        hint = f"there are {' and '.join(f'{name}=' for name in sorted(wanted, reverse=True))}"
    else:
        hint = "the selected tasks take no variables"
    raise UsageError(
        f"unknown variable {unread[0]}=",
        hint=f"{hint}; a dodo.py declares its own variables with amlexec.tasks.variables()",
    )


def _reasons(command: Any, task: Any, reasons: Any) -> str:
    """The reasons that `doit info` prints. Without this, doit prints the `repr` of our objects."""
    if task.has_subtask and _is_ours(task.name):
        return " * This is a group: use `doit info` with one of its tasks."
    lines = [
        f" * {call.words()}" for call, _, _ in reasons.get("uptodate_false", ()) if hasattr(call, "words")
    ]
    rest = reasons.copy()  # a default dictionary
    rest["uptodate_false"] = [check for check in reasons["uptodate_false"] if not hasattr(check[0], "words")]
    if environment_of(task) is not None and not command.dep_manager.backend.get(task.name, "deps:"):
        rest["changed_file_dep"] = []  # every file: it was never executed
    return "\n".join([*lines, *filter(None, [Info.get_reasons(rest)])])


def _list(tasks: Mapping[str, Any]) -> None:
    """Print, after a bare `doit`, the other tasks to type."""
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
    data("\nOther tasks:\n")
    for name, doc in rows:
        data(f"  doit {name:{width}}  {doc}")
