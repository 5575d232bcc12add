"""The private parts of doit that amlexec uses. If one of these tests fails, doit has changed."""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doit import version
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.reporter import ZeroReporter

from amlexec import doit_internals as internals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHANGED = f"doit {'.'.join(map(str, version.VERSION))} has changed what doit_internals.py reaches for: "
ROOT = Path(__file__).parents[1]


def doit(tasks: dict[str, Any], *words: str) -> int:
    """`doit WORDS` in this process."""
    with tempfile.TemporaryDirectory() as folder:
        # Not SQLite: `doit list` leaves it open, which is an error from Python 3.13 on.
        config = {"GLOBAL": {"dep_file": f"{folder}/doit.json", "backend": "json"}}
        return int(DoitMain(ModuleTaskLoader(tasks), extra_config=config).run([*words]))


@pytest.mark.parametrize(("words", "kind"), [(["list"], "List"), (["info", "x"], "Info"), (["x"], "Run")])
def test_the_command_that_loads_tasks(words: list[str], kind: str) -> None:
    seen = []

    def task_x() -> dict[str, Any]:
        seen.append(internals.loading_command())
        return {"actions": [lambda: True]}

    doit({"task_x": task_x}, *words)
    assert [type(one).__name__ for one in seen] == [kind], f"{CHANGED}the command among the callers"
    assert internals.loading_command() is None


def test_a_command_is_intercepted() -> None:
    steps: list[str] = []
    options: dict[str, Any] = {}

    def call(execute: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
        options.update(given)
        steps.append("before")
        return execute(*arguments, **given)

    def task_x() -> dict[str, Any]:
        command = internals.loading_command()
        internals.intercept(command, call)
        internals.intercept(command, call)
        return {"actions": [lambda: steps.append("done")]}

    assert doit({"task_x": task_x}, "-a", "x") == 0
    assert steps == ["before", "done"], f"{CHANGED}`_execute` of a command"
    assert options["always"] is True, f"{CHANGED}the option `always` of `doit -a`"


def test_variables_of_the_command_line() -> None:
    seen: list[Any] = []

    def task_x() -> dict[str, Any]:
        seen.append(internals.variables())
        return {"actions": [lambda: True]}

    doit({"task_x": task_x}, "list", "a=b", "c=d=e")
    assert seen == [{"a": "b", "c": "d=e"}], f"{CHANGED}`doit_cmd._CMDLINE_VARS`"


def test_the_caller_of_uptodate() -> None:
    asked = []

    def is_there(task: Any) -> bool:
        asked.append(internals.is_about_to_run(task))
        return True

    def task_x() -> dict[str, Any]:
        return {"actions": [lambda: True], "uptodate": [is_there]}

    for words in (["x"], ["info", "x"], ["list", "--status"], ["-r", "zero", "x"], ["-v0", "x"]):
        doit({"task_x": task_x}, *words)
    assert asked == [True, False, False, True, True], f"{CHANGED}the verbosity that a runner gives a task"


@pytest.mark.parametrize("mode", [[], ["-n", "2", "-P", "thread"]], ids=["one process", "threads"])
def test_a_runner_is_stopped(mode: list[str]) -> None:
    done: list[str] = []

    class Stopping(ZeroReporter):  # type: ignore[misc]
        def initialize(self, tasks: Any, selected_tasks: Any) -> None:
            super().initialize(tasks, selected_tasks)
            self.runner = internals.running_runner()

        def add_success(self, task: Any) -> None:
            done.append(task.name)
            internals.stop(self.runner)

    def task_x() -> Iterator[dict[str, Any]]:
        for number in range(9):
            yield {"name": str(number), "actions": [lambda: True]}

    assert doit({"task_x": task_x, "DOIT_CONFIG": {"reporter": Stopping}}, *mode, "x") == 0
    assert 1 <= len(done) <= 3, f"{CHANGED}the runner among a reporter's callers, or its `_stop_running`"
    assert internals.running_runner() is None


def test_no_other_module_uses_private_parts() -> None:
    """In other modules that import doit, only `self` has attributes that begin with `_`."""
    checked = []
    for path in (ROOT / "amlexec").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [
            one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
        ]
        if path.name == "doit_internals.py" or not any(one.split(".")[0] == "doit" for one in imported):
            continue
        checked.append(path.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                is_own = isinstance(node.value, ast.Name) and node.value.id in {"self", "_state"}
                assert is_own or node.attr.startswith("__"), (path, node.lineno, node.attr)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in {"_CMDLINE_VARS", "_execute", "_stop_running"}, (path, node.lineno)
    assert {"tasks.py", "doit_command.py", "doit_reporter.py"} <= set(checked)
