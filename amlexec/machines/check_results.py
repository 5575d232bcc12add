"""What the answers of a machine mean: what is so, or the reason and the cure. No disk, no network.

The answers are those of `runtime/check.sh`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.docker.errors import EngineAbsentError, EngineDeniedError
from amlexec.docker.forward import found_in
from amlexec.packages.platforms import misfit, of_target

if TYPE_CHECKING:
    from amlexec.model import ComputeTarget

__all__ = ["FAILED", "FULL", "OK", "TIGHT", "WARNING", "Facts", "Finding", "facts_of", "judge", "size"]

OK, WARNING, FAILED = "ok", "warning", "failed"

_MB = 1 << 20
_GB = 1 << 30
FULL = 100 * _MB
"""Bytes free on a disk with which nothing is to be begun."""
TIGHT = 2 * _GB
"""An environment with a framework of machine learning in it has more."""
_CLOCK_TOLERANCE_S = 60.0
_OLDEST_PYTHON = (3, 5)
"""What travels into a run speaks that."""


class Finding(NamedTuple):
    """The answer to one question."""

    check: str
    status: str
    """`ok`, `warning` or `failed`."""
    message: str
    hint: str = ""


class Facts(NamedTuple):
    """What `check.sh` has printed."""

    values: dict[str, tuple[str, ...]]
    clock: float
    """Seconds by which the machine's clock is ahead of ours, as far as that is certain; 0 for the same."""

    def get(self, key: str) -> str:
        """The value of a key, or ""."""
        return self.values.get(key, ("",))[0]


def facts_of(text: str, before: float, after: float) -> Facts:
    """Read what `check.sh` has printed; `before` and `after` are our clock around it, in seconds."""
    values: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        values[key] = (*values.get(key, ()), value.strip())
    clock = values.get("CLOCK", ("",))[0]
    ahead = 0.0
    if clock.isdecimal():
        there = int(clock)
        # It has whole seconds, and told its time at some moment between ours.
        ahead = min(0.0, there + 1 - before) + max(0.0, there - after)
    return Facts(values, ahead)


def judge(target: ComputeTarget, facts: Facts) -> list[Finding]:
    """What the facts of a machine over SSH mean for that target. The Docker engine is asked by `engine`."""
    found = [_system(facts), _shell(facts), _home(facts), _clock(facts)]
    kind = kinds.of(target.kind)
    if kind.uses_python_location:
        found.append(
            _python(target, facts) if target.user_managed_environment else _environments(target, facts)
        )
    if kind.is_spark_cluster:
        found.append(_spark(target, facts))
    if kind.in_container:
        found += _docker(target, facts)
    return [*found, _gpu(facts), _transfer(facts)]


def _system(facts: Facts) -> Finding:
    name = facts.get("SYSTEM") or "an unknown system"
    told = f"{facts.get('RELEASE') or name}, {facts.get('MACHINE')}"
    if name != "Linux":
        return Finding("system", FAILED, f"it is {told}", "attach a machine that runs Linux")
    return Finding("system", OK, told)


def _shell(facts: Facts) -> Finding:
    if missing := facts.get("MISSING").split():
        return Finding(
            "POSIX shell", FAILED, f"there is no {', '.join(missing)}", "install what is missing there"
        )
    login = facts.get("LOGIN_SHELL")
    return Finding("POSIX shell", OK, f"/bin/sh{f' (the login shell is {login})' if login else ''}")


def _home(facts: Facts) -> Finding:
    home, free = facts.get("HOME"), facts.get("HOME_FREE")
    room = int(free) * 1024 if free.isdecimal() else None
    where = home or "the home folder"
    reason = facts.get("HOME_ERROR").rpartition(": ")[2].rstrip(".") or "no file can be made there"
    # A shell may know no more of a full disk than this.
    of_space = any(words in reason.lower() for words in ("space", "quota", "i/o error", "input/output"))
    if not facts.get("HOME_WRITABLE") and not (of_space and room is not None and room < FULL):
        reason = reason[:1].lower() + reason[1:] if reason[:4] != "HOME" else reason
        hint = "the home folder of the user has to be there and to be writable: runs are kept in ~/.amlexec"
        return Finding("home folder", FAILED, f"{where}: {reason}", hint)
    if room is not None and room < FULL:
        return Finding("home folder", FAILED, f"{where} has only {size(room)} free", "make room there")
    if room is None:
        return Finding("home folder", OK, where)
    told = f"{where}, {size(room)} free"
    if room < TIGHT:
        return Finding("home folder", WARNING, told, "environments and runs need room: make some there")
    return Finding("home folder", OK, told)


