"""New bytes of a running run's metrics, from the real verb of a machine and from a folder."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest

from amlexec.docker.client import Engine
from amlexec.docker.forward import SSHTransport
from amlexec.history.paths import RunPaths
from amlexec.runtime import HERE
from amlexec.ssh.connection import SSHConnection
from amlexec.ssh.login import Login
from amlexec.targets import live_metrics
from amlexec.targets.ssh_volumes import SSHVolumes
from amlexec.values import Project

RUN = "project_1521077190506"


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    folder = tmp_path / "here" / RUN
    folder.mkdir(parents=True)
    return RunPaths(folder)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The metrics on the machine."""
    path = tmp_path / "home/.amlexec/runs" / RUN / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    return path


class Machine:
    """Calls the verb as a machine's shell does, and counts the calls."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.calls = 0
        self.sent = 0

    def ask(self, start: str) -> str:
        self.calls += 1
        text = "".join((HERE / name).read_text() for name in ("identity.sh", "host.sh"))
        command = ["sh", "-c", f'{text}\necho "running 1 2"\nmetrics "$@"', "sh", RUN, start]
        done = subprocess.run(command, env={"HOME": str(self._home), "PATH": "/usr/bin:/bin"}, stdout=-1)
        assert done.returncode == 0
        self.sent = len(done.stdout)
        return done.stdout.decode(errors="replace")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home")


def test_a_full_disk_while_they_are_brought(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread of its own: it says nothing, and the state is read all the same."""
    paths.control.mkdir()
    (paths.control / "staged").touch()
    connection = SSHConnection(Login("box", "127.0.0.1"))
    transport = SSHTransport(connection)
    volumes = SSHVolumes(Project(str(paths.folder)), connection, transport, Engine(transport))

    def fail(_: RunPaths) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(volumes._host, "bring_metrics", fail)
    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    with volumes.bringing_metrics(paths):
        pass
    assert said == []


def test_only_new_bytes_are_sent_with_the_state(paths: RunPaths, there: Path, machine: Machine) -> None:
    assert live_metrics.taken(paths, machine.ask) == "running 1 2\n"
    assert not paths.metrics.exists()
    content = ""
    for number in range(3):
        content += f'{{"name":"\u00fc","value":{number}}}\n' * 1000
        there.write_text(content)
        calls = machine.calls
        assert live_metrics.taken(paths, machine.ask) == "running 1 2\n"
        assert machine.calls == calls + 1
        assert machine.sent < len(content.encode()) / (number + 1) + 100
        assert paths.metrics.read_text() == content
    live_metrics.taken(paths, machine.ask)
    assert machine.sent < 40


def test_a_large_file_is_sent_in_parts(paths: RunPaths, there: Path, machine: Machine) -> None:
    line = '{"name":"x","value":1}\n'
    there.write_text(line * (40_000_000 // len(line)))
    live_metrics.taken(paths, machine.ask)
    assert machine.calls == 3
    assert paths.metrics.read_bytes() == there.read_bytes()


def test_a_file_that_was_replaced_is_read_anew(paths: RunPaths, there: Path, machine: Machine) -> None:
    there.write_text("old and long\n")
    live_metrics.taken(paths, machine.ask)
    there.write_text("new\n")
    for _ in range(2):
        live_metrics.taken(paths, machine.ask)
    assert paths.metrics.read_text() == "new\n"


@pytest.mark.parametrize(
    "answer",
    [
        "running 1 2\nM 10 10\ncut off",
        "running 1 2\nM 4 4\na\N{REPLACEMENT CHARACTER}",  # of bytes that are not text
        "running 1 2\nM 3\nabc",
        "running 1 2\nM 99999999999999999999 3\nabc",
        "running 1 2\n",
    ],
)
def test_an_answer_that_is_not_whole_changes_nothing(paths: RunPaths, answer: str) -> None:
    paths.metrics.write_text("")
    assert live_metrics.taken(paths, lambda _: answer).startswith("running 1 2\n")
    assert paths.metrics.read_text() == ""


def test_a_link_in_its_place_is_not_written_through(
    paths: RunPaths, there: Path, machine: Machine, tmp_path: Path
) -> None:
    there.write_text("x" * 100)
    paths.metrics.symlink_to(tmp_path / "elsewhere")
    live_metrics.taken(paths, machine.ask)
    live_metrics.copied(paths, there.parent)
    assert not (tmp_path / "elsewhere").exists()


def test_from_a_folder_of_this_machine(paths: RunPaths, there: Path) -> None:
    live_metrics.copied(paths, there.parent)
    for text in ("a\n", "a\nb\n", "c\n"):
        there.write_text(text)
        live_metrics.copied(paths, there.parent)
        assert paths.metrics.read_text() == text
