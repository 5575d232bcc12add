"""Which addresses of Azure amlexec talks to, and the names of what it creates there. No I/O.

A project of a stranger may name any address. A token of yours is only sent to a cloud of Azure, or to this
machine, where tests and emulators are.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from amlexec.errors import ConfigurationError

__all__ = [
    "PUBLIC",
    "Place",
    "blob_endpoint",
    "manager_address",
    "prices_address",
    "registry_server",
    "scope_of",
]

PUBLIC = "https://management.azure.com"
_MANAGERS = {
    "management.azure.com": "core.windows.net",
    "management.usgovcloudapi.net": "core.usgovcloudapi.net",
    "management.chinacloudapi.cn": "core.chinacloudapi.cn",
}
"""Hosts of resource managers, and the domains of the storage of their clouds."""
_PRICES = "https://prices.azure.com"
_WITHOUT_PRICES = frozenset({"management.chinacloudapi.cn"})
"""Its prices are a file of all services, elsewhere."""
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


class Place(NamedTuple):
    """Where a run is: its container group, and the container of its files in the storage account."""

    manager: str
    """Address of the resource manager."""
    subscription: str
    resource_group: str
    group: str
    """Name of the container group, and of the storage container."""
    storage: str
    """Address of the storage account's blobs."""
    owner: str
    """`amlexec.owner` of the project that submitted the run."""


def manager_address(text: str, where: str = "") -> str:
    """The address of a resource manager, without a slash at its end; "" is Azure's public cloud.

    Raises:
        ConfigurationError: it is no address of Azure, or not an https one.
    """
    address = text.strip().rstrip("/") or PUBLIC
    host = _host(address)
    if host in _MANAGERS or _is_this_machine(host):
        return address
    raise ConfigurationError(
        f"resourceManager is {text!r}, which is no address of Azure's",
        where=where,
        hint=f"leave it out, or write https:// and one of {', '.join(_MANAGERS)}",
    )


def blob_endpoint(account: str, manager: str, where: str = "") -> str:
    """The address of the blobs of a storage account, given by its name; for an emulator, by its address.

    Raises:
        ConfigurationError: it is neither.
    """
    text = account.strip().rstrip("/")
    if _ACCOUNT.fullmatch(text):
        suffix = _MANAGERS.get(_host(manager), _MANAGERS["management.azure.com"])
        return f"https://{text}.blob.{suffix}"
    host = _host(text)
    is_azure = any(host.endswith(f".blob.{suffix}") for suffix in _MANAGERS.values())
    if is_azure or _is_this_machine(host):
        return text
    raise ConfigurationError(
        f"storageAccount is {account!r}, which is not the name of a storage account",
        where=where,
        hint="write its name alone: 3 to 24 lowercase letters and digits",
    )


def prices_address(manager: str) -> str:
    """The address of the public list of prices for a resource manager's cloud; "" if there is none."""
    host = _host(manager)
    if host in _WITHOUT_PRICES:
        return ""
    return manager if _is_this_machine(host) else _PRICES


def _host(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    is_plain = parts.scheme == "https" and not (parts.username or parts.password or parts.query)
    return host.lower() if is_plain else ""


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def scope_of(manager: str) -> str:
    """The scope of tokens for a resource manager: a token for one host is of no use to another."""
    return f"{manager}/.default"


def registry_server(registry: str) -> str:
    """The server in `SERVER/REPOSITORY`, as container groups want it: without a scheme."""
    return registry.partition("/")[0]
