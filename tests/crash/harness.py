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
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.keystore import store as keystore
from tests.conftest import PATIENCE, Done
from tests.support import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.crash.sites import Site

__all__ = ["Crashed", "Flow", "Scene", "counted", "crashed", "first", "in_order", "picked", "possible"]

INJECT = Path(__file__).with_name("inject")
_OPEN = {"Preparing", "Starting", "Running", "Unreachable"}
_KNOWN = (
    r"\.gitignore|submitted|[a-z-]+\.lock|trash|runs|outside",
    r"(cache|changed|environments|index|sweeps)(/.*)?|[a-z_.-]+\.(sqlite|db|json)(-[a-z]+)?",
    r"runs/[^./][^/]*(/(run\.json|std(out|err)\.log|control\.log|[a-z]+\.jsonl|python\.json|packages\.txt))?",
    r"runs/[^./][^/]*/(outputs(/.*)?|control(/[a-z]+)?|build\.log|logs(/.*)?)",
    r"models(/(names(/iris(/(versions|tags)(/[0-9]+(\.json|/data)?)?)?)?|contents(/[0-9a-f]{64}(/.*)?)?)?)?",
    r"models/names/iris/digests(/[0-9]+-[0-9a-f]{64})?",
    r"models/locks(/[0-9a-f]{64}\.lock)?",
    r"snapshots\.git(/(HEAD|config|index|taken\.json|info(/attributes)?|refs(/(heads|tags))?))?",
    r"snapshots\.git/objects(/([0-9a-f]{2}(/[0-9a-f]+)?|info(/packs)?|pack))?",
    r"snapshots\.git/objects/pack/pack-[0-9a-f]+\.(pack|idx|rev)",
)
"""What may be in a project's state."""


class Flow(NamedTuple):
    """A command, and what has to be there before it."""

    name: str
    command: tuple[str, ...]
    """`LAST` stands for the id of a run, `FOLDER` for a new path beside the project, `SITE` for the name of
    the run configuration, `ADDRESS` for that of a machine, `BOX` for a new name of one."""
    check: Callable[[Scene], None]
    """Called once after a series of crashes. Raises AssertionError if something was lost."""
    runs: int = 1
    """Finished runs before the series."""
    fails: bool = False
    """Whether runs fail, so that their copies of the project are kept."""
    ahead: Callable[[Scene, int], list[str]] | None = None
    """Starts so many runs before the series, one for each crash; their ids."""
    before: Callable[[Scene], None] | None = None
    """What has to be done before each crash."""
    after: Callable[[Scene, str], None] | None = None
    """What is done, and checked, after each crash, with the run."""
    codes: tuple[int, ...] = (0,)
    """The exit codes of the flow if nothing crashes."""
    most: int = 100
    """Crashes in a series: more would be in each other's way."""


