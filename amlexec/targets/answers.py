"""Parses and checks a machine's answers about runs. No other module parses them.

The machine, or a script that ran on it, may send anything. Every line has a length limit, and an answer that
does not have the form that our scripts print is a TargetError.
"""

from __future__ import annotations

import re

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from amlexec.history.paths import RunPaths

__all__ = [
    "LONGEST_LINE",
    "downloaded_elsewhere",
    "failure",
    "of_another_project",
    "read_frame",
    "read_look",
    "read_records",
    "read_state",
]

LONGEST_LINE = 4096
"""Bytes of a status line."""
_FULL = re.compile("No space left|quota", re.IGNORECASE)
_LONGEST_RECORD = 8 << 20
"""Bytes of a submitted run's record, most of which are the command's arguments."""
_MOST_RUNS = 1_000_000
_MOST_SHOWN = 300
"""Characters of an unreadable answer that an error message shows."""
_TIME = r"[0-9]{1,10}(?:\.[0-9]{0,12})?"
"""Seconds since 1970, as date(1) prints them, up to the last year that a record can have."""
_CODE = r"[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]"
_STATE = re.compile(
    rf"(?P<ended>ended) (?P<code>{_CODE}) (?P<began_ended>-|{_TIME}) (?P<ended_at>{_TIME})"
    r" (?P<canceled_ended>[01])"
    rf"|(?P<lost>lost) (?P<began_lost>-|{_TIME}) (?P<canceled_lost>[01])(?P<restarted> restarted)?"
    rf"|(?P<running>running) (?P<began_running>{_TIME})(?: (?P<now>{_TIME}))?"
    r"|(?P<bare>new|starting)",
    re.ASCII,
)
_FRAME = rb"(?:([12-]) ([0-9]{1,15})|([SQ]) ([^\n]*))\n?"
_LOOKED = {
    "home": r"/[^\x00-\x1f]{0,4000}",
    "path": r"[^\x00-\x1f]*",
    "system": r"[\w.+() -]{1,200}",
    "runtime": r"there",
    "tree": r"[0-9a-f]{40}(?:[0-9a-f]{24})?",
    "environment": r"/[^\x00-\x1f]{0,4000}",
    "marker": r"[^\x00-\x1f]*",
    "python": r"/[^\x00-\x1f]{0,4000}",
    "version": r"[0-9]{1,3}(?:\.[0-9]{1,6}){1,2}",
}


def downloaded_elsewhere(paths: RunPaths, where: str) -> TargetError:
    """The error for a run that another computer submitted, and that is no longer on its target."""
    # The submitting computer may know how it ended.
    return TargetError(
        f"the run {paths.folder.name} is no longer there: the submitting computer has downloaded it, or "
        "it was removed",
        where=where,
        hint=f"its downloaded files are in {paths.folder}",
    )


def of_another_project(run_id: str, where: str) -> TargetError:
    """The error for a run on a machine that is to be changed, and that another project submitted."""
    return TargetError(
        f"the run {run_id} on the machine was not submitted from this project, so it is left alone",
        where=where,
        hint="if the project was moved or copied, name the machine: --from TARGET",
    )


def read_state(output: str, stderr: str, where: str) -> State:
    """Parse the output of `state.sh`. Raises TargetError if it has another form."""
    match = _STATE.fullmatch(output.strip())
    if match is None and stderr.strip() and not output.strip():
        raise TargetError(stderr.strip().rpartition("\n")[2][:_MOST_SHOWN], where=where)
    if match is None:
        shown = stderr.strip() or output.strip() or "no answer"
        raise TargetError(
            f"the state of the run can't be read: {shown[:_MOST_SHOWN]}",
            where=where,
            hint="its supervisor's files in `control` there are damaged, or another program wrote them",
        )
    groups = match.groupdict()
    phase = groups["ended"] or groups["lost"] or groups["running"] or groups["bare"]
    began = _seconds(groups[f"began_{phase}"]) if phase in {"ended", "lost", "running"} else None
    if phase == "ended":
        canceled = groups["canceled_ended"] == "1"
        return State(phase, began, float(groups["ended_at"]), int(groups["code"]), canceled)
    if phase == "lost":
        why = "its machine was restarted before it ended" if groups["restarted"] else ""
        return State(phase, began, canceled=groups["canceled_lost"] == "1", why=why)
    return State(phase, began, now=float(groups["now"]) if groups["now"] else None)


