"""A stand-in for Azure's resource manager, as far as it is about container groups, and for its tokens.

It holds every request to the published facts (`azure_facts.py`) and really runs a group's container, on the
Docker engine of the tests: with the network of this machine, where Azurite is. What a test wants to go wrong
it writes into `faults`.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import containers, images
from amlexec.docker.errors import EngineAnswerError

from . import azure_facts, azure_prices
from .serving import QuietServer, answering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine

    from .azurite import Certificate

__all__ = ["SUBSCRIPTION", "TENANT", "Fault", "Manager", "serve"]

SUBSCRIPTION = "5b3f6c1e-0000-4000-8000-00000000aaaa"
TENANT = "72f988bf-0000-4000-8000-00000000bbbb"
_OBJECT = "11112222-0000-4000-8000-00000000cccc"
_HEADER = "header-of-the-tests"
_BUNDLE = "/certificate-of-the-tests.pem"


class Fault(NamedTuple):
    """What goes wrong with the next request of an operation."""

    operation: str
    status: int = 0
    """Of the answer; 0: the connection is cut."""
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    is_done: bool = False
    """Whether what was asked for is done all the same."""


class _Asked(NamedTuple):
    """A request."""

    names: dict[str, str]
    """Those in its path."""
    query: dict[str, list[str]]
    body: Any


class _Group:
    """A container group."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self.name, self.body = name, body
        self.provisioning = "Creating"
        self.events: list[dict[str, Any]] = []
        self.container = ""
        self.lock = threading.Lock()


