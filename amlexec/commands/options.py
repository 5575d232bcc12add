"""Options that several commands share, with the same spelling and help text."""

from __future__ import annotations

import os

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from amlexec.values import Project

__all__ = [
    "RUN",
    "add_output",
    "add_project",
    "add_run_configuration",
    "add_script",
    "add_script_arguments",
    "add_sweep",
    "add_target",
    "add_text_or_json",
    "number_of_runs",
    "project_of",
    "sweep_id",
]

RUN = "run id, a unique prefix of it, or `last`"
"""Help text of an argument that names a run."""


def add_project(verb: argparse.ArgumentParser) -> None:
    """Add `-p FOLDER` as `project`; None if absent."""
    verb.add_argument("-p", "--project", metavar="FOLDER", help="project folder (default: current folder)")


def project_of(arguments: argparse.Namespace) -> Project:
    """The project of `-p`, else that of the current folder. Raises ConfigurationError if there is none."""
    from amlexec.config import load as config

    return config.find_project(arguments.project or os.getcwd())  # noqa: PTH109 - pathlib costs a run 3 ms


def add_run_configuration(verb: argparse.ArgumentParser) -> None:
    """Add `-c NAME`, a required option, as `run_configuration`."""
    # --runconfig is the spelling of Azure ML Workbench.
    verb.add_argument(
        "-c",
        "--run-configuration",
        "--runconfig",
        required=True,
        metavar="NAME",
        help="name or path of the run configuration, NAME.runconfig",
    )


def add_sweep(verb: argparse.ArgumentParser) -> None:
    """Add `--sweep SWEEP` as `sweep`; None if absent."""
    verb.add_argument("--sweep", metavar="SWEEP", help="only runs of this sweep: its id, a prefix, or `last`")


def sweep_id(project: Project, reference: str, *, is_elsewhere: bool = False) -> str:
    """The id of the sweep that `--sweep` names.

    Raises:
        UsageError: it is none of this project, or several; unless it may be one of another computer.
    """
    if reference.startswith("doit-"):
        return reference  # without files of its own
    from amlexec.errors import UsageError
    from amlexec.sweeps import store

    try:
        return store.find(project, reference).folder.name
    except UsageError:
        if is_elsewhere:
            return reference
        raise


def add_output(
    verb: argparse.ArgumentParser, forms: Sequence[str] = ("table", "json"), *, flat: bool = False
) -> None:
    """Add `-o FORM` as `output` and `--query`; with `flat`, `--flat` too."""
    verb.add_argument("-o", "--output", choices=forms, default="table", help="output format")
    verb.add_argument("--query", metavar="JMESPATH", help="JMESPath query of the JSON")
    if flat:
        verb.add_argument(
            "--flat", action="store_true", help="in JSON, also put each metric at the top level"
        )


def add_target(verb: argparse.ArgumentParser, default: str) -> None:
    """Add `-t NAME` as `target`; `default` says what is used without it."""
    verb.add_argument("-t", "--target", metavar="NAME", help=f"compute target to run on (default: {default})")


def add_text_or_json(verb: argparse.ArgumentParser, what: str) -> None:
    """Add `-o text|json` as `output`; `what` is printed as JSON."""
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help=f"json: {what}")


def add_script(verb: argparse.ArgumentParser, arguments: str) -> None:
    """Add the script, and its arguments with the help text `arguments`."""
    verb.add_argument("script", nargs="?", metavar="SCRIPT", help="path relative to the project's root")
    add_script_arguments(verb, arguments)


def add_script_arguments(verb: argparse.ArgumentParser, arguments: str) -> None:
    """Add the script's arguments, for the help text only: `cli.run` splits them off before parsing."""
    verb.add_argument("arguments", nargs="*", metavar="ARGUMENT", help=arguments)


def number_of_runs(text: str) -> int:
    """The value of an option that takes a number of runs. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        import argparse

        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)
