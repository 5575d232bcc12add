"""What a machine answers about runs, as values that were checked: the one place where its words are read.

The machine, or a script that ran there, may say anything: too much, too little, or something else. No line is
read without a bound, and what is not of the form that our scripts print is a TargetError.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.history.paths import RunPaths

__all__ = [
    "LONGEST_LINE",
    "brought_home",
    "failure",
    "read_code",
    "read_frame",
    "read_look",
    "read_records",
    "read_state",
]

LONGEST_LINE = 4096
"""Bytes of a line that says how something is."""
_LONGEST_RECORD = 8 << 20
"""Bytes of a record as it was submitted: the arguments of a command are the most of it."""
_MOST_RUNS = 1_000_000
_MOST_SHOWN = 300
"""Characters of an answer that can't be read, in the message about it."""
_TIME = r"[0-9]{1,10}(?:\.[0-9]{0,12})?"
"""Seconds since 1970, as date(1) prints them, up to a year that a record can have."""
_CODE = r"[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]"
_STATE = re.compile(
    rf"(?P<ended>ended) (?P<code>{_CODE}) (?P<began_ended>-|{_TIME}) (?P<ended_at>{_TIME})"
    r" (?P<canceled_ended>[01])"
    rf"|(?P<lost>lost) (?P<began_lost>-|{_TIME}) (?P<canceled_lost>[01])(?P<restarted> restarted)?"
    rf"|(?P<running>running) (?P<began_running>{_TIME})(?: (?P<now>{_TIME}))?"
    r"|(?P<bare>new|starting)",
    re.ASCII,
)
_FRAME = re.compile(rb"(?:([12-]) ([0-9]{1,15})|(S) ([^\n]*))\n?")
_LOOKED = {
    "home": re.compile(r"/[^\x00-\x1f]{0,4000}"),
    "path": re.compile(r"[^\x00-\x1f]*"),
    "system": re.compile(r"[\w.+() -]{1,200}"),
    "runtime": re.compile(r"there"),
    "tree": re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?"),
    "environment": re.compile(r"/[^\x00-\x1f]{0,4000}"),
    "marker": re.compile(r"[^\x00-\x1f]*"),
    "python": re.compile(r"/[^\x00-\x1f]{0,4000}"),
    "version": re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6}){1,2}", re.ASCII),
}


def brought_home(paths: RunPaths, where: str) -> TargetError:
    """The error of a run that was submitted elsewhere, and is no longer on its target."""
    # Who submitted it may well know how it ended.
    return TargetError(
        f"the run {paths.folder.name} is no longer there: who submitted it has brought it home, or "
        "somebody has removed it",
        where=where,
        hint=f"what came of it is in {paths.folder}",
    )


def read_state(said: str, complaint: str, where: str) -> State:
    """The line of `state.sh` as a value. Raises TargetError where it is something else."""
    match = _STATE.fullmatch(said.strip())
    if match is None and complaint.strip() and not said.strip():
        raise TargetError(complaint.strip().rpartition("\n")[2][:_MOST_SHOWN], where=where)
    if match is None:
        shown = complaint.strip() or said.strip() or "no answer"
        raise TargetError(
            f"the state of the run can't be read: {shown[:_MOST_SHOWN]}",
            where=where,
            hint="what its supervisor has written into `control` there is damaged, or was written by another",
        )
    told = match.groupdict()
    word = told["ended"] or told["lost"] or told["running"] or told["bare"]
    began = _seconds(told[f"began_{word}"]) if word in {"ended", "lost", "running"} else None
    if word == "ended":
        return State(word, began, float(told["ended_at"]), int(told["code"]), told["canceled_ended"] == "1")
    if word == "lost":
        why = "its machine was restarted before it ended" if told["restarted"] else ""
        return State(word, began, canceled=told["canceled_lost"] == "1", why=why)
    return State(word, began, now=float(told["now"]) if told["now"] else None)


def _seconds(text: str) -> float | None:
    return None if text == "-" else float(text)


def read_code(said: str, where: str) -> int:
    """An exit code on a line of its own. Raises TargetError where it is something else."""
    if re.fullmatch(_CODE, said.strip(), re.ASCII) is None:
        raise _unreadable("the exit code", said, where)
    return int(said)


def read_frame(line: bytes, where: str) -> tuple[bytes, bytes]:
    """A line of the verb `follow`: the number of a log and a length, or `S` and a state.

    Raises:
        TargetError: it is something else.
    """
    match = _FRAME.fullmatch(line)
    if match is None:
        raise _unreadable("what comes of the run's logs", line, where)
    return match[1] or match[3], match[2] or match[4] or b""


def read_look(said: str, where: str) -> dict[str, str]:
    """What the verb `look` has found, by key; what is not of its form is left out.

    Raises:
        TargetError: it does not even say where the home is.
    """
    found: dict[str, str] = {}
    for line in said.split("\n"):
        key, _, value = line.partition(" ")
        if key in _LOOKED and _LOOKED[key].fullmatch(value):
            found.setdefault(key, value)
        elif key == "tree":
            # A damaged name of the copy there: one that no snapshot has, so that it is sent anew.
            found.setdefault(key, "0" * 40)
    if "home" not in found or "path" not in found:
        raise _unreadable("what it says of itself", said, where)
    return found


def read_records(source: IO[bytes], where: str) -> Iterator[tuple[str, State | None, str]]:
    """The runs that the verb `records` tells of: id, state, and the text of the record.

    The state is None, and the text "", where it can't be read.

    Raises:
        TargetError: it ends in the middle, or does not end.
    """
    for _ in range(_MOST_RUNS):
        lines = [_line(source, limit) for limit in (LONGEST_LINE, LONGEST_LINE, _LONGEST_RECORD)]
        if not any(lines):
            return
        if not all(line.endswith(b"\n") for line in lines):
            break
        run_id, said, record = (line[:-1].decode("utf-8", "surrogateescape") for line in lines)
        try:
            state = read_state(said, "", where)
        except TargetError:
            state = None
        yield run_id, state, record
    raise _unreadable("the list of the runs there", "", where)


def _line(source: IO[bytes], limit: int) -> bytes:
    """A line with its end, if it has come; a line that is longer than `limit` is an empty one."""
    line = source.readline(limit)
    if len(line) < limit or line.endswith(b"\n"):
        return line
    while (rest := source.readline(limit)) and not rest.endswith(b"\n"):
        pass
    return b"\n" if rest else line


def _unreadable(what: str, said: str | bytes, where: str) -> TargetError:
    shown = said.decode("utf-8", "backslashreplace") if isinstance(said, bytes) else said
    shown = shown.strip()[:_MOST_SHOWN]
    return TargetError(f"{what} can't be read{f': {shown!r}' if shown else ''}", where=where)


def failure(what: str, said: str, where: str) -> TargetError:
    """The error that something failed on a machine; `said` is what it wrote to standard error."""
    last = said.strip().rpartition("\n")[2]
    full = "No space left" in said or "quota" in said.lower()
    if last.endswith("I/O error"):
        # Some shells know no more of a full disk than this.
        full, last = True, "nothing can be written there: its disk is full, or broken"
    hint = "make room there: `amlexec experiment clean --all` removes what runs have left" if full else ""
    return TargetError(f"{what}: {last or 'it said nothing'}", where=where, hint=hint)
