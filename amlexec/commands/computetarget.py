"""`amlexec computetarget`: attach machines; list, show, check and detach compute targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import console, kinds
from amlexec.commands.options import add_project, project_of
from amlexec.config import load as config
from amlexec.config.keys import COMPUTE_FIELDS
from amlexec.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.values import ComputeTarget, Project

__all__ = ["add", "run"]


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    group = groups.add_parser(
        "computetarget", help="attach machines; list, check and detach compute targets", allow_abbrev=False
    )
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True)
    about = {
        "list": "list the compute targets of the project",
        "show": "show a compute target, without its secrets",
        "check": "check whether a compute target can be used, and how to fix what fails",
        "detach": "remove a compute target's files, and its secrets from the key store",
    }

    from amlexec.commands import attach

    attach.add(verbs)
    verb = {
        name: verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        for name, summary in about.items()
    }
    for name in ("show", "check", "detach"):
        verb[name].add_argument("target", nargs="?", metavar="NAME", help="name of the compute target")
        verb[name].add_argument(
            "-n", "--name", dest="named", metavar="NAME", help="same as NAME; Workbench's spelling"
        )
    verb["detach"].add_argument(
        "--force",
        action="store_true",
        help="even while runs are active on it, and even if the run configuration was edited",
    )
    for name in ("list", "show", "check"):
        verb[name].add_argument(
            "-o", "--output", choices=["table", "json"], default="table", help="output format"
        )
    for each in verb.values():
        add_project(each)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = project_of(arguments)
    if arguments.verb == "attach":
        from amlexec.commands import attach

        return attach.run(project, arguments)
    verbs: dict[str, Callable[[Project, argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "check": _check,
        "detach": _detach,
    }
    return verbs[arguments.verb](project, arguments)


def _name(project: Project, arguments: argparse.Namespace) -> str:
    """The name from the command line, without a suffix; also accepts a path of the file."""
    given, named = arguments.target, arguments.named
    if given and named and given != named:
        raise UsageError(f"two names are given, {given!r} and {named!r}", hint="give one")
    name: str = given or named or ""
    if not name:
        from amlexec.config.messages import either

        names = config.compute_targets(project)
        hint = f"there is {either(names)}" if names else "`amlexec computetarget attach` makes one"
        raise UsageError("no compute target is named", hint=hint)
    if "/" in name and Path(name).resolve().parent == Path(project.configuration):
        name = Path(name).name
    return name.removesuffix(".compute").removesuffix(".runconfig")


def _list(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.commands import output

    rows: list[dict[str, Any]] = []
    for name in config.compute_targets(project):
        row = {"name": name, "kind": None, "address": None, "user": None}
        try:
            target = config.load_target(project, name)
        except ConfigurationError as error:
            for line in error.lines():
                console.say(line)
        else:
            row |= {"kind": target.kind, "address": target.address or None, "user": target.username or None}
        rows.append({**row, "file": f"{project.folder}/{name}.compute"})
    if not rows:
        console.say("there are no compute targets yet: `amlexec init` makes some")
    if rows or arguments.output == "json":
        console.data(output.render(rows, arguments.output, titled=True))
    return 0


def _show(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.commands import output
    from amlexec.machines import target_files

    target = config.load_target(project, _name(project, arguments))
    shown = _keys(target)
    shown["runConfigurations"] = ", ".join(target_files.named_by(project, target.name)) or None
    if arguments.output == "json":
        console.data(
            output.as_json({**shown, "runConfigurations": target_files.named_by(project, target.name)})
        )
    else:
        console.data(output.fields({key: value for key, value in shown.items() if value is not None}))
    return 0


def _keys(target: ComputeTarget) -> dict[str, Any]:
    """The keys of a target that its kind uses, as the file spells them."""
    kind = kinds.of(target.kind)
    shown: dict[str, Any] = {"name": target.name, "type": target.kind, "file": target.place.path}
    if kind.over_ssh:
        shown |= {"address": target.address, "username": target.username, "login": _login(target)}
        shown["publicKey"] = _public_key(target)
    if kind.in_container:
        shown["baseDockerImage"] = target.base_docker_image
    if kind.in_container and not kind.is_service:
        shown |= {"sharedVolumes": target.shared_volumes, "nvidiaDocker": target.nvidia_docker}
    if kind.is_service:
        shown |= _of_cluster(target) if kind.is_kubernetes else _of_service(target)
    if kind.uses_python_location:
        shown["pythonLocation"] = target.python_location
    if kind.is_spark_cluster:
        shown |= {
            "master": target.master,
            "yarnDeployMode": target.yarn_deploy_mode,
            "sparkSubmitLocation": target.spark_submit_location,
        }
    if kind.has_nodes:
        shown["nodeCount"] = target.node_count
    if kind.is_slurm_cluster:
        fields = ("sharedDirectory", "partition", "account", "qos", "time", "tasksPerNode", "cpusPerTask")
        for key in (
            *fields,
            "memory",
            "gres",
            "constraint",
            "communicator",
            "container",
            "containerImage",
            "requeue",
        ):
            value = getattr(target, COMPUTE_FIELDS[key])
            shown[key] = None if value in {"", 0} and value is not False else value
        shown["sbatch"] = " ".join(target.sbatch) or None
    shown["userManagedEnvironment"] = target.user_managed_environment
    shown["nativeSharedDirectory"] = target.native_shared_directory or None
    return shown


def _of_service(target: ComputeTarget) -> dict[str, Any]:
    login = f"{target.username}, with a password" if target.username else "that of `docker login`"
    return {
        "subscriptionId": target.subscription_id,
        "resourceGroup": target.resource_group,
        "region": target.region,
        "cpuCores": target.cpu_cores,
        "memoryGb": target.memory_gb,
        "gpu": f"{target.gpu_count} x {target.gpu}" if target.gpu else None,
        "registry": target.registry,
        "registryLogin": target.identity or login,
        "storageAccount": target.storage_account,
        "subnet": target.subnet or None,
        "resourceManager": target.resource_manager or None,
    }


def _of_cluster(target: ComputeTarget) -> dict[str, Any]:
    return {
        "context": target.context or "the current one",
        "namespace": target.namespace,
        "claim": target.claim,
        "registry": target.registry,
        "pullSecret": target.pull_secret or None,
        "serviceAccount": target.service_account or None,
        "runAsUser": target.run_as_user or None,
        "cpuCores": target.cpu_cores,
        "memoryGb": target.memory_gb,
        "gpu": f"{target.gpu_count} x {target.gpu_resource}" if target.gpu_resource else None,
        "nodeSelector": ", ".join(f"{name}={value}" for name, value in target.node_selector) or None,
        "tolerations": len(target.tolerations) or None,
    }


def _public_key(target: ComputeTarget) -> str | None:
    """The line for `authorized_keys`, if the key is in the key store."""
    from amlexec.keystore import store as keystore

    return keystore.public_key(target.private_key) if keystore.is_handle(target.private_key) else None


def _login(target: ComputeTarget) -> str:
    from amlexec.keystore import store as keystore
    from amlexec.ssh.login import login_of

    login = login_of(target)
    if keystore.is_handle(login.private_key):
        return "a key in the key store"
    if login.private_key:
        return f"the key {target.private_key}"
    if keystore.is_handle(login.secret):
        return "a password in the key store"
    if login.secret:
        return "a password in the file"
    return "OpenSSH's own configuration, agent and keys"


def _check(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.commands.output import findings
    from amlexec.machines import check
    from amlexec.machines.check_results import FAILED

    target = config.load_target(project, _name(project, arguments))
    found = check.examine(project, target)
    failed = sum(each.status == FAILED for each in found)
    if arguments.output == "json":
        from amlexec.commands import output

        checks = [finding._asdict() for finding in found]
        result = {"name": target.name, "kind": target.kind, "ok": not failed, "checks": checks}
        console.data(output.as_json(result))
    else:
        for line in findings(found):
            console.data(line)
    if failed:
        console.say(f"{target.name} can't be used as it is: {failed} of {len(found)} checks failed")
    return 2 if failed else 0


def _detach(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.config import references
    from amlexec.machines import target_files

    name = _name(project, arguments)
    if not references.has_target(project, name):
        names = config.compute_targets(project)
        hint = references.names_hint(name, names)
        raise UsageError(f"there is no compute target {name!r} in {project.folder}", hint=hint)
    try:
        kind = config.load_target(project, name).kind
    except ConfigurationError:
        kind = ""  # a broken target can be detached too
    if kind and not kinds.of(kind).is_attachable:
        raise UsageError(
            f"{name} is of type {kind}: it is not an attached machine",
            hint=f"to remove it, delete {project.folder}/{name}.compute",
        )
    _must_be_idle(project, name, force=arguments.force)
    naming = [f"{project.folder}/{each}.runconfig" for each in target_files.named_by(project, name)]
    done = target_files.detach(project, name, force=arguments.force)
    for file in done.removed:
        console.data(f"removed {file}")
    if done.secrets:
        console.data("removed its secret from the key store")
    for file, reason in done.kept:
        console.data(f"kept    {file}: {reason}")
    gone = {*done.removed, *dict(done.kept)}
    if still := [file for file in naming if file not in gone]:
        console.say(
            f"warning: {', '.join(still)} still name{'s' if len(still) == 1 else ''} {name} as Target"
        )
    return 0


def _must_be_idle(project: Project, name: str, *, force: bool) -> None:
    from amlexec.history import find
    from amlexec.history.record import FINAL

    open_ones = [
        record.run_id
        for record in find.runs(project)[0]
        if record.target == name and record.status not in FINAL
    ]
    if open_ones and not force:
        more = f" and {len(open_ones) - 1} more" if len(open_ones) > 1 else ""
        raise UsageError(
            f"{open_ones[0]}{more} may still be running on {name}, and could not be reached any more",
            hint=f"check it: amlexec experiment status -r {open_ones[0]}; or add --force",
        )
