"""An installation that is interrupted writes no more files: its folder can be removed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from amlexec.packages import conda_install, conda_solve, network
from amlexec.packages.platforms import Platform
from amlexec.values import CondaDependencies, Line, Place, Project

if TYPE_CHECKING:
    from pathlib import Path

_MOMENTS = 12
"""How many moments of an installation are tried."""


# Before a `with`, an interrupt may leave a file to Python's collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_written_after_an_interrupt(channel: str, tmp_path: Path) -> None:
    place = Place("conda_dependencies.yml", 1)
    dependencies = CondaDependencies(place, (Line(channel, place),), (Line("python", place),))
    settings, cache, platform = network.settings(), tmp_path / "cache", Platform("linux-64")
    cache.mkdir()
    project = Project(str(tmp_path))
    records = conda_solve.solve(project, dependencies, platform, settings, cache=cache)

    def install(name: str) -> None:
        conda_install.install(records, tmp_path / name, "/opt/env", platform, settings, cache=cache)

    install("fetches")
    began = time.monotonic()
    install("whole")
    takes = time.monotonic() - began
    interrupted = 0
    for moment in range(_MOMENTS):
        prefix = tmp_path / f"prefix-{moment}"
        timer = threading.Timer(takes * (moment + 0.5) / _MOMENTS, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            install(prefix.name)
            timer.join()
            time.sleep(1)  # it comes here at the latest
        except KeyboardInterrupt:
            interrupted += 1
        shutil.rmtree(prefix, ignore_errors=True)
        time.sleep(0.02)
        assert not prefix.exists(), sorted(prefix.rglob("*"))[:5]
    assert interrupted == _MOMENTS
