"""The text of an attached machine's two files, and checks of the values in it. No network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.docker.reference import is_reference
from amlexec.errors import ConfigurationError, UsageError
from amlexec.ssh.login import split_address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SUFFIXES",
    "Attachment",
    "address_of",
    "compute_text",
    "runconfig_text",
    "valid_image",
    "valid_key_file",
    "valid_name",
]

SUFFIXES = (".compute", ".runconfig")
"""Of the two files, in the order of writing."""
_BASE = "debian:bookworm-slim"
_NAME = re.compile(r"\w[\w .-]*")
_HDINSIGHT_SITE = r"[\w-]+(?<!-ssh)\.azurehdinsight\.(net|cn|us)"
_LONGEST_NAME = 100


class Attachment(NamedTuple):
    """The values of a `.compute` file. Secrets are handles of the key store, or "" for none."""

    name: str
    kind: str
    address: str
    username: str
    password: str = ""
    private_key: str = ""
    base_docker_image: str = ""
    python_location: str = ""
    more: tuple[tuple[str, object], ...] = ()
    """Further keys with their values."""


def valid_name(name: str, what: str = "compute target") -> str:
    """The name of a compute target, or of `what`, without a suffix. File names contain it.

    Raises:
        UsageError: the name is not valid for files and tasks.
    """
    bare = name
    for suffix in SUFFIXES:
        bare = bare.removesuffix(suffix)
    if not _NAME.fullmatch(bare) or bare[-1] in " ." or len(bare.encode()) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} can't be the name of a {what}",
            hint="the name becomes that of files: use letters, digits, '-' and '_', as in gpubox",
        )
    return bare


def address_of(text: str, port: int | None = None, kind: str = "") -> str:
    """An address in the form of `.compute` files: `HOST`, `HOST:PORT` or `[IPv6]:PORT`.

    Raises:
        UsageError: the text is not an address, names another port than `port`, or is the web site of a
            cluster.
    """
    try:
        host, own = split_address(text)
    except ConfigurationError as error:
        raise UsageError(f"{text!r} is not an address", hint=_address_hint(text)) from error
    if own and port is not None and own != port:
        raise UsageError(
            f"the address names port {own}, and --ssh-port names {port}", hint="name the port only once"
        )
    if kinds.of(kind).is_spark_cluster and re.fullmatch(_HDINSIGHT_SITE, host):
        cluster, dot, domain = host.partition(".")
        hint = f"its head node is {cluster}-ssh{dot}{domain}"
        raise UsageError(f"{host} is the web site of an HDInsight cluster", hint=hint)
    chosen = own or port
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(
            f"{port} is not a port", hint="ports are numbers from 1 to 65535; ssh's default is 22"
        )
    if not chosen:
        return host
    return f"[{host}]:{chosen}" if ":" in host else f"{host}:{chosen}"


def _address_hint(text: str) -> str:
    if "://" in text:
        return f"leave out {text.partition('://')[0]}://"
    if "@" in text:
        user, _, host = text.rpartition("@")
        return f"write -u {user} -a {host}"
    if re.fullmatch(r"<[^<>]*>", text):
        return "write an address of your own in place of the placeholder"
    return "-a takes a host name or an IP address, with :PORT where ssh does not listen on 22"


def valid_image(text: str) -> str:
    """An image reference without surrounding blanks; "" for none.

    Raises:
        UsageError: the text is not a reference.
    """
    image = text.strip()
    if image and not is_reference(image):
        raise UsageError(f"{text!r} is not a Docker image", hint=f"write REPOSITORY:TAG, as in {_BASE}")
    return image


def valid_key_file(text: str) -> str:
    """The absolute path of a private key.

    Raises:
        UsageError: the file can't be read or has no private key.
    """
    # Links are not resolved: they may later point to another key.
    path = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"{text}: {reason}", hint="--private-key-file takes the file of a private key"
        ) from error
    if first.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        hint = f"the private one should be {text.removesuffix('.pub')}" if text.endswith(".pub") else ""
        raise UsageError(f"{text} is a public key", hint=hint)
    if first.startswith(b"PuTTY-User-Key-File"):
        hint = "export it with PuTTYgen as an OpenSSH key"
        raise UsageError(f"{text} is a PuTTY key, which ssh can't read", hint=hint)
    if not first.startswith(b"-----BEGIN "):
        raise UsageError(f"{text} is not a private key", hint="`ssh-keygen -t ed25519` makes a pair")
    return str(path)


def compute_text(attachment: Attachment) -> str:
    """The `.compute` file, with sorted keys, as Workbench wrote it."""
    kind = kinds.of(attachment.kind)
    values: dict[str, object] = {"type": kind.name}
    if kind.over_ssh:
        values["address"] = attachment.address
        values["userManagedEnvironment"] = kind.is_user_managed
    if attachment.username:
        values["username"] = attachment.username
    if attachment.password:
        values["password"] = attachment.password
    if attachment.private_key:
        values["privateKey"] = attachment.private_key
    if kind.is_spark_cluster:
        values["yarnDeployMode"] = "cluster"
    if kind.has_shared_folder:
        values["nativeSharedDirectory"] = "~/.azureml/share/"
    if kind.in_container:
        values["baseDockerImage"] = attachment.base_docker_image or _BASE
    if kind.in_container and not kind.is_service:
        values["sharedVolumes"] = True
    if kind.is_user_managed:
        # Few Linux machines have a program `python`.
        values["pythonLocation"] = attachment.python_location or "python3"
    return _yaml({**values, **dict(attachment.more)})


def runconfig_text(name: str, kind: str) -> str:
    """The `.runconfig` file for the target."""
    return _yaml(
        {
            "ArgumentVector": ["$file"],
            "CondaDependenciesFile": "aml_config/conda_dependencies.yml",
            "EnvironmentVariables": None,
            "Framework": "PySpark" if kinds.of(kind).is_spark_cluster else "Python",
            "PrepareEnvironment": False,
            "SparkDependenciesFile": "aml_config/spark_dependencies.yml",
            "Target": name,
            "TrackedRun": True,
        }
    )


def _yaml(values: Mapping[str, object]) -> str:
    import yaml

    text: str = yaml.safe_dump(
        values, sort_keys=True, default_flow_style=False, allow_unicode=True, width=1000
    )
    return text
