"""`amlexec history last` and `history info`: show a run, or print one of its artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import output, run_files, run_views
from amlexec.commands.options import RUN, add_output
from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular
from amlexec.history import find, folders

if TYPE_CHECKING:
    import argparse

    from amlexec.errors import NoContactError
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add", "run"]

_CHUNK = 1 << 20
_SILENT = ("unreachable", "heartbeat_enabled", "hidden")
"""Keys that say nothing if they are false: two are always so, for scripts of Workbench that read the JSON."""
_MOST_NAMES = 10
"""Attachments that are named in a table."""


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if verb.prog.endswith(" info"):
        verb.add_argument("-r", "--run", required=True, metavar="RUN", help=RUN)
        verb.add_argument(
            "-a",
            "--artifact",
            metavar="NAME",
            help="print driver_log, control_log, stderr.log or a file of outputs",
        )
    add_output(verb, flat=True)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if arguments.verb == "last":
        _show(project, _last(project), arguments)
        return
    paths = find.find(project, arguments.run)
    if arguments.artifact is None:
        _show(project, folders.read(paths), arguments)
        return
    sink = console.Console(prints_a_file=True)
    # `find` only returns links that lead to a file in `outputs`.
    with open_regular(run_files.find(paths, arguments.artifact)) as file:
        while chunk := file.read(_CHUNK):
            sink.stdout(chunk)


def _last(project: Project) -> Run:
    try:
        return folders.read(find.find(project, "last"))
    except TargetError as problem:
        run_views.warn(problem)
        runs, _ = find.runs(project)
        if not runs:
            raise UsageError("there is no run that can be read", where=project.state) from None
        return runs[0]


def _show(project: Project, record: Run, arguments: argparse.Namespace) -> None:
    silent: dict[str, NoContactError] = {}
    shown = run_views.views(project, [run_views.now(project, record, silent)], silent=silent)[0]
    if arguments.output == "json" or arguments.query is not None:
        run_views.show(shown, arguments)
        return
    filled = {key: value for key, value in shown.items() if value not in (None, "", [], {})}
    for key in _SILENT:
        if shown[key] is False:
            del filled[key]
    if shown["attachments"]:
        names = shown["attachments"].split(",")
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        filled["attachments"] = ",".join(names[:_MOST_NAMES]) + more
    console.data(output.fields(filled))
