"""What the answers of a machine mean: what is so, or the reason and the cure. No disk, no network.

The answers are those of `runtime/check.sh`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
_CLOCK_SECONDS = 60.0
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
    if target.kind in {"remote", "cluster"}:
        found.append(_python(target, facts) if target.user_managed_environment else _environments(facts))
    if target.kind == "cluster":
        found.append(_spark(target, facts))
    if target.kind == "remotedocker":
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
    if seconds < _CLOCK_SECONDS:
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


def _environments(facts: Facts) -> Finding:
    name = "environments"
    if not facts.get("LIBC").startswith("glibc"):
        hint = "use Docker there, or a Python of yours with userManagedEnvironment: true"
        return Finding(name, FAILED, "the machine has no glibc, which conda's packages are made for", hint)
    if facts.get("HOME_WRITABLE") and not facts.get("HOME_PROGRAMS"):
        hint = "an environment in it could not run: have it mounted without noexec"
        return Finding(name, FAILED, "no program can be started from the home folder", hint)
    return Finding(name, OK, f"in ~/.amlexec/envs, for {facts.get('LIBC')}")


def _spark(target: ComputeTarget, facts: Facts) -> Finding:
    if path := facts.get("SPARK"):
        return Finding("Spark", OK, path)
    wanted = target.spark_submit_location
    hint = f"write sparkSubmitLocation: /PATH/TO/spark-submit into {target.place.path}"
    return Finding("Spark", FAILED, f"there is no {wanted} that a login without a terminal finds", hint)


def _docker(target: ComputeTarget, facts: Facts) -> list[Finding]:
    """What keeps the engine from being asked; nothing where it can be."""
    socket, user = facts.get("DOCKER_SOCKET"), facts.get("USER") or target.username
    group = f"sudo usermod -aG docker {user}"
    if facts.get("DOCKER_ACCESS"):
        free = facts.get("DOCKER_FREE")
        if free.isdecimal() and int(free) * 1024 < TIGHT:
            status = FAILED if int(free) * 1024 < FULL else WARNING
            told = f"/var/lib/docker has only {size(int(free) * 1024)} free"
            return [
                Finding("Docker's disk", status, told, "make room there; `docker system df` says what is big")
            ]
        return []
    if not socket and not facts.get("DOCKER_CLIENT"):
        hint = "install Docker Engine there: https://docs.docker.com/engine/install"
        return [Finding("Docker", FAILED, "it is not there", hint)]
    if not socket:
        hint = "start it there: sudo systemctl enable --now docker"
        return [Finding("Docker", FAILED, "it is installed, and no engine listens", hint)]
    if version := facts.get("DOCKER_SUDO"):
        told = f"only `sudo docker` works (version {version}): {user} may not use {socket}"
        return [
            Finding("Docker", FAILED, told, f"type there: {group}; it holds from the next login, in a minute")
        ]
    told = f"{user} may not use {socket}"
    hint = f"ask who runs the machine for: {group}; it holds from the next login, in a minute"
    return [Finding("Docker", FAILED, told, hint)]


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
