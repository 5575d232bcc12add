"""`amlexec history list`: the runs of a project that meet conditions, or those on a machine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import fitting, output, run_view, run_views
from amlexec.commands.options import add_output, add_sweep, number_of_runs, sweep_id
from amlexec.errors import UsageError
from amlexec.history import folders, listing
from amlexec.history.listing import Broken

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from amlexec.errors import NoContactError
    from amlexec.history.query import Query, Reference, SortKey
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add", "run"]

MOST_IN_A_TABLE = 200
"""Rows of a table, unless the user asks for more."""


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument(
        "-c", "--configuration", "--run-configuration", action="append", default=[], metavar="NAME",
        help="only runs of this run configuration",
    )  # fmt: skip
    for option, metavar, what in (
        ("--target", "TARGET", "on this compute target"),
        ("--script", "SCRIPT", "of this script"),
        ("--status", "STATUS", "with this status, such as Failed, Running or broken"),
    ):
        verb.add_argument(option, action="append", default=[], metavar=metavar, help=f"only runs {what}")
    verb.add_argument(
        "--since", metavar="TIME", help="only runs since 2d (two days ago), or 2026-01-31T12:00"
    )
    verb.add_argument("--until", metavar="TIME", help="only runs until then")
    verb.add_argument(
        "--tag", action="append", default=[], metavar="NAME[=VALUE]", help="only runs with this tag"
    )
    add_sweep(verb)
    verb.add_argument(
        "--where", metavar="QUERY", help="only runs for which this is true: 'accuracy > 0.9 and lr < 0.1'"
    )
    verb.add_argument(
        "--sort",
        action="append",
        default=[],
        metavar="[-]NAME",
        help="sort by this; with -, the largest first (default: the newest run first)",
    )
    verb.add_argument(
        "--limit",
        type=_limit,
        metavar="N",
        help=f"at most N runs, or all (default: {MOST_IN_A_TABLE} in a table, else all)",
    )
    verb.add_argument("--last", type=number_of_runs, metavar="N", help="only the newest N runs")
    verb.add_argument("--columns", metavar="NAME,...", help="show only these: run_id,metrics.loss,params.lr")
    verb.add_argument(
        "--from",
        dest="source",
        metavar="TARGET",
        help="list the runs on that compute target's machine, from any computer",
    )
    verb.add_argument("--all", action="store_true", help="with --from: also the runs of other projects")
    add_output(verb, ("table", "json", "csv"), flat=True)


def _limit(text: str) -> int:
    return 0 if text == "all" else number_of_runs(text)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if arguments.source:
        _list_from(project, arguments)
        return
    if arguments.all:
        raise UsageError("--all needs --from", hint="name the machine: --from TARGET")
    query, keys = _query(project, arguments), _keys(arguments)
    silent: dict[str, NoContactError] = {}
    names, total = _chosen(project, arguments, query, keys, silent)
    if not names:
        _say_none(project, query)
    _print(project, arguments, names, silent)
    if len(names) < total and arguments.last is None and arguments.limit is None:
        which = "first" if keys else "newest"
        console.say(f"the {which} {len(names)} of {total} runs; --limit all shows all")


def _query(project: Project, arguments: argparse.Namespace) -> Query | None:
    options = (arguments.configuration, arguments.target, arguments.script, arguments.status, arguments.tag)
    given = (*options, arguments.since, arguments.until, arguments.sweep)
    if not any(given) and arguments.where is None:
        return None
    from amlexec.history import filters

    names = ("configuration", "target", "script", "status")
    sweep = arguments.sweep and sweep_id(project, arguments.sweep, is_elsewhere=bool(arguments.source))
    with _named("--where"):
        return filters.query_of(
            fields=[(name, getattr(arguments, name)) for name in names],
            tags=arguments.tag,
            since=arguments.since,
            until=arguments.until,
            sweep=sweep,
            where=arguments.where,
        )


def _keys(arguments: argparse.Namespace) -> list[SortKey]:
    if not arguments.sort:
        return []
    if arguments.last is not None:
        raise UsageError("--last can't be combined with --sort", hint="--limit N shows the first N")
    from amlexec.history import query

    with _named("--sort"):
        return [query.parse_sort(text) for text in arguments.sort]


@contextlib.contextmanager
def _named(option: str) -> Iterator[None]:
    """Errors within name this option, unless they name another."""
    try:
        yield
    except UsageError as error:
        error.where = error.where or option
        raise


def _chosen(
    project: Project,
    arguments: argparse.Namespace,
    query: Query | None,
    keys: Sequence[SortKey],
    silent: dict[str, NoContactError],
) -> tuple[list[str], int]:
    """The names of the runs to show, and how many there would be without a limit."""
    limit: int | None = arguments.last or arguments.limit
    if arguments.output == "table" and arguments.query is None and limit is None:
        limit = MOST_IN_A_TABLE
    if query is None and not keys:
        # Nothing has to be known of the other runs.
        names = folders.names(project)
        return listing.newest_of(names, limit or None), len(names)
    from amlexec.history import index

    def refresh(unfinished: list[str]) -> None:
        # A run that has ended meanwhile may now meet the conditions, or no longer.
        for record, states in run_views.with_states(project, listing.read(project, unfinished), silent):
            if not isinstance(record, Broken):
                run_views.now(project, record, silent, states)

    with _named("--where" if arguments.where is not None and not keys else "--sort"):
        return index.select(project, query, keys, limit or None, refresh, is_counted=arguments.limit is None)


def _say_none(project: Project, query: Query | None) -> None:
    if query is not None and listing.newest(project, 1):
        console.say("no run meets the conditions")
    else:
        console.say("there are no runs yet: amlexec experiment submit -c local SCRIPT")


def _print(
    project: Project, arguments: argparse.Namespace, names: Sequence[str], silent: dict[str, NoContactError]
) -> None:
    columns = _columns(arguments)
    # Only JSON and queries need the names of every run's files.
    files = not columns and (arguments.output == "json" or arguments.query is not None)
    numbered = bool(columns) and _has_number(columns)

    def views() -> Iterator[dict[str, Any]]:
        return run_views.of_names(project, names, files=files, silent=silent, numbered=numbered)

    _print_views(project, arguments, views, columns, is_any=bool(names))


def _has_number(columns: Sequence[tuple[str, Reference]]) -> bool:
    from amlexec.commands import run_columns

    return any(run_columns.is_number(reference) for _, reference in columns)


def _columns(arguments: argparse.Namespace) -> list[tuple[str, Reference]]:
    """The columns that the user has chosen; empty for the usual ones."""
    if arguments.columns is None:
        return []
    from amlexec.commands import run_columns

    return run_columns.parse(arguments.columns)


def _print_views(
    project: Project,
    arguments: argparse.Namespace,
    views: Callable[[], Iterable[dict[str, Any]]],
    columns: Sequence[tuple[str, Reference]],
    *,
    is_any: bool,
) -> None:
    if columns:
        from amlexec.commands import run_columns

        chosen = run_columns.chosen(project, views(), columns)
        if arguments.query is not None or arguments.output == "json":
            run_views.answer(run_columns.rows(chosen), arguments)
        elif arguments.output == "csv":
            _print_pieces(run_columns.csv_of(chosen))
        elif is_any:
            _print_table(run_columns.table(chosen))
    elif arguments.query is not None:
        run_views.show(list(views()), arguments)
    elif arguments.output == "json":
        run_views.stream(views(), arguments)
    elif arguments.output == "csv":
        from amlexec.commands import run_columns

        _print_pieces(run_columns.csv_of_all(views))
    elif is_any:
        _print_table(run_view.listing(views()))


def _print_pieces(pieces: Iterable[str]) -> None:
    for piece in pieces:
        console.write_for_files(piece)


def _print_table(columns: Sequence[fitting.Column]) -> None:
    for line in fitting.lines(columns, output.terminal_width()):
        console.data(line)


def _list_from(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.runs.remote import RemoteRuns

    query, keys, columns = _query(project, arguments), _keys(arguments), _columns(arguments)
    machine = RemoteRuns(project, arguments.source)
    found = machine.list(everything=arguments.all)
    for problem in found.problems:
        run_views.warn(problem)
    if not found.runs:
        whose = "" if arguments.all else "of this project "
        console.say(f"there are no runs {whose}on {machine.name}")
    runs, limit = found.runs, arguments.last or arguments.limit or None
    if (query is not None or keys) and runs:
        runs = _selected(project, arguments, runs, query, keys)
        if not runs:
            console.say("no run meets the conditions; the metrics of runs on a machine are not read")
    views: list[dict[str, Any]] = run_views.views(project, runs[:limit], files=False)
    for shown in views:
        # The name of another project, as far as the id contains it.
        shown["experiment_id"] = shown["run_id"].rpartition("_")[0]
    _print_views(project, arguments, lambda: views, columns, is_any=bool(views))


def _selected(
    project: Project,
    arguments: argparse.Namespace,
    runs: Sequence[Run],
    query: Query | None,
    keys: Sequence[SortKey],
) -> list[Run]:
    """Those that meet the conditions, sorted, by what their machine and this project have of them."""
    from amlexec.history import index

    by_name = {run.run_id: run for run in runs}
    with _named("--where" if arguments.where is not None and not keys else "--sort"):
        found = index.select_among(
            ((run, *run_views.marks_of(project, run.run_id)) for run in by_name.values()), query, keys
        )
    return [by_name[name] for name in found.names]