def _seconds(text: str) -> float | None:
    return None if text == "-" else float(text)


def read_frame(line: bytes, where: str) -> tuple[bytes, bytes]:
    """Parse a line of the verb `follow`: the number of a log and a length, or `S` and a
    state, or `Q` and the state of a job in a queue.

    Raises:
        TargetError: it has another form.
    """
    match = re.fullmatch(_FRAME, line)
    if match is None:
        raise _unreadable("the stream of the run's logs", line, where)
    return match[1] or match[3], match[2] or match[4] or b""


def read_look(output: str, where: str) -> dict[str, str]:
    """Parse the output of the verb `look`, by key; values of another form are left out.

    Raises:
        TargetError: the home folder or PATH is missing.
    """
    found: dict[str, str] = {}
    for line in output.split("\n"):
        key, _, value = line.partition(" ")
        if key in _LOOKED and re.fullmatch(_LOOKED[key], value):
            found.setdefault(key, value)
        elif key == "tree":
            # The copy's tree is damaged: use a name that no snapshot has, so that everything is sent again.
            found.setdefault(key, "0" * 40)
    if "home" not in found or "path" not in found:
        raise _unreadable("the machine's answer", output, where)
    return found


def read_records(
    source: IO[bytes], where: str, read: Callable[[str, str, str], State] = read_state
) -> Iterator[tuple[str, State | None, str]]:
    """The runs in the output of the verb `records`: id, state, and the text of the record.

    `read` parses a state, as `read_state` does.

    An unreadable state is None, and an unreadable text "".

    Raises:
        TargetError: the output was cut off, or is too long.
    """
    for _ in range(_MOST_RUNS):
        lines = [_line(source, limit) for limit in (LONGEST_LINE, LONGEST_LINE, _LONGEST_RECORD)]
        if not any(lines):
            return
        if not all(line.endswith(b"\n") for line in lines):
            break
        run_id, status, record = (line[:-1].decode("utf-8", "surrogateescape") for line in lines)
        try:
            state = read(status, "", where)
        except TargetError:
            state = None
        yield run_id, state, record
    raise _unreadable("the list of runs on the machine", "", where)


def _line(source: IO[bytes], limit: int) -> bytes:
    """The next line with its line end, if it arrived; a line longer than `limit` becomes an empty one."""
    line = source.readline(limit)
    if len(line) < limit or line.endswith(b"\n"):
        return line
    while (rest := source.readline(limit)) and not rest.endswith(b"\n"):
        pass
    return b"\n" if rest else line


def _unreadable(what: str, output: str | bytes, where: str) -> TargetError:
    shown = output.decode("utf-8", "backslashreplace") if isinstance(output, bytes) else output
    shown = shown.strip()[:_MOST_SHOWN]
    return TargetError(f"{what} can't be read{f': {shown!r}' if shown else ''}", where=where)


def failure(what: str, stderr: str, where: str) -> TargetError:
    """The error for something that failed on a machine, with its standard error."""
    lines = stderr.strip().splitlines() or [""]
    last = next(filter(_FULL.search, lines), lines[-1])
    full = _FULL.search(last) is not None
    if last.endswith("I/O error"):
        # Some shells report a full disk in this way.
        full, last = True, "nothing can be written there: its disk is full or broken"
    hint = "make room there: `amlexec experiment clean --all` removes the files of runs" if full else ""
    return TargetError(f"{what}: {last or 'no message'}", where=where, hint=hint)
