"""Whatever a command is doing when it ends: no run is lost, none starts twice, and nothing is left for ever.

The suite tries some of the steps; `doit crash` tries all, and prints the counts.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.flows import HERE
from tests.crash.harness import Flow, Scene, counted, crashed, picked
from tests.crash.sites import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

IS_WHOLE = os.environ.get("AMLEXEC_TEST_CRASH") == "all"
SAMPLE = {"submit", "collect", "sweep", "gc", "checkout", "register"}
"""The flows that the suite tries."""
COUNTS = os.environ.get("AMLEXEC_TEST_CRASH_COUNTS")
ALL = dict.fromkeys(("KILL", "ENOSPC", "EIO", "EMFILE", "EINTR", "SHORT"), 10**6)
"""The ways to crash, and at how many steps of a flow."""


def crash_everywhere(site: Site, flow: Flow, folder: Path, ways: Mapping[str, int]) -> None:
    """Let a flow crash in each of these ways at so many of its steps; print how many were tried."""
    template = Scene.made(site, folder / "template", flow)
    steps = counted(flow, template.copy(folder / "whole"), is_checked=IS_WHOLE)
    assert len(steps) > 5
    failed: list[str] = []
    for how, most in ways.items():
        tried = picked(len(steps), most)
        if how == "SHORT":
            tried = [at for at in tried if "half of os.write" in steps[at - 1]]
        elif how != "KILL":
            tried = [at for at in tried if "process was started" not in steps[at - 1]]
        before = len(failed)
        for at in tried:
            scene = template.copy(folder / f"{how}-{at}")
            try:
                crashed(flow, scene, at, how)
            except AssertionError as error:
                failed.append(str(error))
                tell(f"FAILED {error}")
            else:
                shutil.rmtree(scene.folder)
        points = f"{how} at {len(tried)} of {len(steps)} steps"
        tell(f"{site.name} {flow.name}: {points}, {len(failed) - before} failed")
    assert not failed, "\n\n".join(failed)


def tell(line: str) -> None:
    """Print a line, and append it to the file that AMLEXEC_TEST_CRASH_COUNTS names."""
    print(line, flush=True)
    if COUNTS:
        with Path(COUNTS).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@pytest.mark.parametrize(
    "flow",
    [flow for flow in HERE if IS_WHOLE or flow.name in SAMPLE],
    ids=lambda flow: flow.name,
)
def test_a_crash_here_loses_nothing(flow: Flow, tmp_path: Path) -> None:
    crash_everywhere(Site(), flow, tmp_path, ALL if IS_WHOLE else {"KILL": 2, "ENOSPC": 1})
