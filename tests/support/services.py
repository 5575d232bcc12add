"""The server of a service as a process of this machine, which is much faster than its container."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.runtime import SERVE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KEY", "Reply", "Served", "begin", "serving"]

KEY = "the-key-of-the-tests"
PATIENCE = 120.0


class Reply:
    """An answer, read."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def json(self) -> Any:
        """The body as JSON without NaN."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.body, parse_constant=refuse)


class Served:
    """A server, and its log so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.port = 0
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                with self.changed:
                    self.lines.append(line.decode().rstrip())
                    if " listens on " in self.lines[-1]:
                        self.port = int(self.lines[-1].rpartition(":")[2])
                    self.changed.notify_all()
        with self.changed:
            self.lines.append("")
            self.changed.notify_all()

    @property
    def log(self) -> str:
        """The log so far."""
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Wait until the log has a line with that text."""
        with self.changed:
            told = self.changed.wait_for(lambda: text in self.log or self.lines[-1:] == [""], PATIENCE)
        assert told and text in self.log, self.log

    def end(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.end()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self,
        path: str = "/score",
        body: Any = None,
        method: str = "",
        kind: str = "application/json",
        key: str = KEY,
        **headers: str,
    ) -> Reply:
        """Its answer. A body that is neither text nor bytes is sent as JSON."""
        connection = self.connect()
        with contextlib.closing(connection):
            send(connection, path, body, method, kind, key, **headers)
            return Reply(connection.getresponse())


def send(
    connection: http.client.HTTPConnection,
    path: str = "/score",
    body: Any = None,
    method: str = "",
    kind: str = "application/json",
    key: str = KEY,
    **headers: str,
) -> None:
    """Send a request."""
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and kind:
        named["Content-Type"] = kind
    if key:
        named["Authorization"] = f"Bearer {key}"
    connection.request(method or ("GET" if body is None else "POST"), path, body, named)


def begin(folder: Path, script: str, settings: dict[str, Any] | None = None, **variables: str) -> Served:
    """Start a server of a script."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "score.py").write_text(script)
    told = {"script": str(folder / "score.py"), "name": "demo", "port": 0, **(settings or {})}
    (folder / "service.json").write_text(json.dumps(told))
    environment = {
        **os.environ,
        "AMLEXEC_SERVICE_KEY": KEY,
        **{f"AMLEXEC_SERVICE_{name}": value for name, value in variables.items()},
    }
    command = [sys.executable, str(SERVE), str(folder / "service.json")]
    process = subprocess.Popen(
        command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return Served(process)


@contextlib.contextmanager
def serving(
    folder: Path, script: str, settings: dict[str, Any] | None = None, **variables: str
) -> Iterator[Served]:
    """A server that is ready, during the block."""
    served = begin(folder, script, settings, **variables)
    try:
        served.wait_for(" ready after ")
        yield served
    finally:
        served.close()
