"""A real MLflow server with a SQLite database, and a process that exports to it and reads from it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from amlexec.values import Project
from tests.conftest import PATIENCE, Done
from tests.engines import mlflow
from tests.engines.fixtures import need
from tests.support import mlflow_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ProjectFolder

_ROOT = Path(__file__).parents[2]


class Worker:
    """A process that has imported MLflow."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """Its answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Mlflow(NamedTuple):
    """The server and the worker, for one project."""

    uri: str
    log: Path
    worker: Worker
    folder: ProjectFolder

    @property
    def project(self) -> Project:
        """The project as amlexec has it."""
        return Project(str(self.folder.root))

    def amlexec(self, *arguments: str) -> Done:
        """Run amlexec in the project's folder."""
        answer = self.worker.ask(run={"arguments": arguments, "folder": str(self.folder.root)})
        assert answer["folder"] == str(self.folder.root), "the current folder has changed"
        return Done(answer["code"], answer["out"], answer["err"])

    def export(self, *arguments: str) -> list[str]:
        """Export; the printed lines."""
        done = self.amlexec("history", "export", "mlflow", "--to", self.uri, *arguments)
        assert (done.code, done.err) == (0, "")
        return done.out.splitlines()

    def read(self, experiment: str = "demo") -> dict[str, Any]:
        """The runs of an experiment by name, as MLflow's client reads them."""
        found: dict[str, Any] = self.worker.ask(read={"uri": self.uri, "experiment": experiment})
        return found

    def writes(self) -> int:
        """How many requests that write values the server has got."""
        return self.log.read_text("utf-8").count("/mlflow/runs/log-batch")


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A process that has imported MLflow."""
    need("mlflow", f"MLflow {mlflow.VERSION}", mlflow.is_there)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "PYTHONPATH": str(_ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    with subprocess.Popen(
        [sys.executable, mlflow_worker.__file__, mlflow.site_packages()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Worker(process)
        assert process.stdin is not None
        process.stdin.close()


class _Served(NamedTuple):
    uri: str
    log: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    """`mlflow server` on the loopback, with SQLite."""
    need("mlflow", f"MLflow {mlflow.VERSION}", mlflow.is_there)
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(mlflow.database(), folder / "mlflow.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--workers",
        "1",
        "--port",
        str(port),
    ]
    arguments += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [mlflow.python(), "-m", "mlflow", "server", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield _Served(f"http://127.0.0.1:{port}", log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=PATIENCE).close()
        except OSError:
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def mlflow_server(served: _Served, worker: Worker, project: ProjectFolder) -> Mlflow:
    """The server, for this test's project."""
    return Mlflow(served.uri, served.log, worker, project)
