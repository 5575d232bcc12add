"""PLAN is pure: from a declaration and a command line to a plan or an error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from amlexec import plan as plan_module
from amlexec.errors import UsageError
from amlexec.plan import plan
from amlexec.values import ComputeTarget, Declaration, Place, Project, RunConfiguration, Violation

LOCAL = ComputeTarget("local", "local", Place("aml_config/local.compute"))
CONFIGURATION = RunConfiguration("local", Place("aml_config/local.runconfig"), "local")


def declaration(**changes: object) -> Declaration:
    return Declaration(Project("/p"), CONFIGURATION._replace(**changes), LOCAL)


def test_a_script_replaces_the_whole_vector() -> None:
    planned = plan(declaration(argument_vector=("other.py", "--x")), "train.py", ["--lr", "1"])
    assert (planned.script, planned.arguments) == ("train.py", ("--lr", "1"))


def test_without_a_script_the_vector_runs() -> None:
    planned = plan(declaration(argument_vector=("train.py", "--x", "2")), None)
    assert (planned.script, planned.arguments) == ("train.py", ("--x", "2"))


@pytest.mark.parametrize("vector", [(), ("$file",), ("train.py", "$file")])
def test_no_script(vector: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as raised:
        plan(declaration(argument_vector=vector, argument_vector_place=Place("a.runconfig", 3, 5)), None)
    assert raised.value.where == ("a.runconfig:3:5" if vector else "aml_config/local.runconfig")
    assert "doit submit:local script=SCRIPT" in raised.value.hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("./train.py", "train.py"), ("a\\b.py", "a/b.py"), ("a//b/../c.py", "a/c.py"), ("../x.py", "../x.py")],
)
def test_the_scripts_path_is_normalized(typed: str, meant: str) -> None:
    assert plan(declaration(), typed).script == meant


def test_tracking_can_only_be_turned_off() -> None:
    assert plan(declaration(), "x.py").tracked
    assert not plan(declaration(), "x.py", tracked=False).tracked
    assert not plan(declaration(tracked_run=False), "x.py", tracked=True).tracked


def test_notes_become_warnings() -> None:
    note = Violation(Place("f", 1, 2), "warning", "odd", "do this")
    planned = plan(declaration()._replace(notes=(note,)), "x.py")
    assert planned.warnings == ("f:1:2: warning: odd", "  hint: do this")


def test_only_values_are_read() -> None:
    imported = {
        name.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(Path(plan_module.__file__).read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert imported <= {
        *("__future__", "re", "typing", "collections.abc"),
        *("amlexec.errors", "amlexec.light_typing", "amlexec.values"),
    }


def test_a_variable_comes_from_the_submitting_command() -> None:
    declared = (("API_KEY", "${env:MY_KEY}"), ("URL", "https://${env:MY_KEY}@h/${x}"), ("N", "1"))
    planned = plan(declaration(environment_variables=declared), "x.py", environment={"MY_KEY": "canary"})
    assert planned.environment_variables == (
        ("API_KEY", "canary"),
        ("URL", "https://canary@h/${x}"),
        ("N", "1"),
    )
    assert planned.handed_over == declared[:2]
    with pytest.raises(UsageError, match="the variable MY_KEY is not set") as raised:
        plan(declaration(environment_variables=declared), "x.py")
    assert raised.value.where == "aml_config/local.runconfig"
