"""The log of requests: redacted, rotated, sampled; and a disk that is full never fails a request."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from tests.support.services import serving

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = "def init(): pass\ndef run(data: dict): return {'y': 1, 'card': data.get('card')}\n"


def lines(folder: Path, name: str = "requests.jsonl") -> list[dict[str, Any]]:
    """The lines of a file of the log."""
    path = folder / socket.gethostname() / name
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fields_are_left_out_and_files_rotate(tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"models": [{"name": "iris", "version": 3}]}
    with serving(
        tmp_path, SCRIPT, settings, LOG_FOLDER=str(log), LOG_REDACT="card,pin", LOG_SIZE="2000"
    ) as served:
        for number in range(60):
            body = {"n": number, "Card": "4111", "deep": [{"pin": 1}]}
            assert served.ask(body=body, x_request_id=f"r-{number}").status == 200
        served.ask(body="[1]", x_request_id="wrong")
    folder = log / socket.gethostname()
    assert sorted(path.name for path in folder.iterdir()) == [
        "requests.jsonl",
        *(f"requests.jsonl.{number}" for number in range(1, 6)),
    ]
    assert all(path.stat().st_size <= 2000 for path in folder.iterdir())
    last = lines(log)[-1]
    assert last["id"] == "r-59"
    assert last["input"] == {"n": 59, "Card": "[redacted]", "deep": [{"pin": "[redacted]"}]}
    assert last["output"] == {"y": 1, "card": "[redacted]"}
    assert (last["status"], last["models"]) == (200, ["iris:3"])
    assert "4111" not in "".join(path.read_text() for path in folder.iterdir())


def test_nothing_is_logged_unless_it_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(tmp_path, SCRIPT, LOG_FOLDER=str(log), LOG_SAMPLE="0") as served:
        assert served.ask(body={}).status == 200
    assert not log.exists()


def test_a_full_disk_fails_no_request(tmp_path: Path, small_disk: Path) -> None:
    with serving(tmp_path, SCRIPT, LOG_FOLDER=str(small_disk / "log")) as served:
        assert served.ask(body={"text": "a" * 1000}).status == 200
        _fill(small_disk / "filler")
        for _ in range(10):
            assert served.ask(body={"text": "a" * 10000}).status == 200
        text = served.ask("/metrics").body.decode()
    lost = next(line for line in text.splitlines() if line.startswith("amlexec_service_requests_not_logged"))
    assert float(lost.split()[1]) > 0


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
