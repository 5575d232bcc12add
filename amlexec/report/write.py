"""The page of a project's runs, as a file."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from amlexec import __version__
from amlexec.history import find, order
from amlexec.history.paths import RunPaths
from amlexec.report import rows
from amlexec.report.code import code_of
from amlexec.report.collect import budget_of, points_of, read_runs
from amlexec.report.curves import packed
from amlexec.report.details import details
from amlexec.report.packages import packages_by_key
from amlexec.report.page import Parts, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.listing import Broken
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["main_data", "numbers", "page_of"]

CODE = 2_000_000
"""Bytes of the texts that differ between snapshots."""


def page_of(project: Project, runs: Sequence[Run], broken: Sequence[Broken], left_out: int) -> bytes:
    """The page with these runs, in their order; and a row for each record that can't be read."""
    found = read_runs(project, runs, points_of(runs))
    numbered = numbers(project)
    for each in found:
        each.row["number"] = numbered.get(each.row["id"])
    unreadable = [{**rows.broken(*each), "number": numbered.get(each.name)} for each in broken]
    budget = budget_of(len(runs))
    trees = [run.snapshot.tree for run in runs if run.snapshot]
    return document(
        Parts(
            main_data(project, [*(each.row for each in found), *unreadable], left_out),
            packed([(each.row["id"], each.curves) for each in found]),
            {
                run.run_id: {
                    **details(RunPaths.of(project, run.run_id), run, budget),
                    "tables": [table for table in each.tables if budget.take(len(json.dumps(table)))],
                }
                for run, each in zip(runs, found, strict=True)
            },
            {**code_of(project, trees, CODE), "packages": packages_by_key(project, runs)},
        )
    )


def main_data(project: Project, found: Sequence[dict[str, Any]], left_out: int) -> dict[str, Any]:
    """What the page draws first."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "project": project.name,
        "made": made,
        "amlexec": __version__,
        "left_out": left_out,
        "runs": list(found),
    }


def numbers(project: Project) -> dict[str, int]:
    """The number of every run by the time in its id; the oldest is 1."""
    ordered = sorted(find.ids(project), key=lambda name: (order.milliseconds(name), name))
    return {name: place for place, name in enumerate(ordered, 1)}
