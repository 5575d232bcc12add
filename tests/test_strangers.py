"""A project from another person: files in its `.amlexec` are read, but never followed or trusted.

Each case creates one entry in a run's folder. Then every command that reads or ends runs is called: none
hangs, none raises, the other run is shown, and no file in the home is read, changed or removed.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import cli, file_trees
from amlexec.docker import containers
from amlexec.history import folders, record
from amlexec.history.paths import RunPaths
from tests.conftest import until_printed
from tests.support.records import RUN

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder
    from tests.support.places import Shop

SECONDS = 20
GOOD, BAD = "demo_1000", "demo_2000"
SECRET = "the secret of the home"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with files that must not be touched."""
    home = tmp_path / "home"
    (home / "outputs").mkdir(parents=True)
    for name in ("file", "outputs/model", "end"):
        (home / name).write_text(SECRET)
    monkeypatch.setenv("HOME", str(home))
    return home


def listing(folder: Path) -> dict[str, tuple[object, ...]]:
    """The entries of a folder, with contents and times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        told = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(told.st_mode) else b""
        found[str(path)] = (told.st_mode, told.st_mtime_ns, told.st_size, content)
    return found


@pytest.fixture
def stranger(project: ProjectFolder, tmp_path: Path) -> Iterator[ProjectFolder]:
    """A project with a finished run and one that claims to have a supervisor."""
    told = record.Run(**{**RUN._asdict(), "status": "Completed", "exit_code": 0})
    for run_id, status in ((GOOD, "Completed"), (BAD, "Running")):
        paths = RunPaths(project.run_folder(run_id))
        paths.control.mkdir(parents=True)
        folders.write(paths, told._replace(run_id=run_id, status=status))
        paths.stdout.write_text("hello\n")
    yield project
    # pytest can't remove folders as deep as one of these.
    for folder in (project.root, tmp_path / "copy"):
        file_trees.remove_tree(folder)


@pytest.fixture(autouse=True)
def _impatience() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"nothing may wait for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def sparse(path: Path, size: int = 3 << 30) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def ended(folder: Path, line: str = "0 1700000001") -> None:
    (folder / "control/end").write_text(f"{line}\n")


def deep(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for name in ["outputs", *["d"] * 1100]:
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def recorded(folder: Path, **changes: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def linked(name: str, to: str) -> Callable[[Path, Path], object]:
    """A link in place of a file or folder of the run."""

    def make(folder: Path, home: Path) -> None:
        place = folder / name
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        place.unlink(missing_ok=True)
        place.symlink_to(home / to if not to.startswith("/") else to)

    return make


def piped(name: str) -> Callable[[Path, Path], object]:
    """A named pipe, or another file that never ends."""

    def make(folder: Path, home: Path) -> None:
        del home
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return make


def with_end(*makers: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """The same, in the folder of a run that has ended and has to be collected."""

    def make(folder: Path, home: Path) -> None:
        ended(folder)
        for maker in makers:
            maker(folder, home)

    return make


CASES: dict[str, Callable[[Path, Path], object]] = {
    "nothing odd": with_end(),
    "run.json is a pipe": piped("run.json"),
    "run.json is a link": linked("run.json", "file"),
    "run.json is endless": linked("run.json", "/dev/zero"),
    "run.json is huge": lambda folder, _: sparse(folder / "run.json"),
    "run.json is nested": lambda folder, _: (folder / "run.json").write_text("[" * 200_000),
    "run.json names a target elsewhere": lambda folder, _: recorded(folder, target="../../../home/file"),
    "run.json has no metrics": lambda folder, _: recorded(folder, metrics=[]),
    "the run's folder is a link": lambda folder, home: (
        folder.rename(home.parent / "away"),
        folder.symlink_to(home),
    ),
    "metrics are a pipe": with_end(piped("metrics.jsonl")),
    "metrics are endless": with_end(linked("metrics.jsonl", "/dev/zero")),
    "metrics are a link": with_end(linked("metrics.jsonl", "file")),
    "metrics are a folder": with_end(lambda folder, _: (folder / "metrics.jsonl").mkdir()),
    "metrics have no line end": with_end(lambda folder, _: sparse(folder / "metrics.jsonl", 40 << 20)),
    "logs are pipes": with_end(piped("stdout.log"), piped("stderr.log")),
    "logs are endless": with_end(linked("stdout.log", "/dev/zero")),
    "logs are links": with_end(linked("stdout.log", "file"), linked("control.log", "file")),
    "the control log is made elsewhere": with_end(linked("control.log", "new")),
    "control is a link": linked("control", "."),
    "cancel is a link": linked("control/cancel", "file"),
    "cancel is made elsewhere": linked("control/cancel", "new"),
    "the lock is made elsewhere": linked("control/lock", "new"),
    "the end is a pipe": piped("control/end"),
    "the end is a link": linked("control/end", "end"),
    "the end is huge": lambda folder, _: sparse(folder / "control/end"),
    "the end is not a number": lambda folder, _: ended(folder, "0 nan"),
    "the end is too late": lambda folder, _: ended(folder, "0 1e30"),
    "the end has no such code": lambda folder, _: ended(folder, "256 1"),
    "outputs are a link": with_end(linked("outputs", "outputs")),
    "outputs are deep": with_end(lambda folder, _: deep(folder)),
    "the copy is a link": with_end(linked("project", ".")),
    "what comes is a link": with_end(linked("incoming", "."), linked("logged", ".")),
}


def typed(project: ProjectFolder, *arguments: str) -> int:
    signal.alarm(SECONDS)
    try:
        return cli.run([*arguments, "-p", str(project.root)])
    finally:
        signal.alarm(0)


@pytest.mark.parametrize("case", CASES)
def test_a_run_of_another_persons_project(
    stranger: ProjectFolder, home: Path, case: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    CASES[case](stranger.run_folder(BAD), home)
    before = listing(home)
    assert typed(stranger, "history", "list") == 0
    assert GOOD in capfd.readouterr().out
    assert typed(stranger, "history", "list", "-o", "json") == 0
    assert GOOD in capfd.readouterr().out
    for number, command in enumerate(
        [
            *(["history", "last"], ["history", "compare"], ["history", "info", "-r", BAD]),
            *(
                ["history", "info", "-r", BAD, "-a", name]
                for name in ("driver_log", "metrics.jsonl", "outputs/model")
            ),
            ["experiment", "status", "-r", BAD],
            ["history", "download", "-r", BAD, "-d", str(tmp_path / "copy")],
            ["experiment", "cancel", "-r", BAD, "--grace", "0"],
            ["experiment", "return", "-r", BAD, "--overwrite"],
            ["experiment", "clean", "--all"],
            ["history", "list"],
        ]
    ):
        assert typed(stranger, *command) in {0, 1, 2, 3}, command
        printed = capfd.readouterr()
        assert SECRET not in printed.out + printed.err, (number, command)
    assert listing(home) == before
    for path in (tmp_path / "copy").rglob("*"):
        assert path.is_symlink() or path.is_dir() or SECRET not in path.read_text(errors="replace"), path
    if case == "nothing odd":
        assert folders.read(RunPaths(stranger.run_folder(BAD))).status == "Completed"


@pytest.mark.parametrize("name", ["ssh_", "-x_1", "a b_1", "é_1", "notes"])
def test_an_invalid_run_id_is_one_warning(
    stranger: ProjectFolder, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (stranger.run_folder(BAD)).rename(stranger.run_folder(name))
    recorded(stranger.run_folder(name), run_id=name)
    assert typed(stranger, "history", "list") == 0
    printed = capfd.readouterr()
    assert GOOD in printed.out
    assert "not a run id" in printed.out + printed.err
    assert typed(stranger, "experiment", "cancel", "-r", name) == 3


@pytest.mark.parametrize("name", [".amlexec", ".amlexec/runs"])
def test_a_link_to_other_runs_is_not_followed(
    stranger: ProjectFolder, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (stranger.root / name).rename(tmp_path / "elsewhere")
    (stranger.root / name).symlink_to(tmp_path / "elsewhere")
    before = listing(tmp_path / "elsewhere")
    for command in (
        ["history", "list"],
        ["experiment", "clean", "--all"],
        ["experiment", "cancel", "-r", BAD],
    ):
        assert typed(stranger, *command) == 2
        assert "this is a link" in capfd.readouterr().err
    assert listing(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "folder"])
@pytest.mark.parametrize(
    "name",
    [
        *("aml_config/local.compute", "aml_config/local.runconfig", "aml_config/conda_dependencies.yml"),
        *("requirements.txt", "aml_config/conda_dependencies.lock.yml", ".amlexec/cache/interpreters.json"),
    ],
)
def test_special_files_in_the_project(
    project: ProjectFolder, name: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    project.write("train.py", "print(1)\n")
    project.write("aml_config/docker.compute", "type: docker\nbaseDockerImage: debian:bookworm-slim\n")
    project.write(
        "aml_config/docker.runconfig",
        "Target: docker\nFramework: Python\nCondaDependenciesFile: aml_config/conda_dependencies.yml\n",
    )
    text = "dependencies:\n  - python=3.11\n  - pip:\n      - -r ../requirements.txt\n"
    project.write("aml_config/conda_dependencies.yml", text)
    project.write("requirements.txt", "six\n")
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        sparse(path)
    else:
        path.mkdir()
    for command in (
        ["computetarget", "list"],
        ["runconfiguration", "list"],
        ["computetarget", "show", "-n", "local"],
        ["lock", "-c", "docker", "--check"],
        ["experiment", "prepare", "-c", "local", "--check"],
        ["history", "list"],
    ):
        assert typed(project, *command) in {0, 1, 2, 3}, command
    signal.alarm(SECONDS)
    assert cli.run(
        ["lint", str(project.root / "aml_config/docker.runconfig"), *([str(path)] if "aml" in name else [])]
    ) in {0, 3}
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that no run has started, in its own process group."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    yield process
    process.kill()
    process.communicate()


def named(process: int) -> str:
    """The process in the format of control files."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{process} {fields[19]}/{boot}"