class Manager:
    """What the stand-in has, and has been asked."""

    def __init__(self, engine: Engine, secured: Certificate, labels: dict[str, str]) -> None:
        self._engine, self._secured, self._labels = engine, secured, labels
        self.address = ""
        self.identity = ""
        """Address of the tokens."""
        self.groups: dict[str, _Group] = {}
        self.log: list[tuple[str, int]] = []
        """Operations with the status of their answers."""
        self.bodies: list[dict[str, Any]] = []
        """Of container groups that were asked for."""
        self.wrong: list[str] = []
        """What was against the published facts."""
        self.faults: list[Fault] = []
        self.stays = ""
        """A provisioning state in which new groups stay, without a container."""
        self.events: list[tuple[str, str]] = []
        """Name and message of events that new groups have."""
        self.has_logs = True
        self.gpus: list[str] = []
        self.cores = (10, 100)
        self.deletes_slowly = False
        self.prices: tuple[int, Any] | None = None
        """Status and answer of the list of prices, if they are not the usual ones."""
        self.created = 0

    @property
    def variables(self) -> dict[str, str]:
        """The variables with which Azure's SDK finds the tokens, and trusts the certificate."""
        return {
            "IDENTITY_ENDPOINT": self.identity,
            "IDENTITY_HEADER": _HEADER,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "REQUESTS_CA_BUNDLE": str(self._secured.file),
        }

    def container_of(self, run_id: str) -> str:
        """The engine's container of a run; "" if there is none."""
        for group in [*self.groups.values()]:
            if group.body.get("tags", {}).get("amlexec-run") == run_id:
                with group.lock:
                    return group.container
        return ""

    # The operations

    def answer(self, operation: azure_facts.Operation, asked: _Asked) -> tuple[int, Any]:
        """Status and answer."""
        do = {
            "ContainerGroups_Get": self._get,
            "ContainerGroups_ListByResourceGroup": self._list,
            "ContainerGroups_CreateOrUpdate": self._create,
            "ContainerGroups_Delete": self._delete,
            "Containers_ListLogs": self._logs,
            "Location_ListUsage": self._usage,
            "Location_ListCapabilities": self._capabilities,
        }[operation.name]
        return do(asked)

    def _get(self, asked: _Asked) -> tuple[int, Any]:
        group = self.groups.get(asked.names["g"])
        if group is None:
            return 404, _error("ResourceNotFound", f"The container group {asked.names['g']} was not found.")
        return 200, self._shown(group)

    def _list(self, _: _Asked) -> tuple[int, Any]:
        return 200, {"value": [self._shown(group) for group in self.groups.values()]}

    def _create(self, asked: _Asked) -> tuple[int, Any]:
        self.bodies.append(asked.body)
        if asked.names["g"] in self.groups:
            return 200, self._shown(self.groups[asked.names["g"]])
        group = self.groups[asked.names["g"]] = _Group(asked.names["g"], asked.body)
        self.created += 1
        group.events = [{"name": n, "message": m, "type": "Normal", "count": 1} for n, m in self.events]
        if self.stays:
            group.provisioning = self.stays
        else:
            threading.Thread(target=self._run, args=(group,), daemon=True).start()
        return 201, self._shown(group)

    def _delete(self, asked: _Asked) -> tuple[int, Any]:
        group = self.groups.get(asked.names["g"])
        if group is None:
            return 204, None
        if self.deletes_slowly:
            threading.Timer(0.5, self.drop, (asked.names["g"],)).start()
            return 202, None
        self.drop(asked.names["g"])
        return 200, self._shown(group)

    def drop(self, name: str, grace: int = 0) -> None:
        """Delete a group with its container."""
        group = self.groups.get(name)
        if group is not None:
            with group.lock:
                if group.container:
                    if grace:
                        containers.stop(self._engine, group.container, grace)
                    containers.remove(self._engine, group.container, force=True)
                group.container = "gone"
                self.groups.pop(name, None)

    def _logs(self, asked: _Asked) -> tuple[int, Any]:
        group = self.groups.get(asked.names["g"])
        if group is None or not group.container:
            return 404, _error("ContainerGroupDeploymentNotReady", "The container has no logs yet.")
        if not self.has_logs:
            return 200, {"content": None}
        with containers.logs(self._engine, group.container) as output:
            text = b"".join(frame.data for frame in output).decode(errors="replace")
        tail = int(asked.query.get("tail", ["1000"])[0])
        return 200, {"content": "\n".join(text.splitlines()[-tail:])[-16384:]}

    def _usage(self, _: _Asked) -> tuple[int, Any]:
        used, limit = self.cores
        counts = (
            ("ContainerGroups", "Container Groups", len(self.groups), 100),
            ("StandardCores", "Standard Cores", used, limit),
        )
        return 200, {
            "value": [
                {
                    "id": name,
                    "unit": "Count",
                    "currentValue": n,
                    "limit": most,
                    "name": {"value": name, "localizedValue": text},
                }
                for name, text, n, most in counts
            ]
        }

    def _capabilities(self, asked: _Asked) -> tuple[int, Any]:
        if asked.names["l"] == "nowhere":
            return 400, _error(
                "LocationNotAvailableForResourceType", "The location 'nowhere' is not available."
            )
        rows = [
            {
                "osType": "Linux",
                "location": asked.names["l"],
                "ipAddressType": "Public",
                "gpu": gpu,
                "resourceType": "containerGroups",
                "capabilities": {"maxMemoryInGB": 16, "maxCpu": 4, "maxGpuCount": 0 if gpu == "None" else 4},
            }
            for gpu in ("None", *self.gpus)
        ]
        return 200, {"value": rows}

    # The container

    def _run(self, group: _Group) -> None:
        container = group.body["properties"]["containers"][0]["properties"]
        try:
            self._pull(container["image"], group.body["properties"].get("imageRegistryCredentials") or [])
            settings = {
                "Image": container["image"],
                "Entrypoint": container["command"][:1],
                "Cmd": container["command"][1:],
                "User": "0:0",
                "Env": [
                    f"{each['name']}={each.get('secureValue', each.get('value'))}"
                    for each in container["environmentVariables"]
                ]
                + [f"SSL_CERT_FILE={_BUNDLE}"],
                "Labels": self._labels,
                "HostConfig": {
                    "NetworkMode": "host",
                    "Mounts": [
                        {
                            "Type": "bind",
                            "Source": str(self._secured.file),
                            "Target": _BUNDLE,
                            "ReadOnly": True,
                        }
                    ],
                },
            }
            with group.lock:
                if group.container:  # it was deleted meanwhile
                    return
                group.container = containers.create(self._engine, settings)
            containers.start(self._engine, group.container)
            group.provisioning = "Succeeded"
        except EngineAnswerError as error:
            group.events.append(
                {
                    "name": "Failed",
                    "type": "Normal",
                    "count": 1,
                    "message": f"Failed to pull image: {error.reason}",
                }
            )
            group.provisioning = "Failed"

    def _pull(self, image: str, logins: list[dict[str, str]]) -> None:
        name, label = images.split(image)
        found = {each["server"]: each for each in logins}.get(image.partition("/")[0])
        login = (
            {"username": found["username"], "password": found["password"]}
            if found and "username" in found
            else None
        )
        with self._engine.asked(patient=True) as api:
            for message in api.pull(name, label, stream=True, decode=True, auth_config=login or {}):
                if reason := message.get("error"):
                    raise EngineAnswerError(str(reason), status=200)

    def _shown(self, group: _Group) -> dict[str, Any]:
        """The group as Azure shows it: without secrets, with what is read-only."""
        shown: dict[str, Any] = json.loads(json.dumps(group.body))
        kind = "Microsoft.ContainerInstance/containerGroups"
        shown |= {
            "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/experiments/providers/{kind}/{group.name}",
            "name": group.name,
            "type": kind,
        }
        properties = shown["properties"]
        properties["provisioningState"] = group.provisioning
        for login in properties.get("imageRegistryCredentials") or []:
            login.pop("password", None)
        container = properties["containers"][0]["properties"]
        for variable in container.get("environmentVariables") or []:
            variable.pop("secureValue", None)
        current = self._current(group)
        container["instanceView"] = {"restartCount": 0, "currentState": current, "events": group.events}
        states = {
            "Running": "Running",
            "Terminated": "Succeeded" if current.get("exitCode") == 0 else "Failed",
        }
        properties["instanceView"] = {"events": [], "state": states.get(current["state"], "Pending")}
        return shown

    def _current(self, group: _Group) -> dict[str, Any]:
        waiting = {"state": "Waiting", "detailStatus": ""}
        with group.lock:
            found = containers.inspect(self._engine, group.container) if len(group.container) > 10 else None
        if found is None:
            return waiting
        told = found["State"]
        if told["Status"] == "running":
            return {"state": "Running", "startTime": told["StartedAt"], "detailStatus": ""}
        if told["Status"] != "exited":
            return waiting
        ended = {"state": "Terminated", "startTime": told["StartedAt"], "finishTime": told["FinishedAt"]}
        detail = "OOMKilled" if told.get("OOMKilled") else "Completed" if told["ExitCode"] == 0 else "Error"
        return {**ended, "exitCode": told["ExitCode"], "detailStatus": detail}

    def close(self) -> None:
        """End what is still running."""
        for name in [*self.groups]:
            self.drop(name)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def token(audience: str) -> str:
    """A token for an audience, which nobody has signed."""
    now = int(time.time())
    parts = [
        {"alg": "none", "typ": "JWT"},
        {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 36000,
            "oid": _OBJECT,
            "tid": TENANT,
        },
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "unsigned"])


