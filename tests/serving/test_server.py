"""The server of a service: requests, errors and limits."""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import re
import resource
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.runtime import SERVING
from tests.conftest import eventually
from tests.support.services import KEY, Reply, begin, send, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.services import Served

SCRIPT = '''"""Scores flowers."""
import datetime, decimal, logging, math, os, sys, time
import numpy
import helper  # beside it

logging.basicConfig(level=logging.CRITICAL, force=True)
started = os.getcwd()

def init():
    global ready
    ready = helper.VALUE

def run(data: dict) -> dict:
    what = data.get("do")
    if what == "raise":
        raise RuntimeError("secret-of-the-script")
    if what == "exit":
        sys.exit(3)
    if what == "sleep":
        time.sleep(data["for"])
    if what == "nan":
        return {"a": [1.5, math.nan, math.inf]}
    if what == "kinds":
        return {
            "array": numpy.arange(3), "scalar": numpy.float32(1.5), "text": numpy.array(["a", "b"]),
            "time": numpy.datetime64("2026-03-01"), "moment": datetime.datetime(2026, 3, 1),
            "decimal": decimal.Decimal("1.5"), "set": {1}, "int": numpy.int64(3), "nan": numpy.float64("nan"),
        }
    if what == "bytes":
        return {"rows": [{"image": b"raw"}]}
    if what == "raw":
        return b"raw"
    if what == "object":
        return {"rows": [object()]}
    return {"y": ready, "cwd": started, "data": data}
'''


