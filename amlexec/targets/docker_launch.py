"""How a plan will run in a container, and whether the engine supports its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker.client import import_ahead
from amlexec.errors import TargetError
from amlexec.images.labels import PREFIX
from amlexec.targets.script_environment import with_site
from amlexec.targets.target import Launch
from amlexec.targets.volumes import SHARED, SITE
from amlexec.values import Interpreter

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.prepare.prepare import Readiness
    from amlexec.targets.volumes import RunVolumes
    from amlexec.values import Plan

__all__ = ["HOME", "launch"]

HOME = "/amlexec/home"
"""The home folder of users other than root in a container."""


def launch(engine: Engine, volumes: RunVolumes, plan: Plan, environment: Readiness) -> Launch:
    """See `Target.check`."""
    # Needed when the container is created; meanwhile, git takes a snapshot.
    import_ahead()
    if plan.target.nvidia_docker and "nvidia" not in engine.features.runtimes:
        raise TargetError(
            f"{plan.target.key('nvidiaDocker')} is true, but this engine has no NVIDIA runtime",
            where=str(plan.target.where("nvidiaDocker")),
            hint="install the NVIDIA Container Toolkit on the engine's machine, or write "
            f"{plan.target.key('nvidiaDocker')}: false",
        )
    python = f"{PREFIX}/bin/python"
    mounted = volumes.can_mount(plan)
    if mounted:
        volumes.check(plan)
    made = Launch(
        argv=(python, plan.script_argument, *plan.arguments),
        python=Interpreter(python, environment.python),
        platform=environment.platform,
        environment=_environment(volumes, plan, mounted=mounted),
        digest=environment.digest,
        image_id=environment.key,
        warnings=_warnings(volumes, plan, mounted=mounted),
    )
    if plan.framework == "PySpark":
        from amlexec.targets import spark_launch

        return spark_launch.contained(plan, made, engine)
    return made


def _warnings(volumes: RunVolumes, plan: Plan, *, mounted: bool) -> tuple[str, ...]:
    warnings = [why] if (why := volumes.why_not(plan)) else []
    if plan.target.native_shared_directory and not mounted:
        warnings.append(
            f"nativeSharedDirectory needs {plan.target.key('sharedVolumes')}: true; "
            "AZUREML_NATIVE_SHARE_DIRECTORY is not set"
        )
    return tuple(warnings)


def _environment(volumes: RunVolumes, plan: Plan, *, mounted: bool) -> dict[str, str]:
    environment = {
        "PYTHONUNBUFFERED": "1",
        "HOME": HOME if volumes.user.uid else "/root",
        "USER": volumes.user.name,
    }
    if mounted and plan.target.native_shared_directory:
        environment["AZUREML_NATIVE_SHARE_DIRECTORY"] = SHARED
    environment.update(plan.environment_variables)
    return with_site(environment, SITE)
