"""`amlexec computetarget attach containerinstance`: write the files of a target in a cloud service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console, kinds
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.machines.target_text import Attachment
    from amlexec.values import Project

__all__ = ["add", "must_not_apply", "run"]

_OPTIONS = {
    "--subscription": ("subscriptionId", "ID", "the Azure subscription that pays"),
    "--resource-group": ("resourceGroup", "NAME", "the resource group for runs"),
    "--region": ("region", "NAME", "the Azure region for runs, such as westeurope"),
    "--registry": ("registry", "REGISTRY/REPOSITORY", "where environments are pushed to"),
    "--storage-account": ("storageAccount", "NAME", "the storage account for the files of runs"),
    "--identity": ("identity", "ID", "resource id of the identity that may pull from the registry"),
    "--resource-manager": ("resourceManager", "ADDRESS", "of another cloud than Azure's public one"),
}
"""Options, with the keys that they write."""
_NUMBERS = {
    "--cores": ("cpuCores", "cores of a run's container (default: 1)"),
    "--memory-gb": ("memoryGb", "its memory in GB (default: 4)"),
}
_REQUIRED = ("--subscription", "--resource-group", "--region", "--registry", "--storage-account")
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
    for option, (_, metavar, about) in _OPTIONS.items():
        verb.add_argument(option, metavar=metavar, help=f"containerinstance: {about}")
    for option, (_, about) in _NUMBERS.items():
        verb.add_argument(option, type=float, metavar="N", help=f"containerinstance: {about}")


def must_not_apply(arguments: argparse.Namespace, kind: str) -> None:
    """Refuse options of a cloud service for a target on a machine. Raises UsageError."""
    for option in (*_OPTIONS, *_NUMBERS):
        if getattr(arguments, _field(option)) is not None:
            raise UsageError(
                f"{option} does not apply to a target of type {kind}",
                hint=f"leave it out, or attach a {kinds.CONTAINERINSTANCE.name}",
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
            raise UsageError(f"{option} does not apply to a target of type {kind}, which is no machine")
    if missing := [option for option in _REQUIRED if not getattr(arguments, _field(option))]:
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
    from amlexec.images import registry
    from amlexec.machines.target_text import Attachment, valid_image

    registry.place(arguments.registry)
    blob_endpoint(arguments.storage_account, manager_address(arguments.resource_manager or ""))
    more: list[tuple[str, object]] = []
    for option, (key, *_) in (*_OPTIONS.items(), *_NUMBERS.items()):
        value = getattr(arguments, _field(option))
        if value is not None:
            if option in _NUMBERS and value <= 0:
                raise UsageError(f"{option} is {value:g}; it must be more than 0")
            more.append((key, value))
    return Attachment(
        name=name,
        kind=kind,
        address="",
        username=arguments.username or "",
        base_docker_image=valid_image(arguments.base_docker_image or ""),
        more=tuple(more),
    )
