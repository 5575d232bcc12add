"""Every command that a page shows is executed, and what the page says it prints is held against it.

In a `console` block a line that begins with `$ ` is a command; the lines below it are its output. `…` stands
for anything within a line, and a line that is only `…` for any number of lines. The blocks of a page are one
session, in an empty folder. A block of another kind whose line above names a file (`` `NAME`: ``) is that
file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"] if "```console" in page.read_text()
)
BLOCK = re.compile(r"(?:`(?P<file>[^`\n]+)`:\n\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(kind, file or "", body) of each block."""
    return [
        (found["kind"], found["file"] or "", found["body"])
        for found in BLOCK.finditer(page.read_text("utf-8"))
    ]


def commands(body: str) -> list[tuple[str, list[str]]]:
    """(command, lines that it should print)."""
    found: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(wanted: list[str], printed: list[str]) -> bool:
    """Whether the lines are what the page says."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line.rstrip()).replace("…", ".*?") + r"[ ]*\n"
        for line in wanted
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_so(page: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns(".amlexec", "__pycache__")
    )
    environment = {**os.environ, "COLUMNS": "110", "LC_ALL": "C.UTF-8"}
    state = tmp_path / ".state"
    state.write_text(f"cd {tmp_path}\n")
    seen = 0
    for kind, file, body in blocks(page):
        if kind != "console":
            if file:
                folder = subprocess.run(
                    ["bash", "-c", f". {state}; pwd"],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.strip()
                Path(folder, file).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, file).write_text(body)
            continue
        for command, wanted in commands(body):
            done = subprocess.run(
                # Folder and exported variables live on, as in the reader's own shell.
                ["bash", "-c", f". {state}\n{command}\n{{ export -p; echo \"cd '$PWD'\"; }} >{state}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
            printed = done.stdout.decode().replace(str(tmp_path), "/home/you").splitlines()
            assert matches(wanted, printed), (
                f"{page.name}: $ {command}\nthe page says\n"
                + "\n".join(wanted)
                + "\nit printed\n"
                + "\n".join(printed)
            )
            seen += 1
    assert seen


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith(("http:", "https:")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/doit test"
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / ".ci/run").read_text()
