"""What stops the runs of a sweep: its threads are not cut off in the middle of a run's end."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from amlexec.sweeps import stopper

if TYPE_CHECKING:
    import pytest


def test_the_end_of_a_sweep_waits_for_who_records_the_end_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the container of its last run stayed until the next command."""
    began, ended = threading.Event(), threading.Event()

    def bring_metrics(*_: object) -> None:
        began.set()
        time.sleep(0.2)
        ended.set()

    monkeypatch.setattr(stopper, "bring_metrics", bring_metrics)
    monkeypatch.setattr(stopper, "_METRICS_INTERVAL_S", 0.01)
    sweep: Any = SimpleNamespace(project=None, states={})
    monitor: Any = SimpleNamespace()
    tested = stopper.Stopper(sweep, monitor, print)
    tested.start(threading.Condition(), [])
    assert began.wait(60)
    tested.finish()
    assert ended.is_set()
