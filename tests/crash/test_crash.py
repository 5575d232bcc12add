"""Whatever a command is doing when it ends: no run is lost, none starts twice, and nothing is left for ever.

The suite tries some of the steps; `doit crash` tries all, and prints the counts.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.flows import HERE
from tests.crash.harness import Crashed, Flow, Scene, counted, crashed, first, in_order, possible
from tests.crash.sites import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

IS_WHOLE = os.environ.get("AMLEXEC_TEST_CRASH") == "all"
COUNTS = os.environ.get("AMLEXEC_TEST_CRASH_COUNTS")
"""A file for the counts. A file beside it has the points: those that it has are not tried again."""
SECONDS = float(os.environ.get("AMLEXEC_TEST_CRASH_SECONDS", "inf"))
"""For each flow."""
SERIES = int(os.environ.get("AMLEXEC_TEST_CRASH_SERIES", "12"))
"""How many crashes there are before one looks whether something was lost or left."""
WAYS = os.environ.get("AMLEXEC_TEST_CRASH_WAYS", "KILL ENOSPC EIO EMFILE EINTR SHORT")
ALL = dict.fromkeys(WAYS.split(), ("",))
"""The ways to crash, each at every step."""
SAMPLE: dict[str, dict[str, tuple[str, ...]]] = {
    "submit": {
        "KILL": ("os.rename /demo/.amlexec/runs/.new-#-# ", "open /demo/.amlexec/runs/demo_#/control/lock"),
        "ENOSPC": ("os.fsync /demo/.amlexec/runs/.new",),
    },
    "collect": {
        "KILL": (
            "os.rename /demo/.amlexec/runs/demo_#/project/outputs",
            "os.rename /demo/.amlexec/runs/demo_#/.run",
        )
    },
    "sweep": {
        "KILL": ("os.fsync /demo/.amlexec/sweeps/sweep_#/journal.jsonl", "os.rename /demo/.amlexec/runs")
    },
    "gc": {
        "KILL": ("os.rename /demo/.amlexec/runs/demo_#", "os.rename /demo/.amlexec/snapshots.git/packing")
    },
    "checkout": {"KILL": ("os.chmod /.out",), "ENOSPC": ("os.mkdir /.out",)},
    "register": {
        "KILL": ("os.link /demo/.amlexec/models/names",),
        "ENOSPC": ("os.fsync /demo/.amlexec/models",),
    },
    "attach-unseen": {"KILL": ("os.rename /passwords/", "os.link /demo/aml_config/.box#.compute")},
    "attach-key": {"KILL": ("process was started",)},
    "attach-again": {"KILL": ("os.rename /demo/aml_config/.box#.compute",)},
}
"""What the suite tries, by flow and way: the first step with this text in its name.

No number of a step is in it: the same steps are tried whatever else a flow does.
"""


def crash_everywhere(site: Site, flow: Flow, folder: Path, ways: Mapping[str, Sequence[str]]) -> None:
    """Let a flow crash in each of these ways, at the first step with each text; print how many were tried."""
    until = time.monotonic() + SECONDS
    where = f"{site.name}{site.variant}\t{flow.name}"
    template = Scene.made(site, folder / "template", flow)
    counting = template.copy(folder / "whole") if site.is_copied else template
    steps = counted(flow, counting, is_checked=IS_WHOLE)
    assert len(steps) > 5
    failed: list[str] = []

    def scene(name: str) -> Scene:
        return template.copy(folder / name) if site.is_copied else Scene.made(site, folder / name, flow)

    for how, texts in ways.items():
        could = possible(steps, how)
        wanted = in_order(could) if texts == ("",) else [first(could, text) for text in texts]
        wanted = [step for step in wanted if f"{where}\t{how}\t{step}" not in TRIED]
        # What only the first crash can reach, such as making a folder, is tried again in projects of its own.
        missed = dict.fromkeys(wanted)
        tried = bad = 0
        for length in (min(SERIES, flow.most), 1):
            left = list(missed)
            for at in range(0, len(left), length):
                if time.monotonic() > until:
                    break
                found = series(flow, scene, f"{how}-{length}-{at}", left[at : at + length], how)
                tried += len(found.steps)
                for step in found.steps:
                    missed.pop(step, None)
                note(f"{where}\t{how}\t{step}\t{bool(found.failed)}" for step in found.steps)
                if found.failed:
                    bad += 1
                    failed.append(found.failed)
                    tell(f"FAILED {where} {found.failed}")
        assert IS_WHOLE or not missed, f"not reached: {[*missed]}"
        points = f"{how} at {tried} of {len(in_order(could))} steps"
        tell(f"{where}: {points}, {bad} failed")
    assert not failed, "\n\n".join(failed)


def series(flow: Flow, scene: Callable[[str], Scene], name: str, steps: Sequence[str], how: str) -> Crashed:
    """Crash at these steps, one after the other, in one project; if something fails, each alone."""
    place = scene(name)
    found = crashed(flow, place, steps, how)
    if not found.failed:
        shutil.rmtree(place.folder)
        return found
    if len(steps) == 1:
        return found
    told = []
    for number, step in enumerate(steps):
        alone = crashed(flow, scene(f"{name}-{number}"), [step], how)
        told += [alone.failed] if alone.failed else []
    return Crashed(found.steps, "\n".join(told) or f"only one after the other: {found.failed}")


def tell(line: str) -> None:
    """Print a line, and append it to the file of the counts."""
    print(line, flush=True)
    if COUNTS:
        with Path(COUNTS).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def note(points: Iterable[str]) -> None:
    """Append points to the file of those that were tried."""
    if COUNTS:
        with Path(f"{COUNTS}.points").open("a", encoding="utf-8") as file:
            file.writelines(f"{point}\n" for point in points)


def _tried() -> set[str]:
    path = Path(f"{COUNTS}.points")
    if not COUNTS or not path.exists():
        return set()
    return {line.rpartition("\t")[0] for line in path.read_text("utf-8").splitlines()}


TRIED = _tried()


@pytest.mark.parametrize(
    "flow",
    [flow for flow in HERE if IS_WHOLE or flow.name in SAMPLE],
    ids=lambda flow: flow.name,
)
def test_a_crash_here_loses_nothing(flow: Flow, tmp_path: Path) -> None:
    crash_everywhere(Site(), flow, tmp_path, ALL if IS_WHOLE else SAMPLE[flow.name])
