"""The environment of a service: the one that trained its models, or one that a dependencies file declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import kinds
from amlexec.config import load as config
from amlexec.environments.of_run import prepared_packages
from amlexec.errors import TargetError, UsageError
from amlexec.images.store import ImageStore
from amlexec.prepare import prepare as preparation
from amlexec.prepare.stores import store_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.environments.store import Installed
    from amlexec.progress import Progress
    from amlexec.services.models import ServedModel
    from amlexec.values import ComputeTarget, Project

__all__ = ["chosen", "store_for", "target_for", "unfit"]


def target_for(project: Project, name: str) -> ComputeTarget:
    """The target of that name, whose engine has the images and containers of services.

    Raises:
        UsageError: there is no such target, or it has no engine.
    """
    target = config.load_target(project, name)
    if kinds.of(target.kind).environment != kinds.IMAGE or not kinds.of(target.kind).in_container:
        raise UsageError(
            f"{target.name} is of type {target.kind}, which has no Docker engine for services",
            hint="name a target of type docker or remotedocker with -t",
        )
    return target


def store_for(target: ComputeTarget) -> ImageStore:
    """The environments of a target's engine. No connections."""
    store = store_of(target)
    assert isinstance(store, ImageStore), "the target's kind was checked"
    return store


def chosen(
    project: Project,
    target: ComputeTarget,
    store: ImageStore,
    served: Sequence[ServedModel],
    conda_file: str,
    progress: Progress,
) -> Installed:
    """The environment's image.

    With `conda_file`, the environment that it declares, built if it is missing. Without, the one that trained
    the models, if the engine has it; else that of the project's own dependencies file.

    Raises:
        ConfigurationError: the dependencies file has errors, or can't be solved.
        TargetError: the engine can't be asked, or the build failed.
    """
    digests = {one.environment for one in served if one.environment}
    if not conda_file and len(digests) > 1:
        names = ", ".join(f"{one.name}:{one.version}" for one in served if one.environment)
        raise UsageError(
            f"{names} were trained in different environments",
            hint="name one for all: -c conda_dependencies.yml",
        )
    if not conda_file and digests:
        (digest,) = digests
        found = store.get(digest)
        if found is not None:
            return found
    file = conda_file or "aml_config/conda_dependencies.yml"
    wanted = preparation.wanted(project, target.name, target, file)
    if not conda_file and digests and wanted.digest not in digests:
        raise TargetError(
            "the engine does not have the environment that trained the models any more, and "
            f"{file} declares another one",
            where=target.name,
            hint=f"rerun the training there, or name the environment: -c {file}",
        )
    ready = preparation.prepare(wanted, store, progress, is_last=False)
    found = store.get(ready.digest)
    assert found is not None, "it was just prepared"
    return found


def unfit(project: Project, served: Sequence[ServedModel], environment: Installed) -> list[str]:
    """What may be wrong with an environment for registered models, a sentence each.

    Raises:
        TargetError: a model certainly can't be loaded there.
    """
    from amlexec.models import fit

    known = prepared_packages(project, environment.digest)
    packages = None if known is None else {name: each.version for name, each in known.items()}
    found = []
    for one in served:
        if one.model is None:
            continue
        for each in fit.mismatches(one.model, one.path.parent, environment.python, packages):
            if each.is_certain:
                raise TargetError(
                    f"{one.model.id} can't be loaded in this environment: {each.problem}",
                    hint="use the environment that trained it, or train it again",
                )
            found.append(f"{one.model.id}: {each.problem}")
    return found
