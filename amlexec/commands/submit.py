"""`amlexec experiment submit`. What is needed only after the script's start is imported while it runs."""

from __future__ import annotations

import os

from amlexec import console
from amlexec.config import load as config
from amlexec.light_typing import TYPE_CHECKING
from amlexec.plan import plan
from amlexec.runs import submit as submission

if TYPE_CHECKING:
    import argparse

    from amlexec.runs.talk import Talk
    from amlexec.values import Plan, Project

__all__ = ["OnStderr", "execute", "submit"]


def submit(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment submit`; the exit code. Raises what its parts raise."""
    declaration = config.load(project, arguments.run_configuration, arguments.target or "")
    script = arguments.script
    if script is not None:
        script = submission.script_in(project, script, arguments.project or os.getcwd())  # noqa: PTH109
    planned = plan(
        declaration,
        script,
        arguments.tail,
        tracked=not arguments.untracked,
        prepare=arguments.prepare,
        environment=os.environ,
    )
    talk = OnStderr() if arguments.output == "json" else console.Console()
    return execute(planned, talk, detach=arguments.detach, form=arguments.output)


def execute(planned: Plan, talk: Talk, *, detach: bool = False, form: str = "text") -> int:
    """Run a plan, and print its result as `running.finish` does; the exit code. Raises as its parts do."""
    begun = submission.begin(planned, talk, quiet=detach, is_followed=not detach)
    from amlexec.commands import running  # while the script runs

    outcome = submission.followed(planned.project, begun, talk, detach=detach)
    return running.finish(planned.project, outcome, form=form)


class OnStderr(console.Console):
    """Print everything to stderr, also the script's output: stdout is for the record."""

    def say(self, line: str) -> None:
        """To stderr."""
        console.say(line)

    def stdout(self, chunk: bytes) -> None:
        """To stderr, byte for byte."""
        self.stderr(chunk)
