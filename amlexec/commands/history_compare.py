"""`amlexec history compare`: the differences between runs, side by side, and those of their code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import output, run_view, run_views
from amlexec.commands.options import RUN, add_output
from amlexec.commands.run_view import PropertyRow
from amlexec.errors import TargetError, UsageError
from amlexec.history import find, folders, listing
from amlexec.history.listing import Broken

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from amlexec.environments.of_run import Package
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add", "print_table", "run"]

_MOST_FILES = 50
"""Files in a table."""


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("runs", nargs="*", metavar="RUN", help=f"{RUN} (default: the two newest runs)")
    verb.add_argument("--all", action="store_true", help="also show what is equal")
    verb.add_argument(
        "--code",
        action="store_true",
        help="print only the difference of the code of two runs, as `git apply` takes it",
    )
    add_output(verb)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if len(arguments.runs) == 1:
        raise UsageError(
            "there is only one run to compare", hint=f"amlexec history compare {arguments.runs[0]} last"
        )
    records = _records(project, arguments.runs)
    if arguments.code:
        _print_code(project, records, arguments)
        return
    current = [run_views.now(project, record) for record in records]
    rows = run_view.comparison(run_views.views(project, current, files=False))
    rows += _packages(project, current)
    code, problems = _code(project, records)
    if arguments.output == "json" or arguments.query is not None:
        compared = {
            "runs": [record.run_id for record in records],
            "rows": [row._asdict() for row in rows],
            "code": code,
        }
        run_views.show(compared, arguments)
    else:
        print_table([record.run_id for record in records], rows, code, everything=arguments.all)
    for problem in problems:
        run_views.warn(problem)


def _records(project: Project, names: Sequence[str]) -> list[Run]:
    if names:
        return [folders.read(find.find(project, name)) for name in names]
    found: list[Run] = []
    for entry in listing.read(project, listing.newest(project)):
        if not isinstance(entry, Broken):
            found.append(entry)
        if len(found) == 2:
            return found[::-1]
    raise UsageError("there are fewer than two runs", hint="amlexec history list shows all runs")


def _packages(project: Project, records: Sequence[Run]) -> list[PropertyRow]:
    """A row for each package: its version in each run; with its build if only builds differ."""
    from amlexec.environments.of_run import packages_of

    found = [packages_of(project, record) for record in records]
    rows = []
    for name in sorted({name for packages in found for name in packages or ()}):
        versions = [None if packages is None else packages.get(name) for packages in found]
        values = _shown(versions)
        # Where packages are not known, nothing can differ.
        present = [value for packages, value in zip(found, values, strict=True) if packages is not None]
        rows.append(PropertyRow(f"packages.{name}", values, any(value != present[0] for value in present)))
    return rows


def _shown(versions: Sequence[Package | None]) -> list[Any]:
    present = [version for version in versions if version is not None]
    if len({each.version for each in present}) == 1 and len({each.build for each in present}) > 1:
        return [each and f"{each.version} {each.build}" for each in versions]
    return [each and each.version for each in versions]


def _code(project: Project, records: Sequence[Run]) -> tuple[list[dict[str, Any]], list[TargetError]]:
    """The files that differ between the first run and each other one."""
    from amlexec.snapshots import compare

    first, found, problems = records[0], [], []
    for other in records[1:]:
        if first.snapshot is None or other.snapshot is None or first.snapshot.tree == other.snapshot.tree:
            continue
        try:
            files = compare.changes(project, first.snapshot.tree, other.snapshot.tree)
        except TargetError as error:
            problems.append(error)
            continue
        changed = [change._asdict() for change in files]
        found.append({"from": first.run_id, "to": other.run_id, "files": changed})
    return found, problems


def print_table(
    names: Sequence[str], rows: Sequence[PropertyRow], code: Sequence[dict[str, Any]], *, everything: bool
) -> None:
    """Print a comparison with a column for each of `names`, and the files that differ."""
    shown = [row for row in rows if row.differs or everything]
    mark = "* " if everything else ""
    marked = [[f"{mark if row.differs else ' ' * len(mark)}{row.key}", *_cells(row)] for row in shown]
    titles = [f"{' ' * len(mark)}Key", *names]
    columns = 1 + _most_runs(marked, titles)
    console.data(output.table([row[:columns] for row in marked], titles[:columns]))
    if more := len(titles) - columns:
        console.say(f"{more} more runs have no room (-o json has all)")
    for pair in code:
        files = pair["files"]
        console.data(
            f"\ncode: {len(files)} {'file differs' if len(files) == 1 else 'files differ'} in {pair['to']}"
        )
        lines = [
            [each["path"], each["change"], each["added"], each["removed"]] for each in files[:_MOST_FILES]
        ]
        console.data(output.table(lines, ["File", "Change", "Added", "Removed"]))
        if more := len(files) - _MOST_FILES if len(files) > _MOST_FILES else 0:
            console.data(f"and {more} more (-o json has all)")
    if same := len(rows) - len(shown):
        console.say(f"{same} more are the same; --all shows them too")
    if code:
        console.say(f"amlexec history compare {code[0]['from']} {code[0]['to']} --code shows the lines")


def _most_runs(rows: Sequence[Sequence[Any]], titles: Sequence[str]) -> int:
    """How many runs fit into the terminal."""
    width = output.terminal_width()
    if not width:
        return len(titles) - 1
    first = max(output.width(output.cell(row[0])) for row in [titles, *rows])
    return min(len(titles) - 1, max(2, (width - first) // (output.NARROWEST + len(output.GAP))))


def _cells(row: PropertyRow) -> list[Any]:
    # A tag need not have a value.
    return (
        ["set" if value == "" else value for value in row.values]
        if row.key.startswith("tags.")
        else row.values
    )


def _print_code(project: Project, records: Sequence[Run], arguments: argparse.Namespace) -> None:
    from amlexec.snapshots import compare

    if len(records) != 2:
        raise UsageError("--code is for two runs", hint="amlexec history compare RUN RUN --code")
    if arguments.output != "table" or arguments.query is not None or arguments.all:
        raise UsageError("--code prints a difference as text: it takes no --output, --query or --all")
    trees = []
    for record in records:
        if record.snapshot is None:
            raise UsageError(f"{record.run_id} has no snapshot: it was not staged")
        trees.append(record.snapshot.tree)
    for piece in compare.diff(project, trees[0], trees[1]):
        console.write_for_files(piece)
    if trees[0] == trees[1]:
        console.say("the code is the same")
