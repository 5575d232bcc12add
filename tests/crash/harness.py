"""Crash a command at each of its durable steps, and look whether anything is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import PATIENCE, Done
from tests.support import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Flow", "Outcome", "Scene", "counted", "crashed", "picked"]

INJECT = Path(__file__).with_name("inject")
TRAIN = """\
import os, pathlib
with open(os.environ["MARKS"], "a") as marks:
    marks.write(os.environ["AMLEXEC_RUN_ID"] + "\\n")
pathlib.Path("outputs", "model.txt").write_text("a model")
print("trained")
"""


_KNOWN = (
    r"\.gitignore|submitted|[a-z-]+\.lock|trash|runs",
    r"(cache|changed|environments|index|sweeps)(/.*)?|[a-z_.-]+\.(sqlite|db|json)(-[a-z]+)?",
    r"runs/[^./][^/]*(/(run\.json|std(out|err)\.log|control\.log|[a-z]+\.jsonl|python\.json|packages\.txt))?",
    r"runs/[^./][^/]*/(outputs(/.*)?|control(/[a-z]+)?)",
    r"snapshots\.git(/(HEAD|config|index|taken\.json|info(/attributes)?|refs(/(heads|tags))?))?",
    r"snapshots\.git/objects(/([0-9a-f]{2}(/[0-9a-f]+)?|info(/packs)?|pack))?",
    r"snapshots\.git/objects/pack/pack-[0-9a-f]+\.(pack|idx|rev)",
)
"""What may be in a project's state."""


class Flow(NamedTuple):
    """A command, and what has to be there before it."""

    name: str
    command: tuple[str, ...]
    runs: int
    """Finished runs before it."""
    check: Callable[[Scene], None]
    """Raises AssertionError if something was lost."""
    fails: bool = False
    """Whether those runs failed, so that their copies of the project were kept."""


class Outcome(NamedTuple):
    """What a crashed command printed, and how it ended."""

    code: int
    err: str


class Scene:
    """A project, and the file in which each start of its script leaves a line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "demo"
        self.marks = folder / "marks"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AMLEXEC_")},
            "MARKS": str(self.marks),
        }

    @classmethod
    def made(cls, folder: Path, runs: int, *, fails: bool = False) -> Scene:
        """A new project with finished runs, each with a snapshot of its own."""
        scene = cls(folder)
        (scene.root / "aml_config").mkdir(parents=True)
        (scene.root / "aml_config/local.compute").write_text("type: local\n")
        (scene.root / "aml_config/local.runconfig").write_text("Target: local\nFramework: Python\n")
        (scene.root / "train.py").write_text(TRAIN + ("raise SystemExit(1)\n" if fails else ""))
        for number in range(runs):
            (scene.root / "data.txt").write_text(f"{number}" * 1000)
            done = scene.amlexec("experiment", "submit", "-c", "local", "train.py")
            assert done.code == int(fails), done.err
        (scene.root / "data.txt").write_text("the last")
        return scene

    def copy(self, folder: Path) -> Scene:
        """The same in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Scene(folder)

    def amlexec(self, *arguments: str, **variables: str) -> Done:
        """Run a command to its end."""
        environment = {**self.environment, **variables}
        if not variables and commands.can_fork(environment):
            code, out, err = commands.run_forked("amlexec", arguments, self.root, environment, PATIENCE)
            return Done(code, out.decode(), err.decode())
        done = subprocess.run(
            [sys.executable, "-m", "amlexec", *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> list[dict[str, object]]:
        """What a command that must succeed prints as JSON."""
        done = self.amlexec(*arguments, "-o", "json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        return found if isinstance(found, list) else [found]

    @property
    def started(self) -> list[str]:
        """The run ids in the order in which scripts started."""
        return self.marks.read_text().split() if self.marks.exists() else []

    def ended(self) -> list[dict[str, object]]:
        """All runs after they have ended."""
        until = time.monotonic() + PATIENCE
        while True:
            runs = self.json("history", "list")
            open_ones = [run for run in runs if run["status"] in {"Preparing", "Starting", "Running"}]
            if not open_ones:
                return runs
            assert time.monotonic() < until, open_ones
            for run in open_ones:
                self.amlexec("experiment", "status", "-r", str(run["run_id"]))

    def leftovers(self) -> list[str]:
        """Files in the project's state that no run and no store has."""
        state = self.root / ".amlexec"
        found = (path.relative_to(state).as_posix() for path in state.rglob("*"))
        return sorted(name for name in found if not any(re.fullmatch(known, name) for known in _KNOWN))


def counted(flow: Flow, scene: Scene) -> list[str]:
    """The durable steps of a flow that does not crash."""
    log = scene.folder / "steps"
    done = scene.amlexec(
        *flow.command, PYTHONPATH=str(INJECT), AMLEXEC_CRASH_IN=str(scene.root), AMLEXEC_CRASH_LOG=str(log)
    )
    assert done.code == 0, done.err
    return log.read_text().splitlines()


def crashed(flow: Flow, scene: Scene, at: int, how: str) -> Outcome:
    """Run a flow that crashes at step `at`, then check what is left."""
    done = scene.amlexec(
        *flow.command,
        PYTHONPATH=str(INJECT),
        AMLEXEC_CRASH_IN=str(scene.root),
        AMLEXEC_CRASH_AT=str(at),
        AMLEXEC_CRASH_HOW=how,
    )
    if how == "KILL":
        assert done.code in {-signal.SIGKILL, 0}, done.err
    else:
        assert "Traceback" not in done.err, done.err
        assert done.code in {0, 1, 2, 3}, done.err
    flow.check(scene)
    return Outcome(done.code, done.err)


def picked(count: int, most: int) -> Sequence[int]:
    """Numbers of steps from 1 to `count`: all, or `most` of them, evenly."""
    if count <= most:
        return range(1, count + 1)
    return sorted({1 + (count - 1) * number // (most - 1) for number in range(most)})
