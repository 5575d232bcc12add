"""Draw the task graph of a project: files, and the tasks that depend on them.

python docs/draw_graph.py            draw docs/pictures/graph.svg: the project of its page
python docs/draw_graph.py FOLDER     print the picture of another project
python docs/draw_graph.py --check    exit with 1 if the picture is out of date
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DOCS = Path(__file__).parent
PAGE = DOCS / "explanation" / "the-task-graph.md"
PICTURE = DOCS / "pictures" / "graph.svg"
PROJECT = "weather"
_FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)```", re.DOTALL | re.MULTILINE)

WIDTH, ROW, HEIGHT, TOP = 920, 34, 24, 62
COLUMNS = {"lint": (20, 56), "file": (136, 252), "prepare": (508, 150), "submit": (748, 152)}
"""The left edge of each column, and the width of its boxes."""
HEADS = {"lint": "lint:FILE", "file": "the files", "prepare": "prepare:NAME", "submit": "submit:NAME"}
STYLE = """\
    .page { fill: #ffffff; }
    .file { fill: #dafbe1; stroke: #4ac26b; }
    .prepare, .submit, .lint { fill: #ddf4ff; stroke: #54aeff; }
    text { fill: #1f2328; font-size: 12px; }
    .head { font-size: 14px; font-weight: 600; }
    .mono { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
    .way { fill: none; stroke: #57606a; stroke-width: 1.2; marker-end: url(#tip); }
    .tip { fill: #57606a; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; }
      .file { fill: #12351f; stroke: #2ea043; }
      .prepare, .submit, .lint { fill: #0c2d4d; stroke: #388bfd; }
      text { fill: #e6edf3; }
      .way { stroke: #9198a1; }
      .tip { fill: #9198a1; }
    }"""
HEADER = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 aria-labelledby="title about"
 font-family="system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', sans-serif">
  <title id="title">The task graph of a project</title>
  <desc id="about">{about}</desc>
  <style>
{style}
  </style>
  <defs>
    <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
      <path class="tip" d="M0 0 8 4 0 8z"/>
    </marker>
  </defs>
  <rect class="page" width="{width}" height="{height}"/>"""
ABOUT = (
    "Files, with a lint task for each declaration on their left, prepare and submit tasks on their right. "
    "An arrow leads from what is depended on to the task that depends on it."
)


class Node(NamedTuple):
    """A file or a task."""

    kind: str
    """Its column."""
    name: str


Graph = dict[Node, list[Node]]
"""Tasks with their dependencies."""


def graph(folder: Path) -> Graph:
    """The tasks of the project in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        found: Graph = {}
        for make in (tasks.task_lint, tasks.task_prepare, tasks.task_submit):
            for task in make():
                if task["name"] is not None:
                    files = [Node("file", name) for name in sorted(task.get("file_dep", ()))]
                    before_it = [Node(*name.split(":", 1)) for name in task.get("task_dep", ())]
                    found[Node(task["basename"], task["name"])] = files + before_it
        return found
    finally:
        os.chdir(before)


def shown_project(folder: Path) -> Path:
    """Write the project of the page into a folder; the project's folder."""
    for name, text in reversed(_FILE.findall(PAGE.read_text(encoding="utf-8"))):
        if name.startswith(f"{PROJECT}/"):  # the first of several versions
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder / PROJECT


def picture(found: Graph) -> str:
    """The picture of a graph, as SVG."""
    places = _places(found)
    height = max(y for _, y in places.values()) + HEIGHT + 20
    heads = [
        f'  <text class="head" x="{COLUMNS[kind][0]}" y="38">{head}</text>' for kind, head in HEADS.items()
    ]
    lines = [
        HEADER.format(width=WIDTH, height=f"{height:g}", about=escape(ABOUT), style=STYLE),
        *heads,
        *(_arrow(places, one, task) for task, needed in found.items() for one in needed),
        *(line for node, place in places.items() for line in _box(node, *place)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _places(found: Graph) -> dict[Node, tuple[int, float]]:
    """The left and top of each box. A task is beside its dependencies."""
    prepares = [node for node in found if node.kind == "prepare"]
    users = {one: [at for at, task in enumerate(prepares) if one in found[task]] for one in _files(found)}

    def order(file: Node) -> tuple[float, str]:
        tasks_of_it = users[file]
        return (sum(tasks_of_it) / len(tasks_of_it) if tasks_of_it else len(prepares), file.name)

    tops: dict[Node, float] = {
        file: TOP + ROW * row for row, file in enumerate(sorted(_files(found), key=order))
    }
    for kind in ("lint", "prepare", "submit"):
        siblings = [node for node in found if node.kind == kind]
        middles = {node: _middle(tops, node, found[node]) for node in siblings}
        free = float(TOP)
        for node in sorted(siblings, key=middles.__getitem__):
            tops[node] = round(max(free, middles[node]), 1)
            free = tops[node] + ROW
    return {node: (COLUMNS[node.kind][0], top) for node, top in tops.items()}


def _middle(tops: dict[Node, float], node: Node, needed: Sequence[Node]) -> float:
    """The best top of a task: beside its dependencies, or else beside its prepare task."""
    beside = needed or [Node("prepare", node.name)]
    return sum(tops[one] for one in beside) / len(beside)


def _files(found: Graph) -> Iterable[Node]:
    return dict.fromkeys(one for needed in found.values() for one in needed if one.kind == "file")


def _arrow(places: dict[Node, tuple[int, float]], needed: Node, task: Node) -> str:
    (x1, y1), (x2, y2) = places[needed], places[task]
    if task.kind == "lint":
        start, end = x1, x2 + COLUMNS["lint"][1]
    else:
        start, end = x1 + COLUMNS[needed.kind][1], x2
    bend = (end - start) / 2
    y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
    curve = f"M{start} {y1:g}C{start + bend:g} {y1:g} {end - bend:g} {y2:g} {end} {y2:g}"
    return f'  <path class="way" d="{curve}"/>'


def _box(node: Node, x: int, y: float) -> Iterator[str]:
    width = COLUMNS[node.kind][1]
    text = "lint" if node.kind == "lint" else node.name
    text = text if node.kind in {"lint", "file"} else f"{node.kind}:{text}"
    radius = 3 if node.kind == "file" else 8
    yield f'  <rect class="{node.kind}" x="{x}" y="{y:g}" width="{width}" height="{HEIGHT}" rx="{radius}"/>'
    yield f'  <text class="mono" x="{x + 10}" y="{y + 16:g}">{escape(text)}</text>'


def drawn() -> str:
    """The picture of the page's project."""
    with tempfile.TemporaryDirectory() as folder:
        return picture(graph(shown_project(Path(folder).resolve())))


def main(arguments: Sequence[str]) -> int:
    """Draw, print or check; the exit code."""
    if list(arguments) == ["--check"]:
        is_stale = not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn()
        if is_stale:
            print("docs/pictures/graph.svg is out of date")
        return int(is_stale)
    if arguments:
        print(picture(graph(Path(arguments[0]))), end="")
    else:
        PICTURE.write_text(drawn(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
