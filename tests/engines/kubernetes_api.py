"""A stand-in for an API server, as far as clients look before they do anything: which resources it has.

kubectl needs it even where it only prints what it would do: it asks for the names of the resources, and
whether an object is there already.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from .serving import QuietServer, answering

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Handler", "Resource", "discovered", "not_found", "serve", "status"]


class Resource(NamedTuple):
    """A resource of an API server."""

    group: str
    """"" for the core one."""
    name: str
    kind: str

    @property
    def root(self) -> str:
        """The path of its group."""
        return f"/apis/{self.group}/v1" if self.group else "/api/v1"

    @property
    def version(self) -> str:
        """Its `apiVersion`."""
        return f"{self.group}/v1" if self.group else "v1"


RESOURCES = (
    Resource("", "secrets", "Secret"),
    Resource("", "services", "Service"),
    Resource("apps", "deployments", "Deployment"),
    Resource("batch", "jobs", "Job"),
)


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """A refusal."""
    found = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**found, "message": message, "reason": reason, "code": code}


def not_found(resource: str, name: str) -> dict[str, Any]:
    """The refusal for an object that is not there."""
    return status(404, "NotFound", f'{resource} "{name}" not found')


def discovered(path: str) -> dict[str, Any] | None:
    """The answer to a question for groups or resources; None if it is another question."""
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = sorted({each.group for each in RESOURCES if each.group})
    if path == "/apis":
        rows = []
        for group in groups:
            version = {"groupVersion": f"{group}/v1", "version": "v1"}
            rows.append({"name": group, "versions": [version], "preferredVersion": version})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    for each in RESOURCES:
        if path == each.root:
            return {
                "kind": "APIResourceList",
                "groupVersion": each.version,
                "resources": [
                    {
                        "name": one.name,
                        "singularName": "",
                        "namespaced": True,
                        "kind": one.kind,
                        "verbs": ["create", "delete", "get", "list", "patch", "watch"],
                    }
                    for one in RESOURCES
                    if one.root == path
                ],
            }
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what is asked before anything is done; everything else is not there."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    changes: list[str]
    """The requests that would have changed something."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        found = discovered(path)
        if found is not None:
            self.reply(200, found)
            return
        match = re.fullmatch(r".*/namespaces/[^/]+/([^/]+)/([^/]+)", path)
        self.reply(404, not_found(*match.groups()) if match else status(404, "NotFound", "no such path"))

    def _change(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.changes.append(f"{self.command} {self.path}")
        self.reply(403, status(403, "Forbidden", "nothing can be changed here"))

    do_POST = do_PUT = do_PATCH = do_DELETE = _change  # noqa: N815

    def reply(self, code: int, answer: Any) -> None:
        """Send an answer."""
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def serve() -> Iterator[tuple[str, list[str]]]:
    """The address of one without objects, and the requests that would have changed something."""
    changes: list[str] = []
    handler = type("Of", (Handler,), {"changes": changes})
    with QuietServer(("127.0.0.1", 0), handler) as server, answering(server):
        yield f"http://127.0.0.1:{server.server_port}", changes
