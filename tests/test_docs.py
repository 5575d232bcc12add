"""Execute every command in the docs, and compare its output with the page.

In a `console` block a line that begins with `$ ` is a command; the lines below it are its output. `…` stands
for any text within a line, and a line with only `…` for any number of lines. The blocks of a page are one
session, in an empty folder. A block of another kind below a line with a file name (`` `NAME`: ``) is that
file. A command that is `amlexec` or `doit` alone is forked (`support/commands.py`); bash runs the others.

From a page's first command with the word `docker` or `gpu` on, a Docker engine executes the page's commands,
without a network: `stage.py` maps public names to parts of the tests.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE
from tests.support.commands import can_fork, run_forked
from tests.support.stage import channels, stage  # noqa: F401 - fixtures, which are asked for by name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.stage import Stage

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"] if "```console" in page.read_text()
)
BLOCK = re.compile(r"(?:`(?P<file>[^`\n]+)`:\n\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(kind, file or "", body) of each block."""
    return blocks_of(page.read_text("utf-8"))


def blocks_of(text: str) -> list[tuple[str, str, str]]:
    """The same for a part of a page."""
    return [(found["kind"], found["file"] or "", found["body"]) for found in BLOCK.finditer(text)]


def commands(body: str) -> list[tuple[str, list[str]]]:
    """(command, expected output lines)."""
    found: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(wanted: list[str], printed: list[str]) -> bool:
    """Whether the printed lines match the page."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line.rstrip()).replace("…", ".*?") + r"[ ]*\n"
        for line in wanted
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None


def words_of(command: str) -> list[str]:
    """The words of a command that is `amlexec` or `doit` alone; [] if a shell has more to do with it."""
    unquoted = re.sub(r"'[^']*'|\"[^\"$`\\]*\"", "", command)
    if not re.match(r"(amlexec|doit) ", command) or re.search(r"[^\w\s./:=,%@+-]", unquoted):
        return []
    return shlex.split(command)


class Session:
    """A reader's shell: keeps its folder and exported variables between commands."""

    def __init__(self, folder: Path) -> None:
        self._home = folder
        self._folder = folder
        self._variables = {**os.environ, "COLUMNS": "110", "LC_ALL": "C.UTF-8"}
        self._stage: Stage | None = None

    def enter(self, begin: Callable[[], Stage]) -> None:
        """Start the Docker engine; the shell gets the changed environment variables."""
        if self._stage is not None:
            return
        before = dict(os.environ)
        self._stage = begin()
        for name in before.keys() - os.environ.keys():
            self._variables.pop(name, None)
        self._variables.update(os.environ.items() - before.items())

    def write(self, file: str, body: str) -> None:
        """Write a file that the page shows."""
        path = self._folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)

    def type(self, command: str) -> str:
        """Run a command that the page shows; its output."""
        if self._stage is not None:
            self._stage.dress(self._home)
            command = self._stage.meant(command)
        # What is read as Python starts; without it, Python takes this locale by itself.
        variables = {name: value for name, value in self._variables.items() if name != "LC_ALL"}
        if (words := words_of(command)) and can_fork(variables):
            _, out, _ = run_forked(words[0], tuple(words[1:]), self._folder, variables, PATIENCE, merged=True)
        else:
            out = self._bash(command)
        printed = out.decode()
        if self._stage is not None:
            printed = self._stage.shown(printed)
        return printed.replace(str(self._home), "/home/you")

    def _bash(self, command: str) -> bytes:
        state = self._home / ".state"
        done = subprocess.run(
            ["bash", "-c", f"{command}\n{{ env -0; pwd; }} >{shlex.quote(str(state))}"],
            cwd=self._folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        *variables, folder = state.read_text().split("\0")
        self._variables = dict(variable.split("=", 1) for variable in variables)
        self._folder = Path(folder.rstrip("\n"))
        return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns(".amlexec", "__pycache__")
    )
    if page.name == "use-a-gpu.md" and "nvidia" in request.getfixturevalue("engine").info()["Runtimes"]:
        pytest.skip("this engine has an NVIDIA runtime: the page shows what is said where there is none")
    session = Session(tmp_path)
    seen = 0
    for kind, file, body in blocks(page):
        if kind != "console":
            if file:
                session.write(file, body)
            continue
        for command, wanted in commands(body):
            if re.search(r"\b(docker|gpu)\b", command):
                session.enter(lambda: request.getfixturevalue("stage"))
            printed = session.type(command).splitlines()
            assert matches(wanted, printed), "\n".join(
                [f"{page.name}: $ {command}", "the page says", *wanted, "it printed", *printed]
            )
            seen += 1
    assert seen


def test_links_are_valid() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith(("http:", "https:")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


def test_ci_runs_the_test_command_of_the_readme() -> None:
    install = ".venv/bin/pip install -c tests/constraints.txt -e '.[test]'"
    command = f"python3 -m venv .venv && {install} && .venv/bin/doit test"
    assert command in (ROOT / "README.md").read_text()
    assert command in (ROOT / ".ci/run").read_text()
