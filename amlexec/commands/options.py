"""Options that several commands have, so that each is spelled and explained the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_project", "add_run_configuration"]


def add_project(verb: argparse.ArgumentParser) -> None:
    """`-p FOLDER`; as `project`, None where it is not given."""
    verb.add_argument("-p", "--project", metavar="FOLDER", help="the project (default: this folder)")


def add_run_configuration(verb: argparse.ArgumentParser) -> None:
    """`-c NAME`, which has to be given; as `run_configuration`."""
    # --runconfig is how command lines of Azure ML Workbench have it.
    verb.add_argument(
        "-c",
        "--run-configuration",
        "--runconfig",
        required=True,
        metavar="NAME",
        help="NAME.runconfig, or its path",
    )
