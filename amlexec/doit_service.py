"""The doit tasks of services that a `dodo.py` declares: `image:NAME` and `deploy:NAME`.

    service("iris", script="score.py", models=["iris:champion"], sample='{"x": 1}')

`image:NAME` is up to date while the versions of its models, its files and its environment are the same, and
the engine has the image; `deploy:NAME` while the service runs that image.
"""

from __future__ import annotations

from pathlib import Path

from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from amlexec.values import Project

__all__ = [
    "DECLARED",
    "DeclaredService",
    "declare",
    "deployed",
    "files_of",
    "image_made",
    "is_deployed",
    "is_made",
]


class DeclaredService(NamedTuple):
    """A service of a `dodo.py`."""

    name: str
    script: str
    models: tuple[str, ...] = ()
    target: str = "docker"
    conda: str = ""
    include: tuple[str, ...] = ()
    sample: str = ""
    replicas: int = 1
    port: int = 0
    publish: str | None = None

    def arguments(self, project: Project) -> argparse.Namespace:
        """As the arguments of `amlexec service create`."""
        import argparse

        more = {"registry": None, "certificate": None, "memory": None, "cpus": None, "redact": None}
        values = {**self._asdict(), "models": list(self.models), "include": list(self.include)}
        script = str(Path(project.root, self.script))
        return argparse.Namespace(
            **{**values, **more, "file": script, "image": None, "log_requests": None, "insecure": False}
        )


DECLARED: dict[str, DeclaredService] = {}
"""What the `dodo.py` that is being read has declared."""


def declare(name: str, script: str, models: Sequence[str] = (), **more: Any) -> None:
    """See `amlexec.tasks.service`. Raises UsageError."""
    unknown = sorted(set(more) - set(DeclaredService._fields))
    if unknown:
        raise UsageError(
            f"the service {name} has no setting {unknown[0]}",
            hint=f"settings are {', '.join(DeclaredService._fields[1:])}",
        )
    more = {key: tuple(value) if isinstance(value, list) else value for key, value in more.items()}
    DECLARED[name] = DeclaredService(name, script, tuple(models), **more)


def files_of(project: Project, declared: DeclaredService) -> list[str]:
    """The files of its image in the project: the script, what it imports, what is included, dependencies."""
    from amlexec.services.local_imports import included

    script = Path(project.root, declared.script)
    if not script.is_file():
        return [str(script)]  # doit says that it is missing
    try:
        found = [path for path, _ in included(script, declared.include)]
    except UsageError:
        return [str(script)]  # `image:NAME` says what is wrong
    dependencies = Path(project.root, declared.conda or "aml_config/conda_dependencies.yml")
    found += [dependencies] if dependencies.is_file() else []
    files = [file for path in found for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [str(file) for file in files if file.is_file() and "__pycache__" not in file.parts]


def _versions(project: Project, declared: DeclaredService) -> str:
    """Its models, as the registry and the files are now."""
    from amlexec.digest import of_file
    from amlexec.services import models

    found = []
    for one in models.found(project, declared.models):
        digest = one.digest or (of_file(str(one.path)) if one.path.is_file() else "a folder")
        found.append(f"{one.name}:{one.version} {digest}")
    return ", ".join(found)


def is_made(project: Project, declared: DeclaredService, values: dict[str, Any]) -> bool:
    """Whether the engine has the image that the task has made last, of the same models and environment."""
    from amlexec.errors import AmlexecError
    from amlexec.services import environment, image

    if values.get("declared") != repr(declared):
        return False
    try:
        versions = _versions(project, declared)
        if values.get("models") != versions or "a folder" in versions:
            return False
        engine = environment.store_for(environment.target_for(project, declared.target)).engine
        return image.find(engine, str(values["image"])) is not None
    except AmlexecError:
        return False  # the task says what is wrong


def image_made(project: Project, declared: DeclaredService) -> dict[str, str]:
    """The action of `image:NAME`; the values that doit keeps."""
    from amlexec import console
    from amlexec.commands import image_create
    from amlexec.services import image

    found = image_create.made(project, declared.arguments(project))
    console.data(found.reference)
    reference = image.reference(found.name, found.content)
    return {"image": reference, "models": _versions(project, declared), "declared": repr(declared)}


def is_deployed(project: Project, declared: DeclaredService) -> bool:
    """Whether the service runs the newest image of its name with the declared number of replicas."""
    from amlexec.errors import AmlexecError
    from amlexec.services import environment, find, image

    try:
        engine = environment.store_for(environment.target_for(project, declared.target)).engine
        found = image.find(engine, image.reference(declared.name))
        service = find.find(engine, declared.name)
    except AmlexecError:
        return False  # the task says what is wrong
    if found is None or service is None:
        return False
    running = service.state == "running" and service.settings.replicas == declared.replicas
    return running and service.settings.image == found.image_id


def deployed(project: Project, declared: DeclaredService) -> int:
    """The action of `deploy:NAME`: create the service, or update it; the exit code."""
    from amlexec.commands import service_deploy
    from amlexec.services import environment, find, image

    engine = environment.store_for(environment.target_for(project, declared.target)).engine
    name = image.reference(declared.name)
    found = image.find(engine, name)
    arguments = declared.arguments(project)
    arguments.file, arguments.models, arguments.image = None, [], name
    service = find.find(engine, declared.name)
    if service is None:
        arguments.verb = "create"
    elif (
        found and service.settings.image == found.image_id and service.settings.replicas != declared.replicas
    ):
        arguments.verb = "scale"
    else:
        arguments.verb = "update"
    return service_deploy.run(project, arguments)
