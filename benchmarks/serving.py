"""Answer requests with a scoring script: 1, 8 and 64 clients.

Beside bare uvicorn with the same function, and, if AMLEXEC_BENCH_SERVERS names a virtual environment that has
them, beside `mlflow models serve` and BentoML.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.runtime import SERVE
from benchmarks.http_load import Load, quantile
from benchmarks.timing import Command, Figure, Row, Sizes, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SCORE = """
import math
WEIGHTS = [[0.1, 0.5, -0.3, 0.2, 0.7], [0.3, -0.2, 0.4, 0.1, -0.1], [-0.4, 0.2, 0.1, -0.6, 0.3]]
def init(): pass
def run(flowers: list) -> dict:
    found = []
    for flower in flowers:
        scores = [line[0] + sum(a * b for a, b in zip(line[1:], flower)) for line in WEIGHTS]
        powers = [math.exp(score - max(scores)) for score in scores]
        found.append([power / sum(powers) for power in powers])
    return {"probabilities": found}
"""
BARE = """
import json
from score import run
async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = json.dumps(run(json.loads(body))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
"""
BENTO = """
import bentoml
from score import run
@bentoml.service(workers=1)
class Iris:
    @bentoml.api
    def score(self, flowers: list[list[float]]) -> dict:
        return run(flowers)
"""
MLFLOW = """
import mlflow.pyfunc
from score import run
class Iris(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return run(model_input.tolist() if hasattr(model_input, "tolist") else model_input)
mlflow.pyfunc.save_model("mlflow-model", python_model=Iris(), code_paths=["score.py"], pip_requirements=[])
"""
MODEL = "import decimal, json, fractions, statistics\ndef init(): pass\ndef run(data): return data\n"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 5.1, 1.8], [6.2, 2.9, 4.3, 1.3]]
CLIENTS = (1, 8, 64)
PEERS = "AMLEXEC_BENCH_SERVERS"
BARE_NAME = "bare uvicorn, same function"
MLFLOW_NAME, BENTO_NAME = "mlflow models serve", "BentoML"
_START_TIMEOUT_S = 120


class Server(NamedTuple):
    """A server that runs."""

    name: str
    port: int
    path: str
    body: bytes
    process: subprocess.Popen[bytes]

    def load(self, clients: int, number: int) -> Load:
        """Requests to it."""
        return Load(self.port, self.path, self.body, clients, number)

    def cpu_s(self) -> float:
        """What its threads have used."""
        used = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            used += int((task / "schedstat").read_text().split()[0])
        return used / 1e9


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The time for some requests, the slowest of them, and the processor's time; in interleaved rounds."""
    number = max(64, sizes.runs * 10)
    for name, text in {"score.py": SCORE, "bare.py": BARE, "bento.py": BENTO, "save.py": MLFLOW}.items():
        (folder / name).write_text(text)
    unit = run(Command((sys.executable, "-c", "pass"), folder))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_ours(folder, "service.json")), stack.enter_context(_bare(folder))]
        servers += [stack.enter_context(begin(folder)) for begin in _peers(folder)]
        for clients in CLIENTS:
            name = f"{clients} client{'s' if clients > 1 else ''}"
            yield from _rows(
                name, servers, [server.load(clients, number) for server in servers], rounds, unit
            )
    yield _cold_start(folder, rounds, unit)


def _rows(
    clients: str, servers: Sequence[Server], loads: Sequence[Load], rounds: int, unit: float
) -> Iterator[Row]:
    walls: list[list[float]] = [[] for _ in loads]
    slowest: list[list[float]] = [[] for _ in loads]
    cpus: list[list[float]] = [[] for _ in loads]
    for load in loads:
        load.run()
    for number in range(rounds):
        for step in range(len(loads)):
            at = (number + step) % len(loads)
            before, began = servers[at].cpu_s(), time.perf_counter()
            latencies = loads[at].run()
            walls[at].append((time.perf_counter() - began) * 1000)
            cpus[at].append((servers[at].cpu_s() - before) * 1000)
            slowest[at].append(quantile(latencies, 0.99) * 1000)
    for what, found, most in (
        (f"{loads[0].number} requests by {clients}", walls, (1.11, 1.0, 1.0)),
        (f"p99 of a request by {clients}", slowest, (None, 1.0, 1.0)),
    ):
        for name, limit in zip((BARE_NAME, MLFLOW_NAME, BENTO_NAME), most, strict=True):
            at = next((at for at, server in enumerate(servers) if server.name == name), None)
            yield _row(what, found[0], name, None if at is None else found[at], limit, unit)
    # Of the peers, other processes answer.
    yield _row(f"CPU of the server, {clients}", cpus[0], BARE_NAME, cpus[1], None, unit)


