"""`history report --live`: current while runs go on, and closed to everybody else."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest

from amlexec.history import tags
from amlexec.history.paths import RunPaths
from amlexec.report import live_runs
from amlexec.values import Project
from tests.conftest import PATIENCE, ProjectFolder
from tests.support import event_files
from tests.support.sample_runs import add_run, tuning

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.report.conftest import Report
    from tests.support.browser import Browser


class Live(NamedTuple):
    """A server that runs."""

    folder: ProjectFolder
    process: subprocess.Popen[bytes]
    address: str

    @property
    def path(self) -> str:
        """`/TOKEN/`."""
        return urlsplit(self.address).path

    @property
    def port(self) -> int:
        """Its port."""
        return urlsplit(self.address).port or 0

    def ask(self, path: str = "", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """Its answer, read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path or self.path, headers=named)
        answer = connection.getresponse()
        answer.content = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer


@contextlib.contextmanager
def serving(folder: ProjectFolder, *arguments: str) -> Iterator[Live]:
    """A server, which is ended in the end."""
    process = folder.start(sys.executable, "-m", "amlexec", "history", "report", "--live", *arguments)
    with process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/[\w-]{32}/", address)
            yield Live(folder, process, address)
        finally:
            process.kill()


def stop(live: Live) -> tuple[int, str]:
    """Press Ctrl-C; the exit code and the messages."""
    live.process.send_signal(signal.SIGINT)
    _, err = live.process.communicate(timeout=PATIENCE)
    return live.process.returncode, err.decode()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with six runs."""
    folder = ProjectFolder(tmp_path_factory.mktemp("live") / "digits")
    tuning(Project(str(folder.root)), 6, 2, 20)
    with serving(folder, "--port", str(free_port())) as found:
        yield found
        code, err = stop(found)
    assert code == 0
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_only_its_own_page_is_answered(live: Live) -> None:
    own = f"http://127.0.0.1:{live.port}"
    assert live.ask(Origin=own).status == 200
    assert live.ask(Host=f"localhost:{live.port}").status == 200
    assert live.ask(Host=f"evil.example:{live.port}").status == 403
    assert live.ask(Host="127.0.0.1").status == 403
    assert live.ask(Origin="https://evil.example").status == 403
    assert live.ask(Origin="null").status == 403
    assert live.ask(Sec_Fetch_Site="cross-site").status == 403
    assert live.ask("/").status == 404
    assert live.ask("/wrong/runs").status == 404
    assert live.ask(f"{live.path}../../etc/passwd").status == 404
    assert live.ask(f"{live.path}curves/..%2f..%2frun.json").status == 404
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        assert live.ask(method=method).status == 405
    with socket.create_connection(("127.0.0.1", live.port)) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b" 200 " not in raw.recv(100)
    assert live.ask().status == 200


def test_answers_have_the_headers_that_keep_them_in(live: Live) -> None:
    headers = live.ask().headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert headers["Content-Security-Policy"].endswith("connect-src 'self'; frame-ancestors 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_thousand_polls_leave_nothing_open(live: Live) -> None:
    tag = live.ask(f"{live.path}runs").headers["ETag"]

    def opened() -> int:
        return len(list(Path(f"/proc/{live.process.pid}/fd").iterdir()))

    before = opened()
    for _ in range(1000):
        answer = live.ask(f"{live.path}runs", If_None_Match=tag)
        assert answer.status == 304
    assert opened() <= before + 1


def test_a_taken_port_gives_another_one(live: Live, report: Report) -> None:
    with serving(report.folder, "--port", str(live.port)) as other:
        assert other.port != live.port
        assert other.path != live.path
        code, err = stop(other)
    assert code == 0
    assert f"warning: port {live.port}: address already in use; another one is used" in err


def test_only_given_runs_are_served(report: Report) -> None:
    first, second = add_run(report.state, 0), add_run(report.state, 1)
    with serving(report.folder, first.folder.name, "--port", str(free_port())) as live:
        answer = json.loads(live.ask(f"{live.path}runs").content)  # type: ignore[attr-defined]
        assert [run["id"] for run in answer["runs"]] == [first.folder.name]
        assert live.ask(f"{live.path}details/{first.folder.name}").status == 200
        assert live.ask(f"{live.path}details/{second.folder.name}").status == 404
        assert stop(live)[0] == 0


def test_the_page_follows_a_run_to_its_end(report: Report, browser: Browser) -> None:
    folder = report.folder
    go = folder.root.parent / "go"
    folder.write(
        "train.py",
        f"""
