"""Complete the graph of a project's tasks after doit has loaded them, and before it runs any."""

from __future__ import annotations

import fnmatch

from doit.cmd_clean import Clean
from doit.cmd_forget import Forget
from doit.cmd_help import Help
from doit.cmd_ignore import Ignore
from doit.cmd_info import Info
from doit.cmd_list import List
from doit.cmd_run import Run

from amlexec.doit_reporter import environment_of
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

__all__ = ["complete", "needed"]


class _Sorted(set[str]):
    """A set of files that iterates in sorted order, in which doit then prints them."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def complete(command: Any, tasks: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Complete the graph for a command of doit.

    - If the dodo.py has no `prepare:NAME`, or one of its own, `submit:NAME` does not depend on it: the run
      prepares its environment itself.
    - Files of local packages are listed by git, which is slow: they are added only to tasks whose files this
      command needs.
    - doit prints dependencies sorted.
    """
    for task in tasks.values():
        _wait_for_ours_only(task, tasks)
    for name in _looked_at(command, tasks, options):
        environment = environment_of(tasks[name])
        if environment is not None:
            tasks[name].update_deps({"file_dep": environment.package_files()})
    if isinstance(command, (Info, List)):
        for task in tasks.values():
            task.file_dep = _Sorted(task.file_dep)


def _wait_for_ours_only(task: Any, tasks: Mapping[str, Any]) -> None:
    if task.subtask_of not in {"submit", "sweep"} or not (task.getargs or {}).get("digest"):
        return
    prepare = task.getargs["digest"][0]
    if prepare not in tasks or environment_of(tasks[prepare]) is None:
        task.getargs, task.setup_tasks, task.task_dep, task.wild_dep = {}, [], [], []


def _looked_at(command: Any, tasks: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[str]:
    """The tasks whose files a command needs."""
    if isinstance(command, (Clean, Forget, Ignore, Help)) or command.name == "tabcompletion":
        return ()
    if isinstance(command, List) and not options.get("list_deps") and not options.get("status"):
        return ()
    if isinstance(command, (Run, Info)) and command.sel_tasks is not None:
        return needed(command.sel_tasks, tasks)
    return tasks


def needed(selected: Iterable[str], tasks: Mapping[str, Any]) -> set[str]:
    """The tasks that are selected by name, pattern or target, and all tasks that run before them."""
    makers = {target: task.name for task in tasks.values() for target in task.targets}
    if any(task.loader or task.calc_dep for task in tasks.values()):
        return set(tasks)  # dependencies are only known when tasks run
    found: set[str] = set()
    left = list(selected)
    while left:
        word = left.pop()
        names = fnmatch.filter(tasks, word) if "*" in word else [makers.get(word, word)]
        for name in names:
            if name in tasks and name not in found:
                found.add(name)
                task = tasks[name]
                left += [*task.task_dep, *task.wild_dep, *task.setup_tasks]
                left += [makers[file] for file in task.file_dep if file in makers]
    return found
