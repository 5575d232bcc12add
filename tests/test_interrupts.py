"""Ctrl-C at any moment: the exit code is 130, and nothing else is printed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec import locks

if TYPE_CHECKING:
    from tests.conftest import Done, ProjectFolder

PROGRAM = str(Path(__file__).parent / "support" / "interrupted.py")
MOMENTS = 12
SUBMIT = ("experiment", "submit", "-c", "local", "-o", "json", "train.py")


def interrupted(project: ProjectFolder, at: object, **variables: str) -> Done:
    environment = {**os.environ, **variables}
    # A group of processes of its own, as a shell makes it for each command.
    return project.call(sys.executable, PROGRAM, str(at), *SUBMIT, env=environment, start_new_session=True)


def must_be_interrupted(done: Done) -> None:
    assert done.code == 130, done.err
    assert "interrupted" in done.err or "stopped following" in done.err, done.err
    for word in ("Traceback", "ignored", "error: "):
        assert word not in done.err, done.err


def test_at_any_moment(project: ProjectFolder, tmp_path: Path) -> None:
    project.write("train.py", "print('trained')\n")
    counted = tmp_path / "steps"
    whole = interrupted(project, -1, STEPS=str(counted))
    assert whole.code == 0, whole.err
    steps = int(counted.read_text())
    assert steps > 1000
    for number in range(1, MOMENTS + 1):
        done = interrupted(project, steps * number // (MOMENTS + 1))
        if done.code == 0:  # it came while the end of the run was recorded, or it was too late
            assert json.loads(done.out)["status"] == "Completed"
        else:
            must_be_interrupted(done)


@pytest.mark.parametrize("line", [1, 2, 3])
def test_while_a_lock_is_released(project: ProjectFolder, line: int) -> None:
    """A second release fails if the first one did not come to its end."""
    project.write("train.py", "print('trained')\n")
    must_be_interrupted(interrupted(project, f"locks.py:release:{line}"))


def test_a_lock_is_closed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = locks.take(str(tmp_path / "lock"))
    assert held is not None
    close = os.close

    def interrupted_after(descriptor: int) -> None:
        close(descriptor)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", interrupted_after)
        with pytest.raises(KeyboardInterrupt):
            held.release()
    held.release()  # the number may be another file's by now
    other = locks.take(str(tmp_path / "lock"))
    assert other is not None
    other.release()


LATER = """
import os, signal, time
from amlexec import interrupts
interrupts.begin()
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
try:
    Finalized()
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", interrupts.came())
"""


def test_in_a_finalizer(project: ProjectFolder) -> None:
    """Python itself only prints such an exception."""
    done = project.call(sys.executable, "-c", LATER)
    assert (done.code, done.out, done.err) == (0, "interrupted True\n", "")