def _clock(facts: Facts) -> Finding:
    seconds = abs(facts.clock)
    if seconds < _CLOCK_TOLERANCE_S:
        return Finding("clock", OK, "the same as here" if seconds < 2 else f"{seconds:.0f} s off")
    side = "ahead of" if facts.clock > 0 else "behind"
    return Finding(
        "clock",
        WARNING,
        f"{_span(seconds)} {side} the one here; the times of runs are those of the machine",
        "let it set its clock by the network: sudo timedatectl set-ntp true",
    )


def _python(target: ComputeTarget, facts: Facts) -> Finding:
    file = target.place.path
    version, _, path = facts.get("PYTHON").partition(" ")
    others = [each for each in facts.values.get("OTHER_PYTHON", ()) if each != path]
    cure = (
        f"write pythonLocation: {others[0]} into {file}"
        if others
        else f"name one by pythonLocation in {file}"
    )
    if failure := facts.get("PYTHON_ERROR"):
        path, _, words = failure.partition(" ")
        return Finding("Python", FAILED, f"{path} doesn't answer as a Python does: {words.rstrip('.')}", cure)
    if not version:
        missing = f"pythonLocation is {target.python_location!r}, and there is no such program"
        return Finding("Python", FAILED, missing, cure if others else "install Python there, such as python3")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST_PYTHON:
        return Finding("Python", FAILED, f"{path} is Python {version}; 3.5 or later is needed", cure)
    return Finding("Python", OK, f"{version} ({path})")


def _environments(target: ComputeTarget, facts: Facts) -> Finding:
    name = "environments"
    known = {key.lower(): facts.get(key) for key in ("SYSTEM", "MACHINE", "LIBC", "GZIP") if facts.get(key)}
    known["tar"] = "yes"  # there is a word of its own on it
    if facts.get("HOME_PROGRAMS") or not facts.get("HOME_WRITABLE"):
        known["programs"] = "yes"
    why, cure = misfit(known, of_target(target))
    if why:
        return Finding(name, FAILED, why, cure)
    return Finding(name, OK, f"in ~/.amlexec/envs, for {facts.get('LIBC')}")


def _spark(target: ComputeTarget, facts: Facts) -> Finding:
    if path := facts.get("SPARK"):
        return Finding("Spark", OK, path)
    wanted = target.spark_submit_location
    hint = f"write sparkSubmitLocation: /PATH/TO/spark-submit into {target.place.path}"
    return Finding("Spark", FAILED, f"there is no {wanted} that a login without a terminal finds", hint)


def _docker(target: ComputeTarget, facts: Facts) -> list[Finding]:
    """What keeps the engine from being asked; nothing where it can be."""
    told = {key: values[0] for key, values in facts.values.items()}
    try:
        found_in(told, target.name)
    except EngineDeniedError as error:
        socket, user = facts.get("SOCKET"), facts.get("USER") or target.username
        if version := facts.get("DOCKER_SUDO"):
            told_so = f"only `sudo docker` works (version {version}): {user} may not use {socket}"
            cure = f"type there: sudo usermod -aG docker {user}; it holds from the next login, in a minute"
            return [Finding("Docker", FAILED, told_so, cure)]
        return [Finding("Docker", FAILED, error.message, error.hint)]
    except EngineAbsentError as error:
        return [Finding("Docker", FAILED, error.message, error.hint)]
    free = facts.get("DOCKER_FREE")
    if not free.isdecimal() or int(free) * 1024 >= TIGHT:
        return []
    status = FAILED if int(free) * 1024 < FULL else WARNING
    only = f"/var/lib/docker has only {size(int(free) * 1024)} free"
    return [Finding("Docker's disk", status, only, "make room there; `docker system df` says what is big")]


def _gpu(facts: Facts) -> Finding:
    if found := facts.values.get("GPU", ()):
        names = sorted(set(found))
        return Finding("GPU", OK, ", ".join(f"{found.count(name)} x {name}" for name in names))
    if error := facts.get("GPU_ERROR"):
        return Finding("GPU", WARNING, error.rstrip("."), "see whether nvidia-smi works there")
    return Finding("GPU", OK, "none")


def _transfer(facts: Facts) -> Finding:
    if not facts.get("TAR"):
        return Finding("tar", FAILED, "it is not there, so no files can be sent", "install tar there")
    return Finding("tar", OK, "it is there")


def size(number: int) -> str:
    return f"{number / _GB:.1f} GB" if number >= _GB else f"{number / _MB:.0f} MB"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
