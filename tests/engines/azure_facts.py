"""What Azure's description of Container Instances says about requests, version 2023-05-01, as a table.

Only facts: paths, methods, query parameters, and of what a container group consists. `check` holds a request
to them; what the description leaves open (unknown keys, read-only ones) is refused here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["API_VERSION", "OPERATIONS", "Operation", "check", "find"]

API_VERSION = "2023-05-01"
_GROUPS = "/subscriptions/{s}/resourceGroups/{r}/providers/Microsoft.ContainerInstance/containerGroups"
_LOCATION = "/subscriptions/{s}/providers/Microsoft.ContainerInstance/locations/{l}"


class Operation(NamedTuple):
    """One operation of the resource manager."""

    name: str
    method: str
    path: str
    query: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    has_body: bool = False


OPERATIONS = (
    Operation(
        "ContainerGroups_List",
        "GET",
        "/subscriptions/{s}/providers/Microsoft.ContainerInstance/containerGroups",
    ),
    Operation("ContainerGroups_ListByResourceGroup", "GET", _GROUPS),
    Operation("ContainerGroups_Get", "GET", f"{_GROUPS}/{{g}}"),
    Operation("ContainerGroups_CreateOrUpdate", "PUT", f"{_GROUPS}/{{g}}", has_body=True),
    Operation("ContainerGroups_Delete", "DELETE", f"{_GROUPS}/{{g}}"),
    Operation("ContainerGroups_Stop", "POST", f"{_GROUPS}/{{g}}/stop"),
    Operation(
        "Containers_ListLogs",
        "GET",
        f"{_GROUPS}/{{g}}/containers/{{c}}/logs",
        {"tail": r"[0-9]+", "timestamps": r"true|false|True|False"},
    ),
    Operation("Location_ListUsage", "GET", f"{_LOCATION}/usages"),
    Operation("Location_ListCapabilities", "GET", f"{_LOCATION}/capabilities"),
)
_NAMES = {
    "s": r"[0-9a-f-]{36}",
    "r": r"[\w.()-]{1,90}",
    "l": r"[a-z0-9]+",
    # Of the documentation: 1 to 63 lowercase letters, digits and hyphens, these only inside.
    "g": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "c": r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
}


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w)\\}", lambda m: f"(?P<{m[1]}>{_NAMES[m[1]]})", re.escape(path)))


_PATTERNS = [(operation, _pattern(operation.path)) for operation in OPERATIONS]


class Text(NamedTuple):
    """A text, perhaps one of a few."""

    among: tuple[str, ...] = ()
    pattern: str = ""
    required: bool = False


class Number(NamedTuple):
    """A number."""

    whole: bool = False
    required: bool = False


class Items(NamedTuple):
    """A list."""

    of: Any
    required: bool = False


class Map(NamedTuple):
    """A map with any keys."""

    of: Any
    required: bool = False


class Parts(NamedTuple):
    """A map with known keys. Those in `answers` are only in answers: read-only."""

    keys: dict[str, Any]
    answers: tuple[str, ...] = ()
    required: bool = False


class Truth(NamedTuple):
    """true or false."""

    required: bool = False


_RESOURCES = {
    "memoryInGB": Number(required=True),
    "cpu": Number(required=True),
    "gpu": Parts(
        {"count": Number(whole=True, required=True), "sku": Text(("K80", "P100", "V100"), required=True)}
    ),
}
_VARIABLE = Parts({"name": Text(required=True), "value": Text(), "secureValue": Text()})
_MOUNT = Parts({"name": Text(required=True), "mountPath": Text(required=True), "readOnly": Truth()})
_CONTAINER = Parts(
    {
        "name": Text(pattern=_NAMES["c"], required=True),
        "properties": Parts(
            {
                "image": Text(required=True),
                "command": Items(Text()),
                "ports": Items(
                    Parts({"protocol": Text(("TCP", "UDP")), "port": Number(whole=True, required=True)})
                ),
                "environmentVariables": Items(_VARIABLE),
                "resources": Parts(
                    {
                        "requests": Parts(_RESOURCES, required=True),
                        "limits": Parts({"memoryInGB": Number(), "cpu": Number(), "gpu": _RESOURCES["gpu"]}),
                    },
                    required=True,
                ),
                "volumeMounts": Items(_MOUNT),
            },
            answers=("instanceView",),
            required=True,
        ),
    }
)
_VOLUME = Parts(
    {
        "name": Text(required=True),
        "azureFile": Parts(
            {
                "shareName": Text(required=True),
                "readOnly": Truth(),
                "storageAccountName": Text(required=True),
                "storageAccountKey": Text(),
            }
        ),
        "emptyDir": Parts({}),
        "secret": Map(Text()),
    }
)
# A server without a scheme, as its description says.
_LOGIN = Parts(
    {
        "server": Text(pattern=r"[a-z0-9.-]+(:[0-9]+)?", required=True),
        "username": Text(),
        "password": Text(),
        "identity": Text(),
        "identityUrl": Text(),
    }
)
GROUP = Parts(
    {
        "location": Text(required=True),
        "tags": Map(Text()),
        "zones": Items(Text()),
        "identity": Parts(
            {
                "type": Text(("SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned", "None")),
                "userAssignedIdentities": Map(Parts({}, answers=("principalId", "clientId"))),
            },
            answers=("principalId", "tenantId"),
        ),
        "properties": Parts(
            {
                "containers": Items(_CONTAINER, required=True),
                "imageRegistryCredentials": Items(_LOGIN),
                "restartPolicy": Text(("Always", "OnFailure", "Never")),
                "osType": Text(("Windows", "Linux"), required=True),
                "volumes": Items(_VOLUME),
                "subnetIds": Items(Parts({"id": Text(required=True), "name": Text()})),
                "sku": Text(("Standard", "Dedicated", "Confidential")),
                "priority": Text(("Regular", "Spot")),
            },
            answers=("provisioningState", "instanceView"),
            required=True,
        ),
    },
    answers=("id", "name", "type"),
)
"""Left out is what amlexec never asks for: IP addresses, probes, init containers, extensions, encryption."""


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation of a request, and the names in its path."""
    for operation, pattern in _PATTERNS:
        match = pattern.fullmatch(path)
        if match and operation.method == method:
            return operation, match.groupdict()
    return None


