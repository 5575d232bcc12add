"""`amlexec service`: answer requests with a scoring script and models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from amlexec.commands.options import project_of
from amlexec.commands.verbs import Verb, declared
from amlexec.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["VERBS", "add", "run"]

VERBS = {
    "create": Verb("service_deploy", "start a service on a docker or remotedocker target"),
    "list": Verb("service_show", "list the services of a target"),
    "show": Verb("service_show", "show a service: its address, image, replicas, latencies"),
    "run": Verb("service_run", "send a request to a service"),
    "logs": Verb("service_logs", "print the log of a service, or the requests that it has logged"),
    "usage": Verb("service_show", "show CPU and memory of a service's containers"),
    "update": Verb("service_deploy", "replace the version of a service without a failed request"),
    "scale": Verb("service_deploy", "change the number of a service's replicas"),
    "rollback": Verb("service_deploy", "return to the image that a service had before"),
    "delete": Verb("service_deploy", "end a service, and remove its containers"),
    "manifest": Verb("service_manifest", "print the manifests of a service for Kubernetes"),
    "test": Verb("service_test", "run a scoring script as a process of this machine, and send it a request"),
}

_WITHOUT_ENGINE = frozenset({"manifest", "test"})
"""They need no target, and no project either."""


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    for name, verb in declared(groups, "service", "answer requests with a scoring script and models", VERBS):
        if name not in _WITHOUT_ENGINE:
            verb.add_argument(
                "-t", "--target", metavar="NAME", default="docker", help="docker or remotedocker target"
            )


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    module = import_module(f"amlexec.commands.{VERBS[arguments.verb].module}")
    code: int = module.run(_project(arguments), arguments)
    return code


def _project(arguments: argparse.Namespace) -> Project | None:
    """The project that `-p` names, else that of the current folder; None if the verb needs none."""
    try:
        return project_of(arguments)
    except ConfigurationError:
        if arguments.project or arguments.verb not in _WITHOUT_ENGINE:
            raise
        return None
