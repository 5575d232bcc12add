"""The doit tasks that make the parts ready, one for each; up to date where the part is there."""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING, Any, Protocol

from doit.exceptions import TaskFailed

from . import (
    azurite,
    base_image,
    browser,
    channel,
    daemon,
    engine_host,
    engine_machine,
    fast_java,
    hadoop_azure,
    hadoop_versions,
    kerberos,
    kubernetes,
    mlflow,
    object_store,
    registry,
    server_wheels,
    slurm_versions,
    spark,
    spark_channel,
    ssh_host,
    strace,
)
from .engine_kinds import chosen
from .places import can_install, is_ci
from .tools import MissingError, ToolError, install, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["get_part", "task_engines"]


def task_engines() -> Iterator[dict[str, Any]]:
    """make the real parts ready that the tests need: git, a Docker engine, images, a channel, a registry"""
    yield {"name": None, "doc": task_engines.__doc__}
    yield _task("git", "git", _has_git, _get_git)
    yield _task("docker", "a Docker engine", daemon.answers, daemon.ready, clean=daemon.stop)
    kind = chosen()
    if kind is not None:
        yield _part("engine", f"{kind.what}, in a machine", engine_machine, after=("engine_host",))
    after = ("docker",) if kind is None else ("engine",)
    yield _part("base_image", f"the image {base_image.REFERENCE}", base_image, after=after)
    yield _part("channel", "a conda channel and wheels", channel)
    yield _part("registry", "a Docker registry", registry)
    yield _part("ssh_host", f"the image {ssh_host.REFERENCE}", ssh_host, after=("docker",))
    yield _part("engine_host", f"the image {engine_host.reference()}", engine_host, after=("ssh_host",))
    sparks = f"Spark {spark.SPARK} and {spark.NEWER}, Java, and the image {spark.REFERENCE}"
    yield _part("spark", sparks, spark, after=("base_image",))
    yield _part("spark_channel", "a conda channel with Spark and Java", spark_channel, after=("spark",))
    yield _part("slurm", f"the image {slurm_versions.reference()}", slurm_versions, after=("ssh_host",))
    daemons = f"the daemons of Hadoop {hadoop_versions.version()}"
    yield _part("hadoop", daemons, hadoop_versions, after=("spark", "ssh_host"))
    yield _part("hadoop_azure", "Hadoop's connector to Azure's storage", hadoop_azure, after=("hadoop",))
    classes = "a Java with archives of Spark's and Hadoop's classes, which starts them faster"
    yield _part("fast_java", classes, fast_java, after=("hadoop",))
    yield _part("kerberos", f"the image {kerberos.REFERENCE}", kerberos, after=("ssh_host",))
    yield _part("mlflow", f"MLflow {mlflow.VERSION}", mlflow)
    yield _part("azurite", f"Azurite {azurite.VERSION}", azurite)
    yield _part("object_store", object_store.WHAT, object_store)
    yield _part("server_wheels", "the wheels of a service's server", server_wheels)
    yield _part("kubernetes", "Kubernetes' description of its objects, and kubectl", kubernetes)
    yield _task("strace", "strace", strace.is_there, strace.ready)
    yield _part("browser", "Debian's Chromium", browser)


class _Part(Protocol):
    """A module of a part that is made, and can be removed."""

    def is_there(self) -> bool: ...

    def ready(self) -> None: ...

    def remove(self) -> None: ...


def _part(name: str, what: str, module: _Part, *, after: tuple[str, ...] = ()) -> dict[str, Any]:
    return _task(name, what, module.is_there, module.ready, clean=module.remove, after=after)


def _task(
    name: str,
    what: str,
    is_there: Callable[[], bool],
    get: Callable[[], None],
    *,
    clean: Callable[[], None] | None = None,
    after: tuple[str, ...] = (),
) -> dict[str, Any]:
    return {
        "name": name,
        "doc": f"have {what}",
        "uptodate": [is_there],
        "actions": [functools.partial(get_part, name, get)],
        "task_dep": [f"engines:{other}" for other in after],
        "clean": [clean] if clean else [],
        "verbosity": 2,
    }


def get_part(name: str, get: Callable[[], None]) -> TaskFailed | None:
    """Make a part ready. What can't be had here is said, and fails only in CI: its tests are skipped."""
    try:
        get()
    except MissingError as error:
        if is_ci():
            return TaskFailed(f"{name}: {error}")
        print(f"{name} is not there; tests that need it are skipped\n    {error}")
    except ToolError as error:
        return TaskFailed(f"{name}: {error}")
    return None


def _has_git() -> bool:
    return shutil.which("git") is not None


def _get_git() -> None:
    if not can_install():
        raise MissingError("no git: install it from https://git-scm.com/downloads")
    install("git")
    run(["git", "--version"], "looking whether git works")
