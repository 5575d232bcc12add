"""`amlexec lint`: validate the files of a project; pre-commit calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.options import add_project, project_of
from amlexec.config import lint

if TYPE_CHECKING:
    import argparse

__all__ = ["add", "run"]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    verb = subparsers.add_parser(
        "lint",
        help="validate the files of aml_config",
        description="Validate compute targets, run configurations and dependencies files: FILE, or all files "
        "of the project. Exit code 0 without errors, 3 with errors.",
        allow_abbrev=False,
    )
    verb.add_argument("files", nargs="*", metavar="FILE", help="only these files, named as typed")
    verb.add_argument(
        "-o",
        "--output",
        "--format",
        dest="form",
        choices=["text", "json", "github"],
        default="text",
        help="text for people, JSON for programs, annotations for GitHub workflows (default: %(default)s)",
    )
    verb.add_argument("--strict", action="store_true", help="unknown keys are errors, not warnings")
    add_project(verb)


def run(arguments: argparse.Namespace) -> int:
    """Check and print; the exit code."""
    if arguments.files:
        number = len(dict.fromkeys(arguments.files))
        violations = lint.lint_files(arguments.files, strict=arguments.strict)
    else:
        project = project_of(arguments)
        linter = lint.Linter(project, strict=arguments.strict)
        kinds = linter.kinds()
        number = len(kinds)
        violations = linter.check(kinds)
    if arguments.form == "json":
        from amlexec.commands import output

        console.data(output.as_json(lint.as_json(violations)))
    else:
        lines = lint.as_github(violations) if arguments.form == "github" else lint.as_text(violations)
        for line in lines:
            console.data(line)
    console.say(lint.summary(number, violations))
    return lint.exit_code(violations)
