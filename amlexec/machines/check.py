"""Checks whether a compute target can be used.

On a machine over SSH, one script (`runtime/check.sh`) on one connection collects the facts.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from amlexec import kinds
from amlexec.errors import AmlexecError, ConfigurationError, TargetError, UsageError
from amlexec.machines.check_results import (
    FAILED,
    FULL,
    OK,
    TIGHT,
    WARNING,
    Facts,
    Finding,
    facts_of,
    judge,
    size,
)
from amlexec.runtime import shell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.docker.client import Engine
    from amlexec.local_machine import Answer
    from amlexec.ssh.connection import SSHConnection
    from amlexec.ssh.login import Login
    from amlexec.values import ComputeTarget, Project

__all__ = ["ExaminedMachine", "ask", "engine", "examine", "findings_of"]

_CHECK_TIMEOUT_S = 90.0
"""For the whole script, in seconds; it limits each program that may hang to ten."""


class ExaminedMachine(Protocol):
    """Runs POSIX shell scripts: an `SSHConnection`."""

    def run(self, script: str, *arguments: str, timeout: float | None = None) -> Answer:
        """Run a script to its end."""


def ask(machine: ExaminedMachine, target: ComputeTarget) -> Facts:
    """Run `check.sh` on the machine, and return its facts.

    Raises:
        TargetError: the machine can't be reached, or the script did not finish.
    """
    script = Path(shell("check")).read_text("utf-8")
    if kinds.of(target.kind).in_container:
        script = f"ask_engine() {{\n{Path(shell('engine')).read_text('utf-8')}\n}}\n{script}"
    before = time.time()
    answer = machine.run(script, *_arguments(target), timeout=_CHECK_TIMEOUT_S)
    facts = facts_of(answer.stdout, before, time.time())
    if not facts.get("END"):
        last = answer.stderr.strip().rpartition("\n")[2] or f"exit code {answer.exit_code}"
        raise TargetError(
            f"the check script failed on the machine: {last.rstrip('.')}",
            where=target.name,
            hint="" if "sharedDirectory" in last else "its /bin/sh must be a POSIX shell",
        )
    return facts


def _arguments(target: ComputeTarget) -> list[str]:
    kind = kinds.of(target.kind)
    wants_python = kind.uses_python_location and target.user_managed_environment and not target.container
    return [
        "engine" if kind.in_container else "",
        target.python_location if wants_python else "",
        target.spark_submit_location if kind.is_spark_cluster else "",
    ]


def examine(project: Project, target: ComputeTarget) -> list[Finding]:
    """Run every check for a target, in the order in which they depend on each other.

    Stops at the first failed check that the others need.

    Raises:
        UsageError: there are no checks for a target of its kind.
        ConfigurationError: its file declares no valid login.
    """
    kind = kinds.of(target.kind)
    if kind.is_here:
        return here(project, target)
    if kind.is_service:
        return _of_service(target)
    if not kind.over_ssh:
        raise UsageError(
            f"{target.name} is of type {target.kind}, a cloud service: there is nothing to check",
            where=str(target.place),
        )
    from amlexec.keystore import store as keystore
    from amlexec.ssh.connection import (
        HostKeyError,
        LoginError,
        UnreachableError,
        connection_of,
        login_of,
    )

    login = login_of(target)
    found = [_resolved(login)]
    if found[0].status == FAILED:
        return found
    # A new connection: what a shared one has proven may no longer be true.
    with connection_of(target, anew=True) as connection:
        try:
            facts = ask(connection, target)
        except UnreachableError as error:
            return [*found, _of_error("SSH", error)]
        except HostKeyError as error:
            return [*found, Finding("SSH", OK, "it answers"), _of_error("host key", error)]
        except LoginError as error:
            refused = _of_error("login", error)
            if keystore.is_handle(login.private_key):
                hint = f"`amlexec computetarget show {target.name}` prints the command that installs its key"
                refused = refused._replace(hint=hint)
            return [*found, *_trusted(login), refused]
        return [*found, *_trusted(login), *findings_of(connection, target, facts)]


def findings_of(connection: SSHConnection, target: ComputeTarget, facts: Facts) -> list[Finding]:
    """The findings after the login, with the Docker engine and Spark if the target needs them."""
    found = [Finding("login", OK, facts.get("USER")), *judge(target, facts)]
    kind = kinds.of(target.kind)
    if kind.in_container and not any(finding.check == "Docker" for finding in found):
        from amlexec.docker.client import Engine
        from amlexec.docker.forward import SSHTransport

        # The same transport as for runs, so that its problems show here.
        answers = {key: values[0] for key, values in facts.values.items()}
        found += engine(Engine(SSHTransport(connection, answers)), target, is_there=True)
    if kind.is_spark_cluster and facts.get("SPARK"):
        from amlexec.machines.check_cluster import of_cluster

        try:
            found += of_cluster(connection, target)
        except TargetError as error:
            found.append(_of_error("Spark", error))
    if kind.is_slurm_cluster:
        from amlexec.machines.check_slurm import of_slurm

        try:
            found += of_slurm(connection, target)
        except TargetError as error:
            found.append(_of_error("Slurm", error))
    return found


def _trusted(login: Login) -> list[Finding]:
    known = f"pinned in {login.known_hosts}" if login.known_hosts else "known to OpenSSH"
    return [Finding("SSH", OK, "it answers"), Finding("host key", OK, known)]


def _resolved(login: Login) -> Finding:
    """Whether the machine's name resolves to an address; a jump host or proxy resolves it itself."""
    import socket

    from amlexec.machines.host_trust import settings

    name = "name resolution"
    options = settings(login)
    host = options.get("hostname", login.host)
    for proxy in ("proxyjump", "proxycommand"):
        if options.get(proxy, "none") != "none":
            return Finding(name, OK, f"{host}, via {options[proxy]}")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        hint = "check the spelling of the address; a name in a company's network may need its VPN"
        return Finding(name, FAILED, f"{host}: {reason}", hint)
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Finding(name, OK, host if addresses == [host] else f"{host} is {', '.join(addresses)}")


