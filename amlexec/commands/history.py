"""`amlexec history`: find, read, compare and mark the runs of a project, and download their files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from amlexec.commands.options import project_of
from amlexec.commands.verbs import Verb, declared

if TYPE_CHECKING:
    import argparse

__all__ = ["VERBS", "add", "run"]

VERBS = {
    "list": Verb("history_list", "list the runs, newest first"),
    "last": Verb("history_show", "show the newest run"),
    "info": Verb("history_show", "show a run, or print one of its artifacts"),
    "compare": Verb("history_compare", "show the differences between runs side by side"),
    "tag": Verb("history_mark", "add tags to a run, or remove them"),
    "note": Verb("history_mark", "write a note about a run, or show it"),
    "show": Verb("history_curves", "draw the curves of runs in the terminal"),
    "report": Verb(
        "history_report", "write a page to look at runs: tables, curves, differences, logs, outputs"
    ),
    "export": Verb("history_export", "hand runs to MLflow: parameters, metrics, tags, files"),
    "checkout": Verb("history_checkout", "write the files that a run executed into a new folder"),
    "bundle": Verb("history_bundle", "pack a run into one file, to run it again on another computer"),
    "import": Verb("history_bundle", "add the run of such a file to the project"),
    "download": Verb("history_download", "copy a run's record, logs, metrics and outputs into a folder"),
}


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser], only: str | None = None) -> None:
    """Declare the arguments; if `only` is a verb, only of that verb."""
    for _ in declared(groups, "history", "find, compare and read runs", VERBS, only):
        pass


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = project_of(arguments)
    import_module(f"amlexec.commands.{VERBS[arguments.verb].module}").run(project, arguments)
    return 0
