"""The command line: help, mistakes in it, and exit codes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec import __version__, cli

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder


@pytest.mark.parametrize("group", [[], *([name] for name in cli.GROUPS), ["experiment", "submit"]])
def test_help(project: ProjectFolder, group: list[str]) -> None:
    done = project.amlexec(*group, "--help")
    assert done.code == 0
    assert done.out.startswith("usage: amlexec")
    assert done.err == ""


@pytest.mark.parametrize("words", [[], ["experiment"], ["history"], ["computetarget"], ["runconfiguration"]])
def test_a_command_without_a_verb_prints_help(project: ProjectFolder, words: list[str]) -> None:
    """The help and no error, as in docker and kubectl."""
    done = project.amlexec(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out == project.amlexec(*words, "--help").out


def test_version(project: ProjectFolder) -> None:
    assert project.amlexec("--version").out == f"amlexec {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["expirement"], "unknown command 'expirement'\n  hint: did you mean experiment?"),
        (["history", "lsit"], "unknown verb 'lsit'\n  hint: did you mean list"),
        (["history", "list", "-o", "yaml"], "unknown output 'yaml'\n  hint: choose from table, json"),
        (["experiment", "-p", "."], "unknown verb '.'"),
        (["experiment", "submit", "train.py"], "-c"),
        (["experiment", "submit", "--target"], "--target"),
        (["experiment", "cancel", "-r", "x", "--grace", "-5"], "--grace"),
        (["experiment", "cancel", "-r", "x", "--grace", "soon"], "'soon'"),
        (["experiment", "status"], "-r"),
        (["experiment", "status", "-r", "nobody"], "nobody"),
        (["history", "info"], "-r"),
        (["lint", "README.md"], "README.md"),
    ],
)
def test_a_wrong_command_line_is_one_error(project: ProjectFolder, arguments: list[str], said: str) -> None:
    done = project.amlexec(*arguments)
    assert done.code == 3
    assert said in done.err
    assert "error: " in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_help_is_quick_to_start() -> None:
    """Slow modules are imported only where they are needed."""
    heavy = ["yaml", "jsonschema", "jmespath", "difflib", "doit", "subprocess", "sqlite3", "json"]
    code = f"import amlexec.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_submit_without_errors_imports_nothing_heavy(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    assert project.submit("train.py").code == 0
    code = (
        "import os, sys\nbefore = {*sys.modules}\nimport amlexec.cli\nos._exit = lambda code: None\n"
        "amlexec.cli.run(['experiment', 'submit', '-c', 'local', 'train.py'])\n"
        "heavy = {'yaml', 'jsonschema', 'jmespath', 'difflib', 'docker', 'requests', 'plumbum', 'typing',\n"
        "    'argparse', 'hashlib', 'dataclasses', 'tempfile'}\n"
        "print(sorted(heavy & sys.modules.keys() - before))"
    )
    done = project.call(sys.executable, "-c", code)
    assert done.code == 0, done.err
    assert done.out.endswith("[]\n")


LATE = {f"amlexec.snapshots.{name}" for name in ("errors", "index_entries", "new_store", "warnings")} | {
    *("amlexec.commands.running", "amlexec.history.record_checks", "amlexec.runs.lifecycle"),
    *("amlexec.targets.answers", "amlexec.targets.beneath"),
}
"""Modules that a submission needs only after its script's start, or if something has changed or failed."""
LATE_WITHOUT_DOIT = LATE | {
    *("amlexec.config.keys", "amlexec.dependencies", "amlexec.file_trees"),
    *("struct", "shlex", "pathlib", "shutil", "datetime"),
}
"""doit, or tasks other than `submit`, import these."""


@pytest.mark.parametrize(
    ("late", "call"),
    [
        (LATE_WITHOUT_DOIT, "cli.run(['experiment', 'submit', '-c', 'local', 'train.py'])"),
        (LATE, "doit_cmd.DoitMain().run(['submit:local', 'script=train.py'])"),
    ],
    ids=["amlexec", "doit"],
)
def test_what_comes_after_the_start_of_a_script_is_not_imported_before(
    project: ProjectFolder, late: set[str], call: str
) -> None:
    project.write("train.py", "print('x')\n")
    assert project.call(sys.executable, "-m", "doit", "submit:local", "script=train.py").code == 0
    code = (
        "import os, sys\nbefore = {*sys.modules}\n"
        "def look(event, arguments):\n"
        "    if event == 'subprocess.Popen' and 'supervisor.sh' in str(arguments[1]):\n"
        f"        print('early:', sorted({late} & sys.modules.keys() - before), file=sys.stderr)\n"
        "sys.addaudithook(look)\n"
        f"from {'amlexec import cli' if late is LATE_WITHOUT_DOIT else 'doit import doit_cmd'}\n{call}\n"
    )
    done = project.call(sys.executable, "-c", code)
    assert (done.code, done.err) == (0, "early: []\n")


@pytest.mark.parametrize(
    "option", [("--runconfig", "local"), ("--runconfig=local",), ("--run-configuration", "local")]
)
def test_the_older_spelling_of_an_option(project: ProjectFolder, option: tuple[str, ...]) -> None:
    project.write("aml_config/local.compute", "type: local\n")
    project.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    project.write("train.py", "import sys\nprint(sys.argv[1:])\n")
    done = project.amlexec("experiment", "submit", *option, "train.py", "--runconfig", "x")
    assert (done.code, "['--runconfig', 'x']\n" in done.out) == (0, True), done.err
    assert project.amlexec("experiment", "prepare", *option).code == 0


@pytest.mark.parametrize("verb", sorted(cli._VALUED))
def test_the_split_before_the_script_knows_every_option(verb: str) -> None:
    groups = next(a for a in cli.parser("experiment", verb)._actions if isinstance(a.choices, dict))
    assert isinstance(groups.choices, dict)
    verbs = next(a for a in groups.choices["experiment"]._actions if isinstance(a.choices, dict))
    assert isinstance(verbs.choices, dict)
    options = [action for action in verbs.choices[verb]._actions if action.option_strings]
    valued = {name for action in options if action.nargs != 0 for name in action.option_strings}
    assert valued == cli._VALUED[verb]
    if verb == "rerun":
        switches = {name for action in options if action.nargs == 0 for name in action.option_strings}
        assert switches == cli._SWITCHES


@pytest.mark.parametrize(
    "words", [["--to", "u", "a", "b"], ["a", "--to", "u", "b"], ["a", "b", "--to", "u"], ["--to=u", "a", "b"]]
)
@pytest.mark.parametrize(("group", "dest"), [("model", "names"), ("history", "runs")])
def test_names_may_stand_on_both_sides_of_an_option(group: str, dest: str, words: list[str]) -> None:
    parsed = cli.parser(group).parse_args([group, "export", "mlflow", *words])
    assert (getattr(parsed, dest), parsed.to) == (["a", "b"], "u")
