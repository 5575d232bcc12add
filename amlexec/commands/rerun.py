"""`amlexec experiment rerun`: run a recorded run again, and compare the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.running import Aside, finish
from amlexec.history import find, folders
from amlexec.runs import rerun as again

if TYPE_CHECKING:
    import argparse

    from amlexec.model import Project

__all__ = ["rerun"]


def rerun(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment rerun`; the exit code. Raises what its parts raise."""
    run = folders.read(find.find(project, arguments.run))
    wishes = again.Wishes(
        target=arguments.target or "",
        arguments=tuple(arguments.tail),
        is_replacing=arguments.replace,
        is_accepting=arguments.accept_changes,
    )
    talk = Aside() if arguments.output == "json" else console.Console()
    outcome = again.rerun(project, run, wishes, talk, detach=arguments.detach)
    return finish(project, outcome, form=arguments.output)
