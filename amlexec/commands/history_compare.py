"""`amlexec history compare`: the differences between runs, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import output, run_view, run_views
from amlexec.commands.options import RUN, add_output
from amlexec.errors import UsageError
from amlexec.history import find, folders

if TYPE_CHECKING:
    import argparse

    from amlexec.model import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN} (default: the two newest runs)")
    verb.add_argument("--all", action="store_true", help="also show what is equal")
    add_output(verb)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if len(arguments.runs) == 1:
        raise UsageError(
            "one run can't be compared", hint=f"amlexec history compare {arguments.runs[0]} last"
        )
    if arguments.runs:
        records = [folders.read(find.find(project, name)) for name in arguments.runs]
    else:
        records = find.runs(project)[0][1::-1]
        if len(records) < 2:
            raise UsageError("there are fewer than two runs", hint="amlexec history list shows all runs")
    current = [run_views.now(project, record) for record in records]
    rows = run_view.comparison(run_views.views(project, current, files=False))
    if arguments.output == "json" or arguments.query is not None:
        compared = {
            "runs": [record.run_id for record in records],
            "rows": [row._asdict() for row in rows],
        }
        run_views.show(compared, arguments)
        return
    shown = [row for row in rows if row.differs or arguments.all]
    mark = "* " if arguments.all else ""
    marked = [[f"{mark if row.differs else ' ' * len(mark)}{row.key}", *row.values] for row in shown]
    console.data(output.table(marked, [f"{' ' * len(mark)}Key", *(record.run_id for record in records)]))
    if same := len(rows) - len(shown):
        console.say(f"{same} more are the same; --all shows them too")
