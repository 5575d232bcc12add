"""`amlexec history report`: the runs as one HTML page, in a file or served while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.options import add_sweep, number_of_runs, sweep_id
from amlexec.errors import TargetError, UsageError
from amlexec.history import find, folders, listing

if TYPE_CHECKING:
    import argparse

    from amlexec.history.listing import Broken
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add", "run"]

_NEWEST = 1000


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help=f"run ids, unique prefixes of them, or `last` (default: the newest {_NEWEST} runs)",
    )
    verb.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the page's file (default: .amlexec/report.html in the project)",
    )
    verb.add_argument("--last", type=number_of_runs, metavar="N", help="only the newest N runs")
    add_sweep(verb)
    verb.add_argument(
        "--live",
        action="store_true",
        help="serve the page to browsers on this machine, and keep it current, until Ctrl-C",
    )
    verb.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help="with --live: the port (default: 8731, or any if it is taken)",
    )
    verb.add_argument("--open", action="store_true", help="open the page in the browser")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Write the page, or serve it; print where it is."""
    if arguments.live:
        from amlexec.commands.history_live import serve

        if arguments.output:
            raise UsageError("--live serves the page: it writes no file", hint="leave out -o, or --live")
        runs, broken, _ = _chosen(project, arguments)
        chosen = [each.run_id for each in runs] if arguments.runs or arguments.sweep is not None else []
        serve(project, chosen, arguments.last or _NEWEST, arguments.port, show=arguments.open)
        return
    if arguments.port is not None:
        raise UsageError("--port needs --live")
    from amlexec.files import write_atomically
    from amlexec.report.write import page_of

    runs, broken, left_out = _chosen(project, arguments)
    if not runs and not broken:
        console.say("there are no runs yet: amlexec experiment submit -c local SCRIPT")
    path = Path(arguments.output or f"{project.state}/report.html")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"-o {path / 'report.html'}")
    content = page_of(project, runs, broken, left_out)
    if not arguments.output:
        from amlexec import private_folders

        private_folders.make(path.parent)
    try:
        write_atomically(path, content, durable=False)
    except OSError as error:
        if arguments.output:
            raise
        problem = console.system_error(error)
        raise TargetError(problem.message, where=problem.where, hint="-o FILE writes it elsewhere") from error
    console.data(str(path))
    if arguments.open:
        from amlexec.commands.browser import open_page

        open_page(path.absolute().as_uri())


def _chosen(project: Project, arguments: argparse.Namespace) -> tuple[list[Run], list[Broken], int]:
    """The runs of the page, newest first; those that can't be read; and how many older ones are left out."""
    if arguments.runs and arguments.last:
        raise UsageError("either RUN or --last, not both")
    if arguments.sweep is not None and (arguments.runs or arguments.last):
        raise UsageError("--sweep can't be combined with RUN or --last")
    if arguments.sweep is not None:
        return _of_sweep(project, arguments.sweep), [], 0
    if arguments.runs:
        paths = dict.fromkeys(find.find(project, name) for name in arguments.runs)
        return [folders.read(each) for each in paths], [], 0
    most = arguments.last or _NEWEST
    found = list(listing.read(project, listing.newest(project, most)))
    runs = [each for each in found if not isinstance(each, listing.Broken)]
    broken = [each for each in found if isinstance(each, listing.Broken)]
    return runs, broken, len(folders.names(project)) - len(found)


def _of_sweep(project: Project, reference: str) -> list[Run]:
    """The newest runs of a sweep."""
    from amlexec.history import filters, index

    query = filters.query_of(sweep=sweep_id(project, reference))
    names = index.select(project, query, limit=_NEWEST).names
    if not names:
        raise UsageError(f"there are no runs of the sweep {reference!r}", where="--sweep")
    return [each for each in listing.read(project, names) if not isinstance(each, listing.Broken)]
