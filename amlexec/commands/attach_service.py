"""`amlexec computetarget attach` for containers of a service: write the files of such a target."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import console, kinds
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.machines.target_text import Attachment
    from amlexec.values import Project

__all__ = ["add", "must_not_apply", "run"]


class _Option(NamedTuple):
    """An option, and the key that it writes."""

    key: str
    metavar: str
    about: str
    of_azure: bool = True
    of_kubernetes: bool = True
    is_required: bool = False
    is_number: bool = False
    is_whole: bool = False

    def applies_to(self, kind: str) -> bool:
        """Whether targets of that kind have the key."""
        return self.of_kubernetes if kinds.of(kind).is_kubernetes else self.of_azure


_AZURE = {"of_kubernetes": False}
_CLUSTER = {"of_azure": False}
_NEEDED = {"is_required": True}
_OPTIONS = {
    "--subscription": _Option(
        "subscriptionId", "ID", "the Azure subscription that pays", **_AZURE, **_NEEDED
    ),
    "--resource-group": _Option("resourceGroup", "NAME", "the resource group for runs", **_AZURE, **_NEEDED),
    "--region": _Option(
        "region", "NAME", "the Azure region for runs, such as westeurope", **_AZURE, **_NEEDED
    ),
    "--registry": _Option("registry", "REGISTRY/REPOSITORY", "where environments are pushed to", **_NEEDED),
    "--storage-account": _Option(
        "storageAccount", "NAME", "the storage account for the files of runs", **_AZURE, **_NEEDED
    ),
    "--identity": _Option(
        "identity", "ID", "resource id of the identity that may pull from the registry", **_AZURE
    ),
    "--resource-manager": _Option(
        "resourceManager", "ADDRESS", "of another cloud than Azure's public one", **_AZURE
    ),
    "--claim": _Option(
        "claim", "NAME", "the PersistentVolumeClaim for the files of runs", **_CLUSTER, **_NEEDED
    ),
    "--namespace": _Option("namespace", "NAME", "the namespace for runs (default: default)", **_CLUSTER),
    "--context": _Option(
        "context", "NAME", "context of the kubeconfig (default: its current one)", **_CLUSTER
    ),
    "--pull-secret": _Option(
        "pullSecret", "NAME", "Secret with the cluster's login for the registry", **_CLUSTER
    ),
    "--service-account": _Option("serviceAccount", "NAME", "service account of runs", **_CLUSTER),
    "--run-as-user": _Option(
        "runAsUser",
        "ID",
        "user id of scripts, for restricted namespaces (default: root)",
        of_azure=False,
        is_number=True,
        is_whole=True,
    ),
    "--gpu-resource": _Option(
        "gpuResource", "NAME", "a GPU for each run, such as nvidia.com/gpu", **_CLUSTER
    ),
    "--cores": _Option("cpuCores", "N", "cores of a run's container (default: 1)", is_number=True),
    "--memory-gb": _Option("memoryGb", "N", "its memory in GB (default: 4)", is_number=True),
}
_OF_MACHINES = {
    "-a": "address",
    "-k": "new_key",
    "--private-key-file": "private_key_file",
    "--private-key-passphrase": "private_key_passphrase",
    "--ssh-port": "ssh_port",
    "--fingerprint": "fingerprint",
}


def _field(option: str) -> str:
    return option[2:].replace("-", "_")


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    for option, spec in _OPTIONS.items():
        names = [kind.name for kind in kinds.KINDS if kind.is_service and spec.applies_to(kind.name)]
        verb.add_argument(
            option,
            metavar=spec.metavar,
            type=int if spec.is_whole else float if spec.is_number else str,
            help=f"{', '.join(names)}: {spec.about}",
        )


def must_not_apply(arguments: argparse.Namespace, kind: str) -> None:
    """Refuse options of a service for a target on a machine, or of another service. Raises UsageError."""
    of_service = kinds.of(kind).is_service
    for option, spec in _OPTIONS.items():
        if getattr(arguments, _field(option)) is not None and not (of_service and spec.applies_to(kind)):
            fits = [each.name for each in kinds.KINDS if each.is_service and spec.applies_to(each.name)]
            raise UsageError(
                f"{option} does not apply to a target of type {kind}",
                hint=f"leave it out, or attach a {' or a '.join(fits)}",
            )


def run(
    project: Project,
    arguments: argparse.Namespace,
    kind: str,
    password_of: Callable[[argparse.Namespace], str | None],
) -> int:
    """Write the files and check the target; the exit code."""
    from amlexec.keystore import pending
    from amlexec.keystore import store as keystore
    from amlexec.machines import attach, target_files
    from amlexec.machines.target_text import valid_name

    _must_fit_together(arguments, kind)
    name = valid_name(arguments.name)
    attach.must_be_free(project, name, force=arguments.force)
    if kinds.of(kind).is_kubernetes and arguments.username:
        raise UsageError(
            "a cluster has a login of its own for the registry",
            hint="--pull-secret NAME; `kubectl create secret docker-registry NAME` makes it",
        )
    password = password_of(arguments)
    if (password is None) is not (arguments.username is None):
        raise UsageError(
            "the registry's login needs a user and a password",
            hint="give -u USER with --password-stdin; or neither, for the login of `docker login`",
        )
    wanted = _attachment(arguments, name, kind)
    replaced = target_files.occupied(project, name)
    with pending.naming(Path(project.configuration)) as secrets:
        if password is not None:
            handle = keystore.put(password, f"amlexec {name}", secrets.handle())
            wanted = wanted._replace(password=handle)
        secrets.add(target_files.handles(project, name))
        files = target_files.write(project, wanted, force=arguments.force)
    console.data("Successfully created the following files:")
    for file in files:
        console.data(f"  {file}{' (replaced)' if file in replaced else ''}")
    if not arguments.no_check:
        _check(project, name)
    console.data("")
    console.data(f"Before running against {name}, you need to prepare it:")
    console.data(f"  amlexec experiment prepare -c {name}")
    console.data("Then run a script there:")
    console.data(f"  amlexec experiment submit -c {name} train.py")
    return 0


def _must_fit_together(arguments: argparse.Namespace, kind: str) -> None:
    for option, field in _OF_MACHINES.items():
        if getattr(arguments, field):
            raise UsageError(f"{option} does not apply to a target of type {kind}", hint="leave it out")
    must_not_apply(arguments, kind)
    needed = [option for option, spec in _OPTIONS.items() if spec.is_required and spec.applies_to(kind)]
    if missing := [option for option in needed if not getattr(arguments, _field(option))]:
        raise UsageError(f"a target of type {kind} needs {', '.join(missing)}")


def _check(project: Project, name: str) -> None:
    from amlexec.commands.output import findings
    from amlexec.config import load as config
    from amlexec.machines import check
    from amlexec.machines.check_results import OK

    found = check.examine(project, config.load_target(project, name))
    if problems := [finding for finding in found if finding.status != OK]:
        console.say("")
        console.say("Fix these first:")
        for line in findings(problems):
            console.say(f"  {line}")


def _attachment(arguments: argparse.Namespace, name: str, kind: str) -> Attachment:
    """The values of the file. Raises UsageError, ConfigurationError."""
    from amlexec.azure.clouds import blob_endpoint, manager_address
    from amlexec.config.schemas import compute_pattern
    from amlexec.images import registry
    from amlexec.machines.target_text import Attachment, valid_image

    registry.place(arguments.registry)
    if not kinds.of(kind).is_kubernetes:
        blob_endpoint(arguments.storage_account, manager_address(arguments.resource_manager or ""))
    more: list[tuple[str, object]] = []
    for option, spec in _OPTIONS.items():
        value = getattr(arguments, _field(option))
        if value is None:
            continue
        if spec.is_number and value <= 0:
            raise UsageError(f"{option} is {value:g}; it must be more than 0")
        pattern = "" if spec.is_number else compute_pattern(spec.key)
        if pattern and not re.search(pattern, value):
            raise UsageError(
                f"{option} is {value!r}, which is not valid",
                hint=f"`{spec.key}` in the reference of compute targets has its form",
            )
        more.append((spec.key, value))
    return Attachment(
        name=name,
        kind=kind,
        address="",
        username=arguments.username or "",
        base_docker_image=valid_image(arguments.base_docker_image or ""),
        more=tuple(more),
    )
