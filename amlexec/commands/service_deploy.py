"""`amlexec service create`, `update`, `scale`, `rollback` and `delete`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console, kinds
from amlexec.commands.image_create import add_content, made
from amlexec.commands.service_options import must_be_replicas, size_of
from amlexec.errors import TargetError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.services.deploy import Deployment
    from amlexec.services.image import ServiceImage
    from amlexec.values import ComputeTarget, Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    name = verb.prog.rpartition(" ")[2]
    if name == "create":
        verb.add_argument("-n", "--name", required=True, metavar="NAME", help="name of the service")
    else:
        verb.add_argument("name", metavar="NAME", help="name of the service")
    if name in {"create", "update"}:
        verb.add_argument("--image", metavar="NAME", help="image of `image create` (else -f and --model)")
        add_content(verb, required=False)
        verb.add_argument("--memory", metavar="SIZE", help="limit of each replica, such as 2g")
        verb.add_argument("--cpus", type=float, metavar="N", help="limit of each replica, such as 1.5")
        verb.add_argument(
            "--log-requests", type=float, metavar="SHARE", help="log this share of requests: 0 to 1"
        )
        verb.add_argument(
            "--redact", action="append", metavar="FIELD", help="leave this field out of logged requests"
        )
    if name == "create":
        verb.add_argument(
            "--replicas", type=int, default=1, metavar="N", help="number of containers (default: 1)"
        )
        verb.add_argument(
            "--port", type=int, default=0, help="port on the target's machine (default: a free one)"
        )
        verb.add_argument(
            "--publish",
            metavar="ADDRESS",
            help="address there to listen on (default: 127.0.0.1 on this machine, else none)",
        )
        verb.add_argument(
            "--certificate", metavar="FILE", help="PEM file with certificates and private key, for TLS"
        )
        verb.add_argument("--insecure", action="store_true", help="answer requests without a key")
    if name == "scale":
        verb.add_argument("replicas", type=int, metavar="N", help="number of containers")


def run(project: Project | None, arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    assert project is not None, "only `service test` needs none"
    from amlexec import progress
    from amlexec.services import environment
    from amlexec.services.deploy import Deployment

    target = environment.target_for(project, arguments.target)
    verbs: dict[str, Callable[[Deployment, ComputeTarget, argparse.Namespace], None]] = {
        "create": _create,
        "update": _update,
        "scale": _scale,
        "rollback": _rollback,
        "delete": _delete,
    }
    store = environment.store_for(target)
    with progress.for_terminal() as shown:
        verbs[arguments.verb](Deployment(store.engine, project, shown), target, arguments)
    return 0


def _image(deployment: Deployment, arguments: argparse.Namespace) -> ServiceImage:
    from amlexec.services import image

    if arguments.image:
        if arguments.file or arguments.models:
            raise UsageError("--image and -f with --model exclude each other")
        name = arguments.image if ":" in arguments.image else image.reference(arguments.image)
        found = image.find(deployment.engine, name)
        if found is None:
            raise UsageError(f"there is no image {arguments.image} of a service", hint="amlexec image list")
        return found
    if not arguments.file:
        raise UsageError("no image", hint="--image NAME, or -f score.py with --model MODEL")
    return made(deployment.project, arguments)


def _create(deployment: Deployment, target: ComputeTarget, arguments: argparse.Namespace) -> None:
    from amlexec.services.containers import Settings
    from amlexec.services.image import reference

    reference(arguments.name)
    must_be_replicas(arguments.replicas)
    certificate = _certificate(arguments.certificate)
    memory, share = size_of(arguments.memory), _share(arguments.log_requests)
    found = _image(deployment, arguments)
    host = arguments.publish
    if host is None:
        # Elsewhere, the SSH connection is the way to it.
        host = "127.0.0.1" if kinds.of(target.kind).on_local_engine else ""
    if arguments.port and not host:
        raise UsageError("--port needs --publish", hint="--publish 127.0.0.1, or 0.0.0.0 for all addresses")
    settings = Settings(
        arguments.name,
        found.image_id,
        _named(found),
        found.models,
        replicas=arguments.replicas,
        host=host,
        port=arguments.port,
        memory=memory,
        cpus=arguments.cpus or 0.0,
        gpu=target.nvidia_docker,
        secure=bool(certificate),
        insecure=arguments.insecure,
        sample=found.sample,
        log_sample=share,
        log_redact=tuple(arguments.redact or ()),
    )
    deployment.create(settings, certificate=certificate)
    from amlexec.services.find import the

    service = the(deployment.engine, arguments.name)
    scheme = "https" if service.settings.secure else "http"
    if service.port:
        console.data(f"{scheme}://{service.host}:{service.port}")
    else:
        console.say(f"{arguments.name} runs; amlexec service run reaches it through the SSH connection")
    if not arguments.insecure:
        console.say(f"its key: amlexec service show {arguments.name} --key")


def _update(deployment: Deployment, target: ComputeTarget, arguments: argparse.Namespace) -> None:
    from amlexec.services.find import the

    service = the(deployment.engine, arguments.name)
    found = _image(deployment, arguments)
    before = service.settings
    settings = before._replace(
        image=found.image_id,
        reference=_named(found),
        models=found.models,
        sample=found.sample,
        gpu=target.nvidia_docker,
        memory=before.memory if arguments.memory is None else size_of(arguments.memory),
        cpus=before.cpus if arguments.cpus is None else arguments.cpus,
        log_sample=before.log_sample if arguments.log_requests is None else _share(arguments.log_requests),
        log_redact=before.log_redact if arguments.redact is None else tuple(arguments.redact),
    )
    if settings == before and service.state == "running":
        console.say(f"nothing to do: {arguments.name} has this image")
        return
    if settings.image != before.image:
        settings = settings._replace(previous=before.image, previous_reference=before.reference)
    deployment.update(service, settings)
    console.data(f"{arguments.name} is {settings.reference}{_of(settings.models)}")


def _scale(deployment: Deployment, _: ComputeTarget, arguments: argparse.Namespace) -> None:
    from amlexec.services.find import the

    must_be_replicas(arguments.replicas)
    deployment.scale(the(deployment.engine, arguments.name), arguments.replicas)
    console.data(f"{arguments.name} has {arguments.replicas} replicas")


def _rollback(deployment: Deployment, _: ComputeTarget, arguments: argparse.Namespace) -> None:
    from amlexec.services import image
    from amlexec.services.find import the

    service = the(deployment.engine, arguments.name)
    before = service.settings
    if not before.previous:
        raise UsageError(f"{arguments.name} had no other image before, so it can't be rolled back")
    found = image.find(deployment.engine, before.previous)
    if found is None:
        raise TargetError(
            f"the image that {arguments.name} had before is gone: {before.previous_reference}",
            hint="amlexec service update with the model's version makes it again",
        )
    settings = before._replace(
        image=found.image_id,
        reference=before.previous_reference,
        models=found.models,
        sample=found.sample,
        previous=before.image,
        previous_reference=before.reference,
    )
    deployment.update(service, settings)
    console.data(f"{arguments.name} is {settings.reference}{_of(settings.models)}")


def _delete(deployment: Deployment, _: ComputeTarget, arguments: argparse.Namespace) -> None:
    from amlexec.services.find import the

    the(deployment.engine, arguments.name)
    deployment.delete(arguments.name)
    console.data(f"{arguments.name} is deleted")


def _named(found: ServiceImage) -> str:
    from amlexec.services.image import reference

    return reference(found.name, found.content)


def _of(models: str) -> str:
    return f" with {models}" if models else ""


def _share(number: float | None) -> float:
    if number is not None and not 0 <= number <= 1:
        raise UsageError(f"--log-requests {number} is not a share from 0 to 1")
    return number or 0.0


def _certificate(path: str | None) -> bytes:
    if not path:
        return b""
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
        return Path(path).read_bytes()
    except OSError as error:  # also an SSLError
        raise UsageError(
            f"the certificate {path} can't be used: {error}",
            hint="the file needs the certificate chain and the private key, without a password",
        ) from None