def _of_error(check: str, error: AmlexecError) -> Finding:
    return Finding(check, FAILED, error.message, error.hint)


def engine(asked: Engine, target: ComputeTarget, *, is_there: bool = False) -> list[Finding]:
    """Check a Docker engine for the target.

    `is_there` says that the engine is on the target's machine, and not on this one.
    """
    from amlexec.docker.errors import EngineAbsentError, EngineLostError
    from amlexec.packages.platforms import engine_misfit, of_target

    try:
        version = asked.version()
        info = asked.info() if target.nvidia_docker else {}
    except (EngineAbsentError, EngineLostError) as error:
        if is_there:
            return [_of_error("Docker", error)]
        return [Finding("Docker", FAILED, f"no engine answers at {asked.address}", error.hint)]
    except TargetError as error:
        return [_of_error("Docker", error)]
    description = f"{version.get('Version')} ({version.get('Os')}, {version.get('Arch')})"
    if version.get("Os") != "linux":
        return [Finding("Docker", FAILED, f"the engine is {description}", "switch it to Linux containers")]
    why, cure = engine_misfit("linux", str(version.get("Arch", "")), of_target(target))
    if why:
        return [Finding("Docker", FAILED, why, cure)]
    found = [Finding("Docker", OK, description)]
    if target.nvidia_docker:
        found.append(_nvidia(target, info.get("Runtimes") or {}))
    return found


def _nvidia(target: ComputeTarget, runtimes: Iterable[str]) -> Finding:
    if "nvidia" in runtimes:
        return Finding("GPUs in Docker", OK, "the engine has the nvidia runtime")
    hint = "install the NVIDIA Container Toolkit on its machine, or write nvidiaDocker: false into "
    message = "nvidiaDocker is true, but the engine has no nvidia runtime"
    return Finding("GPUs in Docker", FAILED, message, hint + target.place.path)


def _of_service(target: ComputeTarget) -> list[Finding]:
    """Check a target of a service, and the local engine, which builds its images."""
    from amlexec.docker.client import from_environment
    from amlexec.machines import check_kubernetes, check_service

    try:
        builder = from_environment()
    except TargetError as error:
        return [_of_error("Docker", error)]
    of_service = check_kubernetes if kinds.of(target.kind).is_kubernetes else check_service
    return [*engine(builder, target), *of_service.examine(target, builder)]


def here(project: Project, target: ComputeTarget) -> list[Finding]:
    """Check a target on this machine."""
    found = [_folder(project), _git()]
    if not kinds.of(target.kind).in_container:
        found.append(_own_python(project, target))
    else:
        from amlexec.docker.client import from_environment

        try:
            found += engine(from_environment(), target)
        except TargetError as error:
            found.append(_of_error("Docker", error))
    return found


def _folder(project: Project) -> Finding:
    import shutil
    import tempfile

    name = "project folder"
    try:
        with tempfile.TemporaryFile(dir=project.state if os.path.isdir(project.state) else project.root):  # noqa: PTH112
            room = shutil.disk_usage(project.root).free
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Finding(
            name, FAILED, f"{project.root}: {reason}", "runs are stored in .amlexec in that folder"
        )
    status = FAILED if room < FULL else WARNING if room < TIGHT else OK
    return Finding(
        name, status, f"{project.root}, {size(room)} free", "" if status == OK else "make room there"
    )


def _git() -> Finding:
    from amlexec.local_machine import LocalConnection

    try:
        answer = LocalConnection().run(["git", "--version"], timeout=_CHECK_TIMEOUT_S)
    except TargetError as error:
        return Finding("git", FAILED, error.message, "install git: snapshots are made with it")
    return Finding("git", OK, answer.stdout.strip())


def _own_python(project: Project, target: ComputeTarget) -> Finding:
    from amlexec.local_machine import LocalConnection
    from amlexec.targets import local_python

    try:
        found = local_python.version(project, LocalConnection(), local_python.find(project, target))
    except (ConfigurationError, TargetError) as error:
        return Finding("Python", FAILED, error.message, error.hint)
    return Finding("Python", OK, f"{found.version} ({found.path})")