def test_a_process_that_belongs_to_no_run_is_left_alone(
    stranger: ProjectFolder, bystander: subprocess.Popen[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    control = stranger.run_folder(BAD) / "control"
    (control / "script").write_text(f"{named(bystander.pid)} 1700000000\n")
    (control / "supervisor").write_text(f"{named(bystander.pid)} x\n")
    signal.alarm(0)
    code = cli.run(["experiment", "cancel", "-r", BAD, "--grace", "0", "-p", str(stranger.root)])
    assert code == 2, capfd.readouterr()
    assert bystander.poll() is None
    capfd.readouterr()


def test_a_container_that_belongs_to_no_run_is_left_alone(
    stranger: ProjectFolder, shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = {"amlexec-test": shop.session, "amlexec.run": BAD, "amlexec.project.folder": "/somewhere/else"}
    settings = {"Image": shop.base, "Entrypoint": ["sleep", "1000"], "Labels": labels}
    running, over = (containers.create(shop.engine, settings) for _ in range(2))
    try:
        containers.start(shop.engine, running)
        for container, says in (
            (running, "not this run's"),
            (over, "not this run's"),
            ("../info?x=", ""),
            ("é", ""),
        ):
            folder = stranger.run_folder(BAD)
            recorded(folder, status="Running", target="docker", target_kind="docker")
            (folder / "control/container").write_text(container)
            for command in (
                ["history", "list"],
                ["experiment", "cancel", "-r", BAD, "--grace", "0"],
                ["experiment", "clean", "--all"],
            ):
                assert typed(stranger, *command) in {0, 1, 2}
                assert says in capfd.readouterr().err
        told = containers.inspect(shop.engine, running)
        assert told is not None
        assert told["State"]["Running"]
        assert containers.inspect(shop.engine, over) is not None
    finally:
        for container in (running, over):
            containers.remove(shop.engine, container, force=True)


def test_a_script_that_cleared_its_environment_still_belongs_to_its_run(project: ProjectFolder) -> None:
    project.write(
        "train.py", "import os\nprint(1, flush=True)\nos.execve('/bin/sleep', ['sleep', '1000'], {})\n"
    )
    run_id = project.submit("--async", "train.py").run_id
    log = project.run_folder(run_id) / "stdout.log"
    until_printed(log, b"1\n")
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0")
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] == "Canceled"