def check(operation: Operation, query: dict[str, list[str]], body: object) -> list[str]:
    """What is wrong with a request."""
    wrong = (
        [] if query.get("api-version") == [API_VERSION] else [f"api-version is {query.get('api-version')}"]
    )
    for name, values in query.items():
        if name == "api-version":
            continue
        if name not in operation.query:
            wrong.append(f"query parameter {name} is unknown")
        elif len(values) != 1 or not re.fullmatch(operation.query[name], values[0]):
            wrong.append(f"query parameter {name} is {values}")
    if operation.has_body:
        wrong += [*_compare(GROUP, body, "body")]
    elif body is not None:
        wrong.append("it has a body")
    return wrong


def _compare(fact: Any, value: Any, at: str) -> list[str]:
    match fact:
        case Parts():
            return _parts(fact, value, at)
        case Items():
            if not isinstance(value, list):
                return [f"{at} is no list"]
            return [one for n, each in enumerate(value) for one in _compare(fact.of, each, f"{at}[{n}]")]
        case Map():
            if not isinstance(value, dict):
                return [f"{at} is no object"]
            return [one for key, each in value.items() for one in _compare(fact.of, each, f"{at}.{key}")]
        case Text():
            if not isinstance(value, str):
                return [f"{at} is no text"]
            good = (not fact.among or value in fact.among) and re.fullmatch(fact.pattern or "(?s:.*)", value)
            return [] if good else [f"{at} is {value!r:.60}"]
        case Truth():
            return [] if isinstance(value, bool) else [f"{at} is neither true nor false"]
        case _:
            good = isinstance(value, int if fact.whole else int | float) and not isinstance(value, bool)
            return [] if good else [f"{at} is no number"]


def _parts(fact: Parts, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at} is no object"]
    wrong = [f"{at}.{key} is missing" for key, one in fact.keys.items() if one.required and key not in value]
    for key, each in value.items():
        if key in fact.answers:
            wrong.append(f"{at}.{key} is read-only")
        elif key not in fact.keys:
            wrong.append(f"{at}.{key} is unknown")
        else:
            wrong += _compare(fact.keys[key], each, f"{at}.{key}")
    return wrong
