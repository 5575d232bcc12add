"""The output of `runtime/check.sh` as findings: ok, or the reason and the fix. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.docker.errors import EngineAbsentError, EngineDeniedError
from amlexec.docker.forward import found_in
from amlexec.packages.platforms import misfit, of_target

if TYPE_CHECKING:
    from amlexec.values import ComputeTarget

__all__ = ["FAILED", "FULL", "OK", "TIGHT", "WARNING", "Facts", "Finding", "facts_of", "judge", "size"]

OK, WARNING, FAILED = "ok", "warning", "failed"

_MB = 1 << 20
_GB = 1 << 30
FULL = 100 * _MB
"""Bytes; with less free disk space, a check fails."""
TIGHT = 2 * _GB
"""Bytes; an environment with a machine learning framework needs more."""
_CLOCK_TOLERANCE_S = 60.0
_OLDEST_PYTHON = (3, 5)
"""The oldest version that `runtime/site` supports."""


class Finding(NamedTuple):
    """The result of one check."""

    check: str
    status: str
    """`ok`, `warning` or `failed`."""
    message: str
    hint: str = ""


class Facts(NamedTuple):
    """The output of `check.sh`."""

    values: dict[str, tuple[str, ...]]
    clock: float
    """Seconds by which the machine's clock is certainly ahead of this computer's; 0 for the same."""

    def get(self, key: str) -> str:
        """The value of a key, or ""."""
        return self.values.get(key, ("",))[0]


def facts_of(text: str, before: float, after: float) -> Facts:
    """Read the output of `check.sh`; `before` and `after` are the local times around it, in seconds."""
    values: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        values[key] = (*values.get(key, ()), value.strip())
    clock = values.get("CLOCK", ("",))[0]
    ahead = 0.0
    if clock.isdecimal():
        seconds = int(clock)
        # In whole seconds, read at some moment between `before` and `after`.
        ahead = min(0.0, seconds + 1 - before) + max(0.0, seconds - after)
    return Facts(values, ahead)


def judge(target: ComputeTarget, facts: Facts) -> list[Finding]:
    """The findings for a target on a machine over SSH. `check.engine` checks the Docker engine itself."""
    found = [_system(facts), _shell(facts), _home(facts), _clock(facts)]
    kind = kinds.of(target.kind)
    if kind.uses_python_location and not target.container:
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
    description = f"{facts.get('RELEASE') or name}, {facts.get('MACHINE')}"
    if name != "Linux":
        return Finding("system", FAILED, f"it is {description}", "attach a machine that runs Linux")
    return Finding("system", OK, description)


def _shell(facts: Facts) -> Finding:
    if missing := facts.get("MISSING").split():
        return Finding("POSIX shell", FAILED, f"missing: {', '.join(missing)}", "install these programs")
    login = facts.get("LOGIN_SHELL")
    return Finding("POSIX shell", OK, f"/bin/sh{f' (the login shell is {login})' if login else ''}")


def _home(facts: Facts) -> Finding:
    home, free = facts.get("HOME"), facts.get("HOME_FREE")
    room = int(free) * 1024 if free.isdecimal() else None
    where = home or "the home folder"
    reason = facts.get("HOME_ERROR").rpartition(": ")[2].rstrip(".") or "no file can be made there"
    # Some shells report a full disk as one of these.
    of_space = any(words in reason.lower() for words in ("space", "quota", "i/o error", "input/output"))
    if not facts.get("HOME_WRITABLE") and not (of_space and room is not None and room < FULL):
        reason = reason[:1].lower() + reason[1:] if reason[:4] != "HOME" else reason
        hint = "the user needs a writable home folder: runs are stored in ~/.amlexec"
        return Finding("home folder", FAILED, f"{where}: {reason}", hint)
    if room is not None and room < FULL:
        return Finding("home folder", FAILED, f"{where} has only {size(room)} free", "make room there")
    if room is None:
        return Finding("home folder", OK, where)
    message = f"{where}, {size(room)} free"
    if room < TIGHT:
        return Finding("home folder", WARNING, message, "make room there for environments and runs")
    return Finding("home folder", OK, message)


def _clock(facts: Facts) -> Finding:
    seconds = abs(facts.clock)
    if seconds < _CLOCK_TOLERANCE_S:
        return Finding("clock", OK, "the same as on this computer" if seconds < 2 else f"{seconds:.0f} s off")
    side = "ahead of" if facts.clock > 0 else "behind"
    return Finding(
        "clock",
        WARNING,
        f"{_span(seconds)} {side} this computer's; the times of runs are those of the machine",
        "synchronize its clock: sudo timedatectl set-ntp true",
    )


def _python(target: ComputeTarget, facts: Facts) -> Finding:
    file = target.place.path
    version, _, path = facts.get("PYTHON").partition(" ")
    others = [other for other in facts.values.get("OTHER_PYTHON", ()) if other != path]
    cure = f"write pythonLocation: {others[0]} into {file}" if others else f"set pythonLocation in {file}"
    if failure := facts.get("PYTHON_ERROR"):
        path, _, words = failure.partition(" ")
        return Finding("Python", FAILED, f"{path} does not work as a Python: {words.rstrip('.')}", cure)
    if not version:
        missing = f"pythonLocation is {target.python_location!r}, but there is no such program"
        return Finding("Python", FAILED, missing, cure if others else "install Python there, such as python3")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST_PYTHON:
        return Finding("Python", FAILED, f"{path} is Python {version}; 3.5 or later is needed", cure)
    return Finding("Python", OK, f"{version} ({path})")


def _environments(target: ComputeTarget, facts: Facts) -> Finding:
    name = "environments"
    known = {key.lower(): facts.get(key) for key in ("SYSTEM", "MACHINE", "LIBC", "GZIP") if facts.get(key)}
    known["tar"] = "yes"  # it has a check of its own
    if facts.get("HOME_PROGRAMS") or not facts.get("HOME_WRITABLE"):
        known["programs"] = "yes"
    why, cure = misfit(known, of_target(target))
    if why:
        return Finding(name, FAILED, why, cure)
    return Finding(name, OK, f"in ~/.amlexec/envs, for {facts.get('LIBC')}")


def _spark(target: ComputeTarget, facts: Facts) -> Finding:
    if path := facts.get("SPARK"):
        return Finding("Spark", OK, path)
    message = f"a login without a terminal does not find {target.spark_submit_location}"
    hint = f"write sparkSubmitLocation: /PATH/TO/spark-submit into {target.place.path}"
    return Finding("Spark", FAILED, message, hint)


def _docker(target: ComputeTarget, facts: Facts) -> list[Finding]:
    """Why the engine can't be used, if this is known without asking it; and a full disk."""
    answers = {key: values[0] for key, values in facts.values.items()}
    try:
        found_in(answers, target.name)
    except EngineDeniedError as error:
        socket, user = facts.get("SOCKET"), facts.get("USER") or target.username
        if version := facts.get("DOCKER_SUDO"):
            message = f"only `sudo docker` works (version {version}): {user} has no permission for {socket}"
            cure = (
                f"run there: sudo usermod -aG docker {user}; it takes effect in a minute, at the next login"
            )
            return [Finding("Docker", FAILED, message, cure)]
        return [Finding("Docker", FAILED, error.message, error.hint)]
    except EngineAbsentError as error:
        return [Finding("Docker", FAILED, error.message, error.hint)]
    free = facts.get("DOCKER_FREE")
    if not free.isdecimal() or int(free) * 1024 >= TIGHT:
        return []
    status = FAILED if int(free) * 1024 < FULL else WARNING
    only = f"/var/lib/docker has only {size(int(free) * 1024)} free"
    return [
        Finding("Docker's disk", status, only, "make room there; `docker system df` shows what uses space")
    ]


def _gpu(facts: Facts) -> Finding:
    if found := facts.values.get("GPU", ()):
        names = sorted(set(found))
        return Finding("GPU", OK, ", ".join(f"{found.count(name)} x {name}" for name in names))
    if error := facts.get("GPU_ERROR"):
        return Finding("GPU", WARNING, error.rstrip("."), "check that nvidia-smi works there")
    return Finding("GPU", OK, "none")


def _transfer(facts: Facts) -> Finding:
    if not facts.get("TAR"):
        return Finding("tar", FAILED, "it is not installed, so files can't be sent", "install tar there")
    return Finding("tar", OK, "installed")


def size(number: int) -> str:
    return f"{number / _GB:.1f} GB" if number >= _GB else f"{number / _MB:.0f} MB"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
