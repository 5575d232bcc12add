"""`python interrupted.py AT ARGUMENTS…`: amlexec, and Ctrl-C at a certain moment.

AT is a number of steps (lines of Python in the main thread), or `FILE:FUNCTION:N`: the N-th line that runs
in that function. Without an interrupt, the number of steps is written to the file that STEPS names.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_steps = 0


def _is_there(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_filename.endswith(_file) and code.co_name == _function


def _step(frame: FrameType, event: str, _: object) -> Any:
    global _steps
    if event == "line" and (not _file or _is_there(frame)):
        _steps += 1
        if _steps == _at:
            os.killpg(0, signal.SIGINT)
    return _step


def _begin(frame: FrameType, event: str, argument: object) -> Any:
    return _step if not _file or _is_there(frame) else None


def _exit(code: int) -> None:
    sys.settrace(None)
    if named := os.environ.get("STEPS"):
        Path(named).write_text(str(_steps), "utf-8")
    _actual(code)


*_where, _number = sys.argv[1].split(":")
_file, _function = _where or ("", "")
_at = int(_number)
sys.argv = ["amlexec", *sys.argv[2:]]
_actual, os._exit = os._exit, _exit  # type: ignore[assignment] - it returns where the actual one does not

from amlexec.__main__ import main  # noqa: E402

sys.settrace(_begin)
main()
