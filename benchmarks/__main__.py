"""`python -m benchmarks [NAME…]`: measure, print a table, and keep the figures in `results/`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    docker,
    gc,
    history,
    lint,
    logging,
    report,
    rerun,
    serving,
    slurm,
    snapshot,
    spark,
    ssh,
    submit,
    sweep,
)
from benchmarks.timing import Row, Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: dict[str, Callable[[Path, int, Sizes], Iterator[Row]]] = {
    "submit": submit.rows,
    "rerun": rerun.rows,
    "sweep": sweep.rows,
    "lint": lint.rows,
    "history": history.rows,
    "report": report.rows,
    "logging": logging.rows,
    "gc": gc.rows,
    "snapshot": snapshot.rows,
    "serving": serving.rows,
    "docker": docker.rows,
    "ssh": ssh.rows,
    "slurm": slurm.rows,
    "spark": spark.rows,
}
SMALL = Sizes(
    files=3,
    runs=3,
    reported_runs=3,
    kept_runs=3,
    removed_files=200,
    versions=2,
    many_runs=5,
    snapshot=200,
    configurations=8,
    environments=1,
    packages=("pip",),
    hosts=2,
    cuts=2,
    log=1_000_000,
    scalars=200,
    series=10_000,
    points=4,
    queued=3,
    submitted=3,
    plan=20,
    settling=0.0,
    yarn=False,
)
TITLES = ("", "ours", "peer", "", "figure", "wanted", "in bare Pythons", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names; 0 whether or not the figures are as wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--pairs", type=int, default=15, help="rounds of each (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="little to do: for trying the benchmarks out")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    found = parser.parse_args(arguments)
    unknown = sorted(set(found.names) - set(BENCHMARKS))
    if unknown or found.pairs < 1:
        parser.error(f"there is no benchmark {unknown[0]!r}" if unknown else "--pairs must be 1 or more")
    rows: list[Row] = []
    load = os.getloadavg()[0]
    try:
        for name in found.names or BENCHMARKS:
            sys.stderr.write(f"{name} ...\n")
            with tempfile.TemporaryDirectory(prefix="amlexec-bench-") as folder:
                place = Path(folder).resolve()
                # One by one: what was measured before an error is printed and kept, too.
                for row in BENCHMARKS[name](place, found.pairs, SMALL if found.small else Sizes()):
                    rows.append(row)  # noqa: PERF402
    finally:
        if rows:
            _show(rows, load)
            _keep(found.results, rows, load)
    return 0


def _show(rows: Sequence[Row], load: float) -> None:
    unit = sorted(row.unit for row in rows)[len(rows) // 2]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} processors, ",
        end="",
    )
    print(f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after; a bare Python takes {unit:.1f} ms.")
    print("Times are medians in ms. Wanted milliseconds are for a machine whose bare Python takes 10 ms:")
    print("they are held against the figure in bare Pythons.\n")
    for line in table(rows):
        print(line)


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of equal columns."""
    cells = [TITLES, *(_cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(TITLES))]
    left = {0, 3, 7}
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cells(row: Row) -> tuple[str, ...]:
    is_ratio = row.wanted.kind == "ratio"
    sign = "+" if row.wanted.kind == "more ms" else ""
    value = "" if row.value is None else f"{row.value:.2f} x" if is_ratio else f"{row.value:{sign or '-'}.1f}"
    most = row.wanted.most
    wanted = "" if most is None else f"<= {most:g} x" if is_ratio else f"<= {sign}{most:g}"
    bare = ""
    if row.value is not None and not is_ratio:
        bare = f"{row.value / row.unit:.1f}" + (f" of {most / 10:.1f}" if most is not None else "")
    if row.peer_name and row.peer is None:
        return (row.name, f"{row.ours:.1f}", "absent", row.peer_name, value, wanted, bare, "not compared")
    met = {True: "ok", False: "missed", None: ""}[row.is_met]
    peer = "" if row.peer is None else f"{row.peer:.1f}"
    return (row.name, f"{row.ours:.1f}", peer, row.peer_name, value, wanted, bare, met)


def _keep(folder: Path, rows: Sequence[Row], load: float) -> None:
    now = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    kept: dict[str, Any] = {
        "measured_utc": now,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "load_before": load,
        "rows": [{**row._asdict(), "wanted": row.wanted._asdict(), "is_met": row.is_met} for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{now}.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