def _row(
    what: str,
    ours: Sequence[float],
    name: str,
    theirs: Sequence[float] | None,
    most: float | None,
    unit: float,
) -> Row:
    ratio = None
    if theirs is not None:
        ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    peer = None if theirs is None else statistics.median(theirs)
    return Row(what, statistics.median(ours), name, peer, ratio, Figure("ratio", most), unit, len(ours))


def _cold_start(folder: Path, rounds: int, unit: float) -> Row:
    """From the start of the process to the first 200 of /readyz, over a Python that imports the same."""
    (folder / "model.py").write_text(MODEL)
    bare = Command((sys.executable, "-c", "import model; model.init()"), folder)
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(run(bare))
        began = time.perf_counter()
        with _ours(folder, "cold.json", script="model.py"):
            ours.append((time.perf_counter() - began) * 1000)
    more = statistics.median(mine - other for mine, other in zip(ours, theirs, strict=True))
    name = "Python imports the model"
    wanted = Figure("more ms", 1500)
    return Row(
        "start to ready", statistics.median(ours), name, statistics.median(theirs), more, wanted, unit, rounds
    )


def _peers(folder: Path) -> Iterator[Callable[[Path], contextlib.AbstractContextManager[Server]]]:
    place = os.environ.get(PEERS, "")
    if (Path(place) / "bin/mlflow").exists() and place:
        shutil.rmtree(folder / "mlflow-model", ignore_errors=True)
        run(Command((f"{place}/bin/python", "save.py"), folder))
        yield lambda folder: _mlflow(folder, place)
    if (Path(place) / "bin/bentoml").exists() and place:
        yield lambda folder: _bento(folder, place)


def _ours(
    folder: Path, settings_name: str, script: str = "score.py"
) -> contextlib.AbstractContextManager[Server]:
    port = _free_port()
    settings = {"script": str(folder / script), "port": port, "insecure": True, "access_log": False}
    (folder / settings_name).write_text(json.dumps(settings))
    command = (sys.executable, str(SERVE), str(folder / settings_name))
    return _started("ours", folder, command, port, "/score", FLOWERS, ready="/readyz")


def _bare(folder: Path) -> contextlib.AbstractContextManager[Server]:
    port = _free_port()
    uvicorn = (sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), "--loop", "asyncio")
    command = (*uvicorn, "--no-access-log", "--log-level", "warning", "--lifespan", "off")
    return _started(BARE_NAME, folder, command, port, "/score", FLOWERS)


def _mlflow(folder: Path, place: str) -> contextlib.AbstractContextManager[Server]:
    port = _free_port()
    command = (f"{place}/bin/mlflow", "models", "serve", "-m", "mlflow-model", "--env-manager", "local")
    command += ("--port", str(port), "--workers", "1")
    return _started(MLFLOW_NAME, folder, command, port, "/invocations", {"inputs": FLOWERS}, place=place)


def _bento(folder: Path, place: str) -> contextlib.AbstractContextManager[Server]:
    port = _free_port()
    command = (f"{place}/bin/bentoml", "serve", "bento:Iris", "--port", str(port))
    return _started(BENTO_NAME, folder, command, port, "/score", {"flowers": FLOWERS}, place=place)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _started(
    name: str,
    folder: Path,
    command: Sequence[str],
    port: int,
    path: str,
    value: object,
    *,
    ready: str = "",
    place: str = "",
) -> Iterator[Server]:
    """A server that answers; it and its processes are ended after the block."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    if place:
        environment |= {"PATH": f"{place}/bin:{environment['PATH']}", "BENTOML_DO_NOT_TRACK": "True"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Server(name, port, path, json.dumps(value).encode(), process)
    probe = Load(port, ready, b"", 1, 1) if ready else server.load(1, 1)
    try:
        until = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, RuntimeError):
                probe.run()
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} does not start")
            time.sleep(0.002)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