import os, time
from amlexec.run import log
for step in range(3):
    log("loss", 3 - step, step=step)
print("waiting", flush=True)
while not os.path.exists({str(go)!r}):
    time.sleep(0.05)
log("loss", 0, step=3)
print("done", flush=True)
""",
    )
    add_run(report.state, 0)
    with serving(folder, "--port", str(free_port())) as live, browser.page(live.address) as page:
        page.until("document.querySelectorAll('.runs tbody tr').length === 1")
        run_id = folder.submit("--async", "train.py").run_id
        page.until("document.querySelectorAll('.runs tbody tr').length === 2")
        row = f"document.querySelector(\"[data-key='open {run_id}']\").closest('tr').innerText"
        page.until(f"{row}.includes('Running')")
        page.until(f"/\\t1$/.test({row}.trim())")
        page.run(f"document.querySelector(\"[data-key='open {run_id}']\").click()")
        page.until("document.querySelector('.sheet').innerText.includes('waiting')")
        go.touch()
        page.until(f"{row}.includes('Completed')")
        page.until(f"/\\t0$/.test({row}.trim())")
        page.until("document.querySelector('.sheet').innerText.includes('Completed')")
        page.press("Escape", code=27)
        page.run(f"document.querySelector(\"[data-key='choose {run_id}']\").click()")
        page.click("#view-curves")
        page.until("document.querySelector('.legend .value')?.innerText === '0'")
        tags.change(RunPaths(Path(folder.run_folder(run_id))), {"best": "yes"})
        page.click("#view-runs")
        page.until(f"{row}.includes('yes')")
        assert page.problems() == []
        assert {urlsplit(address).netloc for address in page.requests()} == {f"127.0.0.1:{live.port}"}
        assert stop(live)[0] == 0
        page.until("document.querySelector('#live').innerText === 'connection lost'")


def test_values_of_other_loggers_reach_the_page_while_a_run_goes_on(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_INTERVAL_S", "_READING"):
        monkeypatch.setattr(live_runs, name, 0)
    paths = add_run(report.state, 0, status="Running", end_time_utc=None, exit_code=None)
    runs = live_runs.LiveRuns(report.state, [], 10)
    first = runs.runs()
    assert runs.runs() == first
    events = paths.checkout / "outputs/events.out.tfevents.1"
    events.parent.mkdir(parents=True)
    event_files.write(events, event_files.scalar("loss", 0, 0.5))
    tag, content = runs.runs()
    assert tag != first[0]
    (row,) = json.loads(content)["runs"]
    assert row["metrics"] == {"loss": [0.5, 0.5, 0.5, 1]}
    assert runs.runs() == (tag, content)


def test_wrong_options_say_so(report: Report) -> None:
    for arguments, said in (
        (("--live", "--port", "0"), "--port 0: a port is a number from 1 to 65535"),
        (("--live", "-o", "x.html"), "--live serves the page: it writes no file"),
        (("--port", "80"), "--port needs --live"),
        (("--last", "0"), "'0' is not a number of runs"),
        (("nothing",), "there is no run 'nothing'"),
        (("-o", "."), ". is a folder"),
    ):
        done = report.folder.amlexec("history", "report", *arguments)
        assert done.code == 3
        assert said in done.err
