"""`amlexec service manifest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.service_options import must_be_replicas, size_of
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.services.manifest import Manifest
    from amlexec.values import Project

__all__ = ["add", "run"]

_EXPOSURES = ("ClusterIP", "NodePort", "LoadBalancer")


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("name", metavar="NAME", help="name of the Deployment and the Service")
    verb.add_argument("--image", required=True, metavar="REFERENCE", help="image, as `image push` prints it")
    verb.add_argument("--namespace", default="", metavar="NAME", help="namespace (default: kubectl's own)")
    verb.add_argument("--replicas", type=int, default=1, metavar="N", help="number of Pods (default: 1)")
    verb.add_argument("--memory", metavar="SIZE", help="limit of each replica, such as 2g")
    verb.add_argument("--cpus", type=float, default=0.0, metavar="N", help="limit of each, such as 1.5")
    verb.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs of each (nvidia.com/gpu)")
    verb.add_argument(
        "--expose", choices=_EXPOSURES, default=_EXPOSURES[0], help="type of the Service (default: ClusterIP)"
    )
    verb.add_argument("--port", type=int, default=0, help="port of the Service (default: 80; 443 with TLS)")
    verb.add_argument(
        "--key-secret", default="", metavar="NAME", help="Secret with `key`, the service's key (NAME-key)"
    )
    verb.add_argument("--insecure", action="store_true", help="answer requests without a key")
    verb.add_argument(
        "--certificate-secret",
        default="",
        metavar="NAME",
        help="Secret with `certificate.pem`: certificates and private key, for TLS",
    )
    verb.add_argument("--pull-secret", default="", metavar="NAME", help="Secret with the registry's login")
    verb.add_argument(
        "--node-selector", action="append", default=[], metavar="KEY=VALUE", help="label of nodes to run on"
    )
    verb.add_argument("-o", "--output", choices=["yaml", "json"], default="yaml", help="output format")


def run(_: Project | None, arguments: argparse.Namespace) -> int:
    """Print the manifests; the exit code. Nothing is asked: neither the cluster nor the registry."""
    from amlexec.commands.output import as_json
    from amlexec.services import manifest

    must_be_replicas(arguments.replicas)
    wanted = manifest.Manifest(
        arguments.name,
        arguments.image,
        namespace=arguments.namespace,
        replicas=arguments.replicas,
        memory=size_of(arguments.memory),
        cpus=arguments.cpus,
        gpus=arguments.gpus,
        expose=arguments.expose,
        port=arguments.port,
        key_secret=arguments.key_secret,
        insecure=arguments.insecure,
        certificate_secret=arguments.certificate_secret,
        pull_secret=arguments.pull_secret,
        node_selector=dict(_pair(text) for text in arguments.node_selector),
    )
    documents = manifest.documents(wanted)
    if arguments.output == "json":
        console.data(as_json({"apiVersion": "v1", "kind": "List", "items": documents}))
    else:
        console.data(manifest.as_yaml(documents))
    _advise(wanted)
    return 0


def _advise(wanted: Manifest) -> None:
    from amlexec.services import manifest

    if "@sha256:" not in wanted.image:
        console.say("warning: a cluster does not notice another image under the same tag: give its sha256")
    if not wanted.memory:
        console.say("warning: without --memory, a replica can use all memory of its node")
    if secret := manifest.key_secret(wanted):
        namespace = f" -n {wanted.namespace}" if wanted.namespace else ""
        console.say(f"it needs the Secret {secret}, with the key that requests need:")
        console.say(f"  kubectl create secret generic {secret}{namespace} --from-file=key=/dev/stdin")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is not a label of a node", hint="such as disktype=ssd")
    return key, value
