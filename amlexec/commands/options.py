"""Options that several commands share, with the same spelling and help text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_project", "add_run_configuration"]


def add_project(verb: argparse.ArgumentParser) -> None:
    """Add `-p FOLDER` as `project`; None if absent."""
    verb.add_argument("-p", "--project", metavar="FOLDER", help="project folder (default: current folder)")


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