class _Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def reply(self, status: int, answer: Any, headers: Any = ()) -> None:
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Tokens(_Quiet):
    """The endpoint of a managed identity, as App Service has it."""

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if self.headers.get("X-IDENTITY-HEADER") != _HEADER or query.get("api-version") != ["2019-08-01"]:
            self.reply(401, {"statusCode": 401, "message": "no"})
            return
        resource = query["resource"][0]
        made = {"access_token": token(resource), "expires_on": str(int(time.time()) + 36000)}
        self.reply(200, {**made, "resource": resource, "token_type": "Bearer", "client_id": _OBJECT})


class _Handler(_Quiet):
    manager: Manager

    def _do(self) -> None:
        manager = self.manager
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        parts = urllib.parse.urlsplit(self.path)
        if parts.path == azure_prices.PATH:
            asked = urllib.parse.parse_qs(parts.query)
            self.reply(*(manager.prices or azure_prices.answer(asked, self.headers)))
            return
        found = azure_facts.find(self.command, urllib.parse.unquote(parts.path))
        if found is None:
            manager.wrong.append(f"no such operation: {self.command} {parts.path}")
            self.reply(404, _error("InvalidResourceType", "no such operation"))
            return
        operation, names = found
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        body = json.loads(text) if text else None
        wrong = azure_facts.check(operation, query, body)
        if self.headers.get("Authorization") != f"Bearer {self._token()}":
            wrong.append("its token is for somebody else")
        if wrong:
            manager.wrong += [f"{operation.name}: {one}" for one in wrong]
            self._answer(operation, 400, _error("InvalidRequestContent", "; ".join(wrong)))
            return
        fault = next((each for each in manager.faults if each.operation == operation.name), None)
        if fault is None:
            self._answer(operation, *manager.answer(operation, _Asked(names, query, body)))
            return
        manager.faults.remove(fault)
        if fault.is_done:
            manager.answer(operation, _Asked(names, query, body))
        if fault.status:
            self._answer(operation, fault.status, _error(fault.code, fault.message), fault.headers)
        else:
            manager.log.append((operation.name, 0))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_DELETE = do_POST = _do  # noqa: N815

    def _token(self) -> str:
        """The token that was sent, if it is for us: no signature of it can be checked."""
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with contextlib.suppress(ValueError, IndexError):
            claims = json.loads(base64.urlsafe_b64decode(sent.split(".")[1] + "=="))
            if claims["aud"] == self.manager.address:
                return sent
        return "another"

    def _answer(self, operation: azure_facts.Operation, status: int, answer: Any, headers: Any = ()) -> None:
        self.manager.log.append((operation.name, status))
        self.reply(status, answer, headers)


@contextlib.contextmanager
def serve(engine: Engine, secured: Certificate, labels: dict[str, str]) -> Iterator[Manager]:
    """The resource manager and its tokens on free ports of 127.0.0.1. Its containers have the labels."""
    manager = Manager(engine, secured, labels)
    handler = type("Handler", (_Handler,), {"manager": manager})
    free = ("127.0.0.1", 0)
    with QuietServer(free, handler) as server, QuietServer(free, _Tokens) as tokens:
        manager.address = f"https://127.0.0.1:{server.server_port}"
        manager.identity = f"http://127.0.0.1:{tokens.server_port}/msi/token"
        try:
            with answering(server, secured), answering(tokens):
                yield manager
        finally:
            manager.close()