def allow_connections(number: int) -> None:
    """Let this process, and those that it starts, have that many files and connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "helper.py").write_text("VALUE = 7\n")
    allow_connections(4096)
    settings = {"models": [{"name": "iris", "version": 3}], "sample": '{"x": 1}'}
    with serving(folder, SCRIPT, settings, BODY_LIMIT="1000000", BODY_TIMEOUT="2") as found:
        yield found


def test_a_script_has_its_folder_as_current_one_and_imports_from_it(demo: Served) -> None:
    answer = demo.ask(body={"x": 1})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["y"] == 7
    assert Path(answer.json["cwd"], "helper.py").exists()


def test_answers_carry_the_model_and_the_ids(demo: Served) -> None:
    answer = demo.ask(body={}, x_request_id="mine-1")
    assert answer.headers["x-amlexec-model"] == "iris:3"
    assert (answer.headers["x-request-id"], answer.headers["x-ms-request-id"]) == ("mine-1", "mine-1")
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) >= 0
    bad = demo.ask(body={}, x_request_id="<script>")
    assert re.fullmatch("[0-9a-f]{32}", bad.headers["x-request-id"])
    assert demo.ask(body={}, x_ms_client_request_id="a" * 101).status == 431


def test_basic_config_of_a_script_keeps_the_access_log(demo: Served) -> None:
    demo.ask(body={}, x_request_id="logged-1")
    demo.wait_for("logged-1")
    assert re.search(r"^\S+Z POST /score 200 [0-9.]+ms logged-1$", demo.log, re.MULTILINE)


@pytest.mark.parametrize(
    "path", ["/score", "/openapi.json", "/swagger.json", "/metrics", "/status", "/nothing"]
)
def test_every_route_but_health_needs_the_key(demo: Served, path: str) -> None:
    for _ in range(2):  # not only the first time
        for key in ("", "wrong", KEY + "x"):
            answer = demo.ask(path, key=key)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "key" in answer.json["error"]
            assert KEY not in answer.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/health", "/ping", "/v2/health/ready"])
def test_health_needs_no_key(demo: Served, path: str) -> None:
    assert demo.ask(path, key="").status == 200


@pytest.mark.parametrize(
    ("status", "request_", "told"),
    [
        (400, {"body": '{"x": 1,,}'}, "line 1, column 9"),
        (400, {"body": '{"x": NaN}'}, "NaN is not JSON"),
        (400, {"body": "[" * 100000}, "nested too deep"),
        (400, {"body": ""}, "not JSON"),
        (400, {"body": b"\xff"}, "not UTF-8: byte 0"),
        (404, {"path": "/nothing"}, "POST requests to /score"),
        (405, {"method": "PUT", "body": "{}"}, "/score takes POST"),
        (405, {"path": "/metrics", "body": "{}"}, "takes GET"),
        (413, {"body": "x" * 1000001}, "limit of 1000000 bytes"),
        (415, {"body": "x=1", "kind": "application/x-www-form-urlencoded"}, "send application/json"),
        (422, {"body": "[1]"}, "data: expected an object, got a list"),
        (500, {"body": {"do": "raise"}}, "the scoring script failed"),
        (500, {"body": {"do": "exit"}}, "the scoring script failed"),
        (500, {"body": {"do": "bytes"}}, "answer.rows[0].image is bytes"),
        (500, {"body": {"do": "object"}}, "answer.rows[0] is of type builtins.object"),
    ],
)
def test_errors_are_json_with_their_reason(
    demo: Served, status: int, request_: dict[str, Any], told: str
) -> None:
    answer = demo.ask(**request_)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert told in answer.json["error"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert "secret-of-the-script" not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    assert demo.ask("/readyz").status == 200


def test_a_failing_script_is_in_the_log_with_the_request(demo: Served) -> None:
    answer = demo.ask(body={"do": "raise"}, x_request_id="failing-1")
    assert answer.headers["x-ms-run-function-failed"] == "True"
    head, error = "run failed at request failing-1", "RuntimeError: secret-of-the-script"
    # Other tests make the script fail, too.
    eventually(lambda: error in demo.log.partition(head)[2], "the error is in the log, below its request")


def test_what_is_no_http_gets_an_answer(demo: Served) -> None:
    with socket.create_connection(("127.0.0.1", demo.port)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_answers_of_arrays_times_and_decimals(demo: Served) -> None:
    assert demo.ask(body={"do": "kinds"}).json == {
        "array": [0, 1, 2],
        "scalar": 1.5,
        "text": ["a", "b"],
        "time": "2026-03-01",
        "moment": "2026-03-01T00:00:00",
        "decimal": 1.5,
        "set": [1],
        "int": 3,
        "nan": None,
    }
    raw = demo.ask(body={"do": "raw"})
    assert (raw.body, raw.headers["content-type"]) == (b"raw", "application/octet-stream")


def test_nan_becomes_null_and_is_counted(demo: Served) -> None:
    answer = demo.ask(body={"do": "nan"})
    assert answer.json == {"a": [1.5, None, None]}
    assert answer.headers["x-amlexec-nan"] == "2"


def test_the_openapi_document_is_one(demo: Served) -> None:
    found = demo.ask("/openapi.json").json
    assert found["openapi"] == "3.1.0"
    assert found["info"] == {"title": "demo", "version": "iris:3", "description": "Scores flowers."}
    content = found["paths"]["/score"]["post"]["requestBody"]["content"]
    assert content == {"application/json": {"schema": {"type": "object"}, "example": {"x": 1}}}
    must_be_openapi(found)


def must_be_openapi(found: dict[str, Any]) -> None:
    """Whether all its schemas are schemas, and all references lead to one."""
    import jsonschema

    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for methods in found["paths"].values():
        for operation in methods.values():
            assert operation["responses"]
            assert all(answer["description"] for answer in operation["responses"].values())
            for answer in [*operation["responses"].values(), operation.get("requestBody", {})]:
                for media in answer.get("content", {}).values():
                    jsonschema.Draft202012Validator.check_schema(media.get("schema", {}))
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', str(found).replace("'", '"')))
    assert names <= set(found["components"]["schemas"])


def test_counters_are_those_of_the_answers(tmp_path: Path) -> None:
    with serving(tmp_path, "def init(): pass\ndef run(data: int): return data\n") as served:
        for number in range(5):
            served.ask(body=number)
        served.ask(body="no")
        text = served.ask("/metrics").body.decode()
        status = served.ask("/status").json
    assert 'amlexec_service_requests_total{route="/score",status="200"} 5\n' in text
    assert 'amlexec_service_requests_total{route="/score",status="400"} 1\n' in text
    assert "amlexec_service_request_seconds_count 6\n" in text.replace(".0\n", "\n")
    assert status["answers"] == {"200": 5, "400": 1}
    assert set(status["latency_ms"]) == {"p50", "p95", "p99"}
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or re.fullmatch(r'\w+(\{(\w+="[^"]*",?)+\})? [0-9.e+-]+', line)


def test_health_is_answered_while_run_works(demo: Served) -> None:
    connection = demo.connect()
    send(connection, body={"do": "sleep", "for": 1.5})
    eventually(lambda: demo.ask("/status").json["waiting"] == 1, "the request is being answered")
    taken = []
    for _ in range(5):
        began = time.monotonic()
        assert demo.ask("/healthz").status == 200
        taken.append(time.monotonic() - began)
    # The best of five: other tests run on this machine, too. It is far less than what run takes.
    assert min(taken) < 0.1
    assert Reply(connection.getresponse()).status == 200
    connection.close()


def test_a_slow_client_delays_nobody_and_is_told(demo: Served) -> None:
    with socket.create_connection(("127.0.0.1", demo.port)) as slow:
        head = f"POST /score HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n"
        slow.sendall(head.encode() + b"{")
        assert demo.ask(body={}).status == 200
        slow.settimeout(120)
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_thousand_requests_at_once(demo: Served) -> None:
    # Each has its connection before any of them is answered.
    opened = [demo.connect() for _ in range(1000)]
    try:
        for connection in opened:
            connection.connect()
        for number, connection in enumerate(opened):
            send(connection, body={"x": number})
        for number, connection in enumerate(opened):
            answer = Reply(connection.getresponse())
            assert (answer.status, answer.json["data"]["x"]) == (200, number)
    finally:
        for connection in opened:
            connection.close()


def test_more_requests_than_the_queue_has_room_for_are_refused(tmp_path: Path) -> None:
    script = "import time\ndef init(): pass\ndef run(data: float): time.sleep(data)\n"
    with serving(tmp_path, script, QUEUE="2") as served, concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [pool.submit(served.ask, body=0.5) for _ in range(8)]
        answers = [one.result() for one in found]
    counts = [answer.status for answer in answers]
    assert set(counts) == {200, 503}
    assert counts.count(200) >= 3
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.headers["retry-after"] == "1"


def test_a_large_body_is_accepted_if_it_is_allowed(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data: bytes): return len(data)\n"
    with serving(tmp_path, script, BODY_LIMIT=str(200 << 20)) as served:
        assert served.ask(body=b"x" * (100 << 20)).json == 100 << 20


def test_a_body_that_is_too_large_is_not_kept_in_memory(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data: bytes): return len(data)\n"
    with serving(tmp_path, script) as served:
        status = Path(f"/proc/{served.process.pid}/status")
        answer = served.ask(body=b"x" * (100 << 20))
        assert (answer.status, "16777216 bytes" in answer.json["error"]) == (413, True)
        peak = int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
    assert peak < 120_000  # kB: Python itself, and the limit


def test_a_request_in_flight_is_answered_after_sigterm(tmp_path: Path) -> None:
    script = "import time\ndef init(): pass\ndef run(data: float):\n    time.sleep(data)\n    return 1\n"
    with serving(tmp_path, script) as served:
        kept, busy = served.connect(), served.connect()
        send(kept, body=0)
        Reply(kept.getresponse())
        send(busy, body=1.5)
        eventually(lambda: served.ask("/status").json["waiting"] == 1, "the request is being answered")
        served.process.send_signal(signal.SIGTERM)
        # Whatever comes now is refused: by a closed connection, or with 503.
        with contextlib.suppress(OSError, http_errors()):
            send(kept, body=0)
            refused = Reply(kept.getresponse())
            assert refused.status in (200, 503)
        assert Reply(busy.getresponse()).status == 200
        assert served.end() == 0
        kept.close()
        busy.close()


def http_errors() -> type[Exception]:
    """What `http.client` raises for a connection that was closed."""
    import http.client

    return http.client.HTTPException


def test_the_service_is_not_ready_before_init_has_returned(tmp_path: Path) -> None:
    script = "import os, time\ndef init():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
    served = begin(tmp_path, script + "def run(data): return data\n")
    try:
        served.wait_for(" listens on ")
        eventually(lambda: _answers(served), "the server answers")
        assert (served.ask("/readyz").status, served.ask("/healthz").status) == (503, 200)
        refused = served.ask(body="1")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert served.ask("/openapi.json").status == 503
        (tmp_path / "go").touch()
        served.wait_for(" ready after ")
        assert served.ask("/readyz").status == 200
        assert served.ask(body='{"a": 1}').json == '{"a": 1}'
    finally:
        served.close()


def _answers(served: Served) -> bool:
    try:
        return served.ask("/healthz").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("def init(): pass\n", "score.py has no function run"),
        ("def run(data): pass\n", "score.py has no function init"),
        ("def init(): raise ValueError('no model')\ndef run(data): pass\n", "ValueError: no model"),
        ("def init(): raise SystemExit(0)\ndef run(data): pass\n", "score.py failed before it was ready"),
        ("import nothing_like_it\n", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("def init(): pass\ndef run(*data): pass\n", "run's parameter *data must be a plain one"),
        ("def init(): pass\ndef run(): pass\n", "run has no parameter for the data"),
        ("def init(a): pass\ndef run(data): pass\n", "init must need no arguments"),
        ("def init(): pass\ndef run(data: complex): pass\n", "parameter data of run"),
        ("def init(:\n", "SyntaxError"),
    ],
)
def test_a_script_that_can_not_serve_ends_it(tmp_path: Path, script: str, told: str) -> None:
    served = begin(tmp_path, script)
    assert served.end() == 3
    served.wait_for(told)
    assert " ready after " not in served.log


def test_an_init_without_end_is_ended(tmp_path: Path) -> None:
    script = "import time\ndef init(): time.sleep(600)\ndef run(data): pass\n"
    served = begin(tmp_path, script, INIT_TIMEOUT="0.5")
    assert served.end() == 3
    served.wait_for("init did not return within 0.5 s: raise AMLEXEC_SERVICE_INIT_TIMEOUT")


def test_a_killed_server_leaves_no_client_waiting(tmp_path: Path) -> None:
    script = "import os, signal\ndef init(): pass\ndef run(data): os.kill(os.getpid(), signal.SIGKILL)\n"
    with serving(tmp_path, script) as served:
        with pytest.raises((OSError, http_errors())):
            served.ask(body="1")
        assert served.end() == -signal.SIGKILL


def test_a_service_without_a_key_refuses_and_says_how_to_go_on(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data): return data\n"
    with serving(tmp_path, script, KEY="") as served:
        answer = served.ask(body="1", key="")
        assert (answer.status, "AMLEXEC_SERVICE_KEY" in answer.json["error"]) == (401, True)
        assert "no key is set" in served.log


def test_an_insecure_service_refuses_pages_of_other_sites(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data): return data\n"
    with serving(tmp_path, script, KEY="", INSECURE="1", HOST="127.0.0.1") as served:
        assert " listens on 127.0.0.1:" in served.log
        assert served.ask(body="1", key="").status == 200
        assert served.ask(body="1", key="", sec_fetch_site="cross-site").status == 403


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        served = begin(tmp_path, "def init(): pass\ndef run(d): pass\n", PORT=str(taken.getsockname()[1]))
        assert served.end() == 3
    served.wait_for("Address already in use")


def test_tracebacks_if_they_are_asked_for(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data: int): return 1 / data\n"
    with serving(tmp_path, script, TRACEBACKS="1", NAN="strict") as served:
        answer = served.ask(body=0)
        assert "ZeroDivisionError" in answer.json["traceback"]


def test_strict_nan_is_an_error_with_its_place(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(data): return {'a': [0.5, float('nan')]}\n"
    with serving(tmp_path, script, NAN="strict") as served:
        answer = served.ask(body="1")
        assert (answer.status, "answer.a[1] is nan" in answer.json["error"]) == (500, True)


def test_a_setting_that_is_wrong(tmp_path: Path) -> None:
    served = begin(tmp_path, "", QUEUE="many")
    assert served.end() == 3
    served.wait_for("AMLEXEC_SERVICE_QUEUE is 'many', not a number")


def test_the_server_is_written_for_the_oldest_python() -> None:
    for path in SERVING.rglob("*.py"):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 8))
