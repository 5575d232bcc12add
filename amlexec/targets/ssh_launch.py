"""How a plan will run on a machine over SSH; gets the environment's state in the same round trip."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from amlexec.errors import ConfigurationError, TargetError
from amlexec.files import SMALL, read_regular
from amlexec.prefixes.remote_prefix import NAME_LENGTH
from amlexec.prefixes.store import PrefixStore
from amlexec.targets.script_environment import handed, of_run, of_supervisor, with_site
from amlexec.targets.target import Launch
from amlexec.values import Interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amlexec.environments.store import Installed
    from amlexec.history.paths import RunPaths
    from amlexec.prepare.prepare import Readiness
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import Plan

__all__ = ["LookingStore", "check_system", "exports", "home_of", "introduced", "launch"]


class LookingStore(PrefixStore):
    """A `PrefixStore` whose first request is part of the target's own `look`."""

    def __init__(self, connection: SSHConnection, look: Callable[[str], Mapping[str, str]]) -> None:
        """`look` gets the name of an environment's folder, and requests all facts that a run needs."""
        super().__init__(connection)
        self._look = look
        self._has_looked = False

    def get(self, digest: str) -> Installed | None:
        """See `EnvironmentStore.get`. The first call makes one round trip for all facts."""
        if not self._has_looked:
            self._has_looked = True
            found = self._look(digest[:NAME_LENGTH])
            self.learn(digest, f"{found.get('environment', '')}\n{found.get('marker', '')}\n")
        return super().get(digest)


def check_system(looked: Mapping[str, str], machine: str) -> None:
    """Raise TargetError if the machine can't run processes for us, by the output of `look`."""
    system = looked.get("system", "")
    if not system.startswith("Linux"):
        raise TargetError(f"runs need Linux, but this machine is {system or 'something else'}", where=machine)


def launch(
    plan: Plan,
    looked: Mapping[str, str],
    environment: Readiness | None,
    *,
    site: str,
    shared: str,
    machine: str,
) -> Launch:
    """See `Target.check`. `looked` is the output of `look`: the machine's facts and the user's own Python.

    `site` is the remote folder of the runtime's Python files; `shared` is the runs' shared folder, or "".

    Raises:
        ConfigurationError: there is no such Python.
    """
    python, version = looked.get("python", ""), looked.get("version", "")
    if environment:
        python, version = f"{environment.key}/bin/python", environment.python
    if not version:
        raise ConfigurationError(
            f"{plan.target.key('pythonLocation')} is {plan.target.python_location!r}, but there is no "
            f"such Python on {machine}",
            where=str(plan.target.where("pythonLocation")),
            hint="give the path of a Python interpreter on that machine",
        )
    variables = {"PYTHONUNBUFFERED": "1"}
    if environment:
        # As in an activated environment.
        prefix = environment.key
        variables |= {"PATH": f"{prefix}/bin:{looked['path']}", "CONDA_PREFIX": prefix}
    if shared:
        variables["AZUREML_NATIVE_SHARE_DIRECTORY"] = f"{shared}/"
    variables.update(plan.environment_variables)
    return Launch(
        argv=(python, plan.script_argument, *plan.arguments),
        python=Interpreter(python, version),
        platform=looked["system"].lower().replace(" ", "-"),
        environment=with_site(variables, site),
        digest=environment.digest if environment else "",
    )


def home_of(launch: Launch) -> str:
    """The user's home folder on the machine."""
    return launch.environment["PYTHONPATH"].partition("/.amlexec/")[0]


def exports(variables: Mapping[str, str], launch: Launch | None = None) -> str:
    """Shell text that exports variables, and makes the folder that the runs of `launch` share, if any."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    shared = launch.environment.get("AZUREML_NATIVE_SHARE_DIRECTORY") if launch is not None else None
    return f"{text}mkdir -p {shlex.quote(shared)} || exit 2\n" if shared else text


def introduced(paths: RunPaths, launch: Launch, preparing: str) -> tuple[str, tuple[str, ...]]:
    """Shell text for the verb `begin`, and the words before the run's command.

    The text has the run's environment, the commands `preparing`, and the record.
    """
    run = paths.folder.name
    folder = f"{home_of(launch)}/.amlexec/runs/{run}"
    environment = {**launch.environment, **of_run(run, folder)}
    given = handed(environment, launch.python.path)
    own = {**given.variables, **of_supervisor(run, folder)}
    text = exports(own, launch)
    record = read_regular(paths.record, SMALL << 3, follow=False).decode("utf-8", "surrogateescape")
    return f"{text}{preparing}record={shlex.quote(record.rstrip())}\n", given.before
