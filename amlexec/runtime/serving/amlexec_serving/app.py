"""The ASGI application: routes, keys, limits, and errors as JSON."""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import os
import re
import socket
import sys
import time
import traceback
import uuid
from typing import Any, Callable, Mapping

from . import metrics, openapi, protocols
from .bodies import Bodies
from .errors import AnswerError, InvalidError
from .metrics import Metrics
from .pages import FILES, HEADERS
from .peers import Peers
from .request_log import RequestLog
from .requests import Request, json_of
from .script import Answer, Script
from .settings import Settings
from .turns import Turns
from .worker import Worker

__all__ = ["App"]

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_LONGEST_ID = 100
_CLIENT_ID = b"x-ms-client-request-id"
_FOREIGN = {b"cross-site", b"same-site"}
_OPEN = {"/healthz", "/livez", "/readyz", "/health", "/ping", "/v2/health/live", "/v2/health/ready"}
_OF_JSON = {"/openapi.json", "/swagger.json", "/status"}
_ROUTES = {*_OPEN, *_OF_JSON, "/score", "/metrics", "/v2", protocols.INVOCATIONS}
"""The paths with counters of their own."""
_OF_RAW = {"PUT", "PATCH", "DELETE"}
"""More methods that a script with @rawhttp takes."""


class App:
    """The application. `script` is None until it is loaded; all of it runs on the server's loop."""

    def __init__(self, settings: Settings, turns: Turns) -> None:
        self.settings = settings
        self.keys = settings.keys()
        self.models = ",".join("{name}:{version}".format(**one) for one in settings.models)
        replica = (settings.replica or socket.gethostname()) if settings.join else ""
        self.metrics = Metrics(settings.name, self.models, replica)
        self.peers: Peers | None = None
        """The other replicas, if there can be any."""
        self.script: Script | None = None
        self.turns = turns
        self.worker: Worker | Turns = turns
        self.ready = False
        """Whether `init` has returned, and the server is not ending."""
        self.ending = False
        """Whether requests are refused, because the server ends."""
        self.leaving = False
        """Whether clients are asked to open a new connection, which another replica gets."""
        self._bodies = Bodies(settings)
        self._log = RequestLog(settings)
        named = self.models.encode("latin-1", "replace")
        self._model_headers = [(b"x-amlexec-model", named)] if named else []
        self._prefix = uuid.uuid4().hex[:20]
        """The beginning of the ids of requests, which no other server has; a number follows."""
        self._count = 0
        self._document: bytes = b""

    def loaded(self, script: Script) -> None:
        """Serve a script, once `ready` is set."""
        wanted = self.settings.concurrency or (64 if script.is_async else 1)
        if script.is_async or wanted > 1:
            # Coroutines are awaited on the loop: the worker has nothing to do.
            self.worker = Worker(1 if script.is_async else wanted, self.settings.queue)
        self._slots = asyncio.Semaphore(wanted) if script.is_async else None
        self._document = json.dumps(openapi.document(script, self.settings)).encode()
        self.script = script

    async def __call__(
        self, scope: Mapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path, method = scope["path"], scope["method"]
        identity = self._identity(headers)
        self.metrics.in_flight += 1
        extra: list[tuple[bytes, bytes]] = []
        try:
            if len(headers.get(_CLIENT_ID, b"")) > _LONGEST_ID:
                raise AnswerError(431, "x-ms-client-request-id is longer than 100 characters")
            if path == "/score" or path == protocols.INVOCATIONS or protocols.is_inference(path):
                answer = await self._scored(method, headers, scope, receive, identity, extra)
            else:
                answer = await self._plain(method, path, headers)
        except AnswerError as error:
            answer = _refusal(error, identity)
        except Exception:
            _say("the server failed at request {}\n{}".format(identity, traceback.format_exc()))
            answer = _refusal(AnswerError(500, "the server failed"), identity)
        finally:
            self.metrics.in_flight -= 1
        status, body, more, kind = answer
        extra.append((b"content-length", b"%d" % len(body)))
        extra.append((b"content-type", kind.encode("latin-1", "replace")))
        extra.append((b"x-request-id", identity.encode()))
        for name, value in more:
            extra.append((name.encode(), value.encode("latin-1", "replace")))
        if self.leaving or self.ending:
            extra.append((b"connection", b"close"))
        seconds = time.perf_counter() - began
        self.metrics.answered(_route(path), status, seconds)
        if self.settings.access_log and path not in _OPEN:
            _say("{} {} {} {:.1f}ms {}".format(method, _shown(path), status, 1000 * seconds, identity))
        connection = scope["state"].get("amlexec")
        if connection is not None:
            connection.holds = True
        await send({"type": "http.response.start", "status": status, "headers": extra})
        if connection is not None:
            connection.holds = False
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        if connection is not None:
            connection.flush()

    def _identity(self, headers: Mapping[bytes, bytes]) -> str:
        """The request's id: the client's, if it can be one, or a new one."""
        given = headers.get(b"x-request-id") or headers.get(_CLIENT_ID)
        if given:
            text = given.decode("latin-1")
            if _ID.fullmatch(text):
                return text
        self._count += 1
        return "%s%012x" % (self._prefix, self._count)

    async def _plain(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Answer:
        """The answer for any path but that of the script."""
        static = FILES.get(path)
        if path not in _OPEN and static is None:
            self._must_be_allowed(headers)
        found = (
            protocols.described(path, self.script, self.settings, ready=self.ready)
            if path not in _OPEN
            else None
        )
        if path not in _OPEN and path not in _OF_JSON and path != "/metrics" and static is None and not found:
            raise AnswerError(404, "there is no {}; POST requests to /score".format(_shown(path)))
        if method not in ("GET", "HEAD"):
            raise AnswerError(405, "{} takes GET".format(path), allow="GET, HEAD")
        if found is not None:
            return found
        if static is not None:
            return Answer(200, static[1], HEADERS, static[0])
        if path == "/metrics":
            counted = await self.peers.all() if self.peers is not None else [self.counters()]
            kind = "text/plain; version=0.0.4; charset=utf-8"
            return Answer(200, metrics.text(counted).encode(), content_type=kind)
        if path in ("/openapi.json", "/swagger.json"):
            if not self._document:
                raise AnswerError(503, "the scoring script is being loaded", retry_after="1")
            return Answer(200, self._document)
        if path == "/status":
            return Answer(200, json.dumps(self._status()).encode())
        if path in ("/healthz", "/livez", "/v2/health/live"):
            return Answer(200, b'{"status": "alive"}')
        if not self.ready:
            what = "ending" if self.ending else "starting"
            return Answer(503, json.dumps({"status": what}).encode(), (("retry-after", "1"),))
        return Answer(200, b'{"status": "ready"}')

    def counters(self) -> dict[str, Any]:
        """The counters of this replica."""
        return self.metrics.counters(ready=self.ready, waiting=self.worker.waiting)

    def _status(self) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for (route, status), count in self.metrics.answers.items():
            if route == "/score":
                counts[str(status)] = counts.get(str(status), 0) + count
        return {
            "service": self.settings.name,
            "models": [{"name": one["name"], "version": one["version"]} for one in self.settings.models],
            "ready": self.ready,
            "generation": self.settings.generation,
            "uptime_s": round(time.time() - self.metrics.began, 1),
            "answers": counts,
            "waiting": self.worker.waiting,
            "latency_ms": self.metrics.latencies(),
        }

    def _must_be_allowed(self, headers: Mapping[bytes, bytes]) -> None:
        if self.settings.insecure:
            # Without a key, any page in a browser of this machine could ask.
            if headers.get(b"sec-fetch-site") in _FOREIGN:
                raise AnswerError(403, "requests of other sites are refused")
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        sent = given.strip() if kind.lower() == b"bearer" else b""
        # All are compared, so that the time says nothing.
        if sent and sum(hmac.compare_digest(sent, key) for key in self.keys):
            return
        if not self.keys:
            raise AnswerError(
                401,
                "the service was started without a key, so it refuses all requests; set "
                "AMLEXEC_SERVICE_KEY, or AMLEXEC_SERVICE_INSECURE=1 for a service without one",
                www_authenticate="Bearer",
            )
        message = "the key is wrong" if sent else "a key is needed: Authorization: Bearer KEY"
        raise AnswerError(401, message, www_authenticate="Bearer")

    async def _scored(
        self,
        method: str,
        headers: Mapping[bytes, bytes],
        scope: Mapping[str, Any],
        receive: Callable[..., Any],
        identity: str,
        extra: list[tuple[bytes, bytes]],
    ) -> Answer:
        """The answer of the script; headers that go with it are added to `extra`."""
        self._must_be_allowed(headers)
        path = scope["path"]
        if method == "OPTIONS":
            return Answer(200, b"", (("allow", "POST, GET, OPTIONS"),))
        script: Any = self.script
        if path != "/score":
            if method != "POST":
                raise AnswerError(405, "{} takes POST".format(_shown(path)), allow="POST, OPTIONS")
            script = script and protocols.behind(path, script, self.settings)
        elif method not in ("POST", "GET") and not (script and script.is_raw and method in _OF_RAW):
            raise AnswerError(405, "/score takes POST", allow="POST, GET, OPTIONS")
        if self.ending:
            raise AnswerError(503, "the service is ending", retry_after="1")
        if script is None or not self.ready:
            raise AnswerError(503, "the service is starting", retry_after="1")
        body = await self._bodies.read(headers, receive)
        try:
            request = Request(method, scope["query_string"].decode("latin-1"), headers, body, identity)
            began = time.perf_counter()
            if script.is_async:
                answer = await self._awaited(script, request)
            else:
                answer = await self.worker.call(self._run, script, request)
            taken = 1000 * (time.perf_counter() - began)
        finally:
            self._bodies.held -= len(body)
        extra.append((b"x-ms-run-fn-exec-ms", b"%.3f" % taken))
        extra.append((b"x-ms-request-id", identity.encode()))
        extra += self._model_headers
        if self._log.is_on and not self._log.add(request, answer, taken):
            self.metrics.not_logged += 1
        return answer

    async def _awaited(self, script: Script, request: Request) -> Answer:
        assert self._slots is not None
        if self.worker.waiting >= self.settings.queue:
            raise AnswerError(503, "too many requests are waiting", retry_after="1")
        self.worker.waiting += 1
        try:
            async with self._slots:
                positional, named = script.arguments(request)
                try:
                    value = await script.run(*positional, **named)
                except (Exception, SystemExit) as error:
                    return self._failed(error, request)
                return script.answer(value, self.settings.nan)
        finally:
            self.worker.waiting -= 1

    def _run(self, script: Script, request: Request) -> Answer:
        """On a worker's thread: call `run`. Raises AnswerError."""
        positional, named = script.arguments(request)
        try:
            value = script.run(*positional, **named)
        except BaseException as error:
            return self._failed(error, request)
        return script.answer(value, self.settings.nan)

    def _failed(self, error: BaseException, request: Request) -> Answer:
        """The answer to a request for which `run` raised `error`."""
        if isinstance(error, AnswerError):
            raise error
        if isinstance(error, KeyboardInterrupt):
            raise error
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        _say("run failed at request {}\n{}".format(request.identity, text))
        if request.is_json and not isinstance(error, InvalidError):
            json_of(request.text())  # what the script could not read, either: 400
        answer = _refusal(AnswerError(500, "the scoring script failed"), request.identity)
        if self.settings.tracebacks:
            told = {**json.loads(answer.body), "traceback": text}
            answer = answer._replace(body=json.dumps(told).encode())
        return answer._replace(headers=(("x-ms-run-function-failed", "True"),))


def _refusal(error: AnswerError, identity: str) -> Answer:
    told: dict[str, Any] = {"error": error.message, "request_id": identity}
    if error.fields:
        told["fields"] = list(error.fields)
    return Answer(error.status, json.dumps(told).encode(), tuple(error.headers.items()))


def _route(path: str) -> str:
    """What requests to a path are counted as."""
    if path in _ROUTES:
        return path
    return protocols.INFER if protocols.is_inference(path) else "other"


def _shown(path: str) -> str:
    """A path for a line of the log, or of a message."""
    return "".join(sign if " " < sign < "\x7f" else "?" for sign in path[:200])


def _say(text: str) -> None:
    """Write a line to the log, whatever the script did to `logging` and `sys.stdout`."""
    try:
        os.write(
            2, "{} {}\n".format(_moment(int(time.time())), text.rstrip()).encode("utf-8", "backslashreplace")
        )
    except OSError:
        sys.exc_info()  # a full disk, or nobody reads: requests go on


@functools.lru_cache(maxsize=1)
def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
