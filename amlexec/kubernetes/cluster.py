"""A namespace of a cluster: its objects as JSON, and commands in its containers."""

from __future__ import annotations

import json
import logging
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from amlexec.errors import TargetError, UnreachableError
from amlexec.kubernetes.sdk import ClusterAnswerError, answer_error, asked, module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Cluster", "Command"]

JOBS = "/apis/batch/v1/namespaces/{}/jobs"
PODS, SECRETS = "/api/v1/namespaces/{}/pods", "/api/v1/namespaces/{}/secrets"
CLAIMS, EVENTS = "/api/v1/namespaces/{}/persistentvolumeclaims", "/api/v1/namespaces/{}/events"
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 20.0, 60.0
_SILENCE_TIMEOUT_S = 120.0
"""For a command in a container that neither prints nor ends."""
_RETRIED = (408, 429, 500, 502, 503, 504)
_PIECE = 32 << 10
"""Bytes in a message to a container: API servers limit them."""
_STDIN, _STDOUT, _STDERR, _ERROR = 0, 1, 2, 3
_MOST_STDERR = 2000


class Command:
    """How a command in a container has ended."""

    def __init__(self, code: int, stderr: str) -> None:
        self.code = code
        self.stderr = stderr


class Cluster:
    """The namespace of a cluster that a context of the kubeconfig names; "" is the current one."""

    def __init__(self, context: str, namespace: str) -> None:
        """No I/O, nothing imported."""
        self._context = context
        self.namespace = namespace
        self.address = f"{context or 'Kubernetes'}/{namespace}"

    @cached_property
    def _client(self) -> Any:
        """The official client, logged in. Raises TargetError."""
        config = module("kubernetes.config")
        client = module("kubernetes.client")
        logging.getLogger("kubernetes").addHandler(logging.NullHandler())
        configuration = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and not (self._context or "KUBECONFIG" in os.environ):
                config.load_incluster_config(client_configuration=configuration)
            else:
                # Not its own default, which is that of the moment when it was imported.
                file = os.environ.get("KUBECONFIG") or "~/.kube/config"
                config.load_kube_config(file, self._context or None, configuration)
        except Exception as error:  # also of its plugins, and of YAML
            text = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
            raise TargetError(
                f"there is no login for Kubernetes: {text}",
                where=self.address,
                hint="amlexec uses what kubectl uses: KUBECONFIG, or ~/.kube/config; `kubectl config "
                "get-contexts` lists the contexts",
            ) from None
        return client.ApiClient(configuration)

    def _headers(self) -> dict[str, str]:
        found = {"Accept": "application/json"}
        for login in self._client.configuration.auth_settings().values():
            if login and login["in"] == "header" and login["value"]:
                found[login["key"]] = login["value"]
        return found

    def _url(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        address = str(self._client.configuration.host).rstrip("/")
        return f"{address}{path}{'?' + urlencode(query) if query else ''}"

    def _request(
        self, method: str, path: str, body: Any = None, query: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, bytes]:
        """Status and body. Repeats what may work a moment later. Raises UnreachableError, TargetError."""
        urllib3 = module("urllib3")
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        retries = urllib3.Retry(
            total=4,
            connect=2,
            read=2,
            status=4,
            backoff_factor=0.4,
            status_forcelist=_RETRIED,
            allowed_methods=None,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        with asked(self.address):
            answer = self._client.rest_client.pool_manager.request(
                method,
                self._url(path, query),
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                retries=retries,
                redirect=False,
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
            )
        return int(answer.status), bytes(answer.data)

    def _asked(
        self, method: str, path: str, body: Any = None, query: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        status, data = self._request(method, path, body, query)
        try:
            found = json.loads(data)
        except ValueError:
            found = {}
        if status >= 300:
            raise answer_error(status, found, self.address)
        if not isinstance(found, dict):
            raise TargetError("the API server's answer is not an object", where=self.address)
        return found

    def get(self, where: str, name: str) -> dict[str, Any] | None:
        """An object of the namespace; None if there is none. `where` is one of the paths above.

        Raises:
            ClusterAnswerError, UnreachableError
        """
        try:
            return self._asked("GET", f"{self._of(where)}/{quote(name, safe='')}")
        except ClusterAnswerError as error:
            if error.status == 404:
                return None
            raise

    def find(self, where: str, **selectors: str) -> list[dict[str, Any]]:
        """The objects that `labelSelector` or `fieldSelector` choose."""
        found = self._asked("GET", self._of(where), query=[*selectors.items()]).get("items")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    def create(self, where: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object, and return it; if there is one of that name, that one."""
        try:
            return self._asked("POST", self._of(where), body)
        except ClusterAnswerError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                raise
            return self.get(where, str(body["metadata"]["name"])) or {}

    def delete(self, where: str, name: str, policy: str = "Background") -> bool:
        """Ask to delete an object; False if there is none."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        try:
            self._asked("DELETE", f"{self._of(where)}/{quote(name, safe='')}", body)
        except ClusterAnswerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def is_allowed(self, verb: str, group: str, resource: str) -> bool:
        """Whether the login has a right in the namespace."""
        name, _, part = resource.partition("/")
        wanted = {"namespace": self.namespace, "verb": verb, "group": group, "resource": name}
        if part:
            wanted["subresource"] = part
        found = self._asked(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": wanted},
            },
        )
        return (found.get("status") or {}).get("allowed") is True

    def version(self) -> str:
        """The version of the API server."""
        return str(self._asked("GET", "/version").get("gitVersion") or "unknown")[:40]

    def log(self, pod: str, container: str, lines: int) -> str:
        """The last lines that a container has printed; "" if there are none."""
        path = f"{self._of(PODS)}/{quote(pod, safe='')}/log"
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", "65536")]
        status, data = self._request("GET", path, query=query)
        return data.decode("utf-8", "replace") if status < 300 else ""

    def execute(
        self,
        pod: str,
        container: str,
        words: Sequence[str],
        sink: Callable[[bytes], object],
        given: Iterable[bytes] = (),
    ) -> Command:
        """Run a command in a container, and pass its output on.

        It does not see the end of `given`: it has to know how much that is.

        Raises:
            UnreachableError: the connection was lost before its end.
            ClusterAnswerError: there is no such container, or it does not run.
        """
        ws_client = module("kubernetes.stream.ws_client")
        query = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
        query += [("command", word) for word in words]
        path = f"{self._of(PODS)}/{quote(pod, safe='')}/exec"
        url = ws_client.get_websocket_url(self._url(path, query))
        errors = bytearray()
        with asked(self.address):
            channel = ws_client.WSClient(
                self._client.configuration, url, self._headers(), capture_all=False, binary=True
            )
            # A connection may stall within a message, in either direction.
            channel.sock.settimeout(_SILENCE_TIMEOUT_S)
            try:
                for data in given:
                    for at in range(0, len(data), _PIECE):
                        channel.write_channel(_STDIN, data[at : at + _PIECE])
                last = time.monotonic()
                while channel.is_open():
                    channel.update(timeout=1)
                    last = self._passed_on(channel, sink, errors, last)
                self._passed_on(channel, sink, errors, last)
                ended = channel.read_channel(_ERROR)
            finally:
                channel.close()
        return Command(_code_of(bytes(ended), self.address), errors.decode("utf-8", "replace"))

    def _passed_on(
        self, channel: Any, sink: Callable[[bytes], object], errors: bytearray, last: float
    ) -> float:
        """Pass on what has come; when something came last."""
        data, said = channel.read_channel(_STDOUT), channel.read_channel(_STDERR)
        if data:
            sink(bytes(data))
        if said and len(errors) < _MOST_STDERR:
            errors += bytes(said)[:_MOST_STDERR]
        if data or said:
            return time.monotonic()
        if time.monotonic() - last > _SILENCE_TIMEOUT_S:
            raise UnreachableError("a command in the container does not answer", where=self.address)
        return last

    def _of(self, where: str) -> str:
        return where.format(quote(self.namespace, safe=""))


def _code_of(ended: bytes, where: str) -> int:
    """The exit code that the last message of a channel says. Raises UnreachableError if there is none."""
    try:
        found = json.loads(ended)
        if found["status"] == "Success":
            return 0
        if found.get("reason") == "NonZeroExitCode":
            causes = found["details"]["causes"]
            return int(next(each["message"] for each in causes if each.get("reason") == "ExitCode"))
        said = str(found.get("message") or "")
    except (ValueError, KeyError, TypeError, StopIteration, AttributeError):
        said = ""
    raise UnreachableError(said[:300] or "the connection was closed", where=where)