class Scene:
    """A project at a site. Each start of its script leaves a line there."""

    def __init__(self, site: Site, folder: Path, earlier: tuple[str, ...] = ()) -> None:
        self.site, self.folder, self.earlier = site, folder, earlier
        self.number = 0
        """Of the crash in its series, from 1."""
        self.root = folder / site.project_name(folder)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AMLEXEC_") or name == "AMLEXEC_CACHE"
        }

    @classmethod
    def made(cls, site: Site, folder: Path, flow: Flow) -> Scene:
        """A new project with the finished runs of a flow, each with a snapshot of its own."""
        scene = cls(site, folder)
        site.write(scene.root)
        scene.script(fails=flow.fails)
        if site.is_prepared and flow.name != "prepare":
            done = scene.amlexec("experiment", "prepare", "-c", site.name)
            assert done.code == 0, done.err
        for number in range(flow.runs):
            (scene.root / "data.txt").write_text(f"{number}" * 1000)
            done = scene.submit()
            assert done.code == int(flow.fails), done.err
        (scene.root / "data.txt").write_text("the last")
        scene.earlier = tuple(scene.ids())
        return scene

    def script(self, *, fails: bool = False, waits: bool = False) -> None:
        """Write the script."""
        lines = [
            "import os, pathlib, time",
            f"with open({self.site.marks(self.root.name)}, 'a') as marks:",
            "    marks.write(os.environ['AMLEXEC_RUN_ID'] + '\\n')",
            "pathlib.Path('outputs').mkdir(exist_ok=True)",
            "pathlib.Path('outputs', 'model.txt').write_text('a model')",
            "print('trained', flush=True)",
            *(["time.sleep(600)"] if waits else []),
            *(["raise SystemExit(1)"] if fails else []),
        ]
        (self.root / "train.py").write_text("\n".join(lines) + "\n")

    def copy(self, folder: Path) -> Scene:
        """The same in another folder."""
        scene = Scene(self.site, folder, self.earlier)
        shutil.copytree(self.folder, folder, symlinks=True)
        if self.root.name != scene.root.name:
            (folder / self.root.name).rename(scene.root)
            text = (scene.root / "train.py").read_text()
            (scene.root / "train.py").write_text(text.replace(self.root.name, scene.root.name))
        shutil.rmtree(folder / "share", ignore_errors=True)
        return scene

    def amlexec(self, *arguments: str, **variables: str) -> Done:
        """Run a command to its end; with variables of the injection, a command that crashes."""
        arguments = tuple(self.site.address if word == "ADDRESS" else word for word in arguments)
        environment = {**self.environment, **variables}
        if variables and not commands.FRESH:
            environment["AMLEXEC_TEST_BEFORE"] = str(INJECT / "sitecustomize.py")
        elif variables:
            environment["PYTHONPATH"] = str(INJECT)
        if commands.can_fork(environment):
            code, out, err = commands.run_forked("amlexec", arguments, self.root, environment, PATIENCE)
            return Done(code, out.decode(errors="replace"), err.decode(errors="replace"))
        done = subprocess.run(
            [sys.executable, "-m", "amlexec", *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def submit(self, *options: str) -> Done:
        """Submit the script."""
        return self.amlexec("experiment", "submit", "-c", self.site.name, *options, "train.py")

    def json(self, *arguments: str) -> list[dict[str, object]]:
        """What a command that must succeed prints as JSON."""
        done = self.amlexec(*arguments, "-o", "json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        return found if isinstance(found, list) else [found]

    def ids(self) -> list[str]:
        """The ids of the runs that are listed, oldest first."""
        return sorted(str(run["run_id"]) for run in self.json("history", "list"))

    @property
    def started(self) -> list[str]:
        """The run ids in the order in which scripts started here."""
        return self.site.started(self)

    def ended(self) -> list[dict[str, object]]:
        """All runs after they have ended."""
        until = time.monotonic() + PATIENCE
        while True:
            runs = self.json("history", "list")
            open_ones = [run for run in runs if run["status"] in _OPEN]
            if not open_ones:
                return runs
            assert time.monotonic() < until, open_ones
            for run in open_ones:
                self.amlexec("experiment", "status", "-r", str(run["run_id"]))

    def leftovers(self) -> list[str]:
        """Files in the project's state that no run and no store has, and what is left at the site."""
        state = self.root / ".amlexec"
        found = (path.relative_to(state).as_posix() for path in state.rglob("*"))
        left = sorted(name for name in found if not any(re.fullmatch(known, name) for known in _KNOWN))
        beside = {self.root.name, "share", "steps"}
        others = (path.name for path in self.folder.iterdir() if path.name not in beside)
        left += sorted(name for name in others if not re.fullmatch(r"out-[0-9]+", name))
        return left + self.site.leftovers(self)

    def out(self) -> Path:
        """A path beside the project, another one for each crash."""
        return self.folder / f"out-{self.number}"

    def words(self, flow: Flow, last: str = "") -> list[str]:
        """The command of a flow here, on that run."""
        stand_for = {"LAST": last or self.earlier[-1] if "LAST" in flow.command else ""}
        stand_for |= {"FOLDER": str(self.out()), "BOX": f"box{self.number}"}
        return [stand_for.get(word, word).replace("SITE", self.site.name) for word in flow.command]

    def crash(self, flow: Flow, last: str, **variables: str) -> Done:
        """Run the command of a flow with the injection."""
        folders = [str(self.folder), str(keystore.folder()), *self.site.folders]
        return self.amlexec(*self.words(flow, last), AMLEXEC_CRASH_IN=":".join(folders), **variables)


def counted(flow: Flow, scene: Scene, *, is_checked: bool = True) -> list[str]:
    """The names of the durable steps of a flow that does not crash; what it leaves is checked too."""
    (last,) = flow.ahead(scene, 1) if flow.ahead else [""]
    if flow.before is not None:
        flow.before(scene)
    log = scene.folder / "steps"
    done = scene.crash(flow, last, AMLEXEC_CRASH_LOG=str(log))
    assert done.code in flow.codes, done.err
    if is_checked:
        if flow.after is not None:
            flow.after(scene, last)
        flow.check(scene)
    return log.read_text().splitlines()


class Crashed(NamedTuple):
    """A series of crashes."""

    steps: list[str]
    """The steps at which it has really crashed."""
    failed: str
    """What was lost or left; "" for nothing."""


def crashed(flow: Flow, scene: Scene, steps: Sequence[str], how: str) -> Crashed:
    """Run a flow once for each step, and let it crash there; then check what is left of all."""
    reached: list[str] = []
    log = scene.folder / "steps"
    told = ""
    try:
        lasts = flow.ahead(scene, len(steps)) if flow.ahead else [""] * len(steps)
        for step, last in zip(steps, lasts, strict=True):
            scene.number += 1
            if flow.before is not None:
                flow.before(scene)
            log.unlink(missing_ok=True)
            variables = {"AMLEXEC_CRASH_AT": step, "AMLEXEC_CRASH_HOW": how, "AMLEXEC_CRASH_LOG": str(log)}
            done = scene.crash(flow, last, **variables)
            told = f"exit code {done.code}: {done.err[-500:]}"
            if log.exists() and "CRASH" in log.read_text().splitlines():
                reached.append(step)
                codes = {-signal.SIGKILL} if how == "KILL" else {0, 1, 2, 3}
            else:
                codes = {*flow.codes}
            assert done.code in codes
            assert "Traceback" not in done.err
            if flow.after is not None:
                flow.after(scene, last)
        flow.check(scene)
    except AssertionError as error:
        where = f"{scene.folder}: {how} at {reached}, the last one with {told}"
        return Crashed(reached, f"{where}\n{error}\n{traceback.format_exc()[-1500:]}")
    return Crashed(reached, "")


def possible(steps: Sequence[str], how: str) -> list[str]:
    """The steps at which such a crash is possible."""
    if how == "SHORT":
        return [step for step in steps if "half of os.write" in step]
    if how == "KILL":
        return list(steps)
    # A process that was started can't fail to start any more.
    return [step for step in steps if "process was started" not in step]


def in_order(steps: Sequence[str]) -> list[str]:
    """First each step that is not done a second time, then those that are."""
    return sorted(dict.fromkeys(steps), key=lambda step: int(step.rpartition(" ")[2]) > 1)


def first(steps: Sequence[str], text: str) -> str:
    """The first step with this text in its name: the same one on every machine."""
    found = next((step for step in steps if text in step), "")
    assert found, f"no step of this flow has {text!r} in its name: {steps}"
    return found


def picked(count: int, most: int) -> Sequence[int]:
    """Numbers of steps from 1 to `count`: all, or `most` of them, evenly."""
    if count <= most:
        return range(1, count + 1)
    if most == 1:
        return [1 + count // 2]
    return sorted({1 + (count - 1) * number // (most - 1) for number in range(most)})
