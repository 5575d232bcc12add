"""What every test has: a clean environment, projects of its own, and the two doors as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.engines import places
from tests.engines.fixtures import *  # noqa: F403
from tests.support import (
    commands,
    profiles,  # noqa: F401 - `--hypothesis-profile` has to know them
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# A machine that keeps no bytecode would compile amlexec again for each of the thousands of processes here.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
commands.remember_environment()

# A suite that was started in the background of a shell has these ignored, and so would every run in it.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)

PATIENCE = 120.0
"""Seconds. A test that waits for something longer than this has failed."""

SCRIPTS = str(Path(sys.executable).parent)


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        """The id that the command printed."""
        return next(line.split()[1] for line in self.out.splitlines() if line.startswith("RunId: "))


class ProjectFolder:
    """A project in a folder of its own, and both doors to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.configuration = root / "aml_config"
        self.configuration.mkdir(parents=True)
        self.write("aml_config/local.compute", "type: local\n")
        self.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
        self.write("dodo.py", "from amlexec.tasks import *  # noqa: F403\n")

    def write(self, name: str, text: str | bytes) -> Path:
        """A file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program in the project's folder; amlexec's and doit's are forked where possible."""
        options.setdefault("cwd", self.root)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return self._forked(arguments, **options) or self._fresh(arguments, options)

    def _fresh(self, arguments: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        options.setdefault("cwd", self.root)
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(arguments, **options)

    def _forked(
        self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path, **streams: Any
    ) -> subprocess.Popen[bytes] | None:
        """Fork a command; None if that would not be the same."""
        environment = os.environ if env is None else env
        is_known = tuple(arguments[:2]) == (sys.executable, "-m") and arguments[2] in ("amlexec", "doit")
        if not is_known or streams.keys() != {"stdout", "stderr"} or not commands.can_fork(environment):
            return None
        return commands.ForkedCommand(arguments[2], arguments[3:], cwd, environment, **streams)

    def call(self, *arguments: str, **options: Any) -> Done:
        """Run a program in the project's folder to its end, never forked; `input` is its standard input."""
        given = options.pop("input", None)
        if given is not None:
            options["stdin"] = subprocess.PIPE
        process = self._fresh(arguments, options)
        out, err = process.communicate(given, timeout=PATIENCE)
        return _done(process.returncode, out, err)

    def amlexec(self, *arguments: str, **options: Any) -> Done:
        """Run `amlexec`."""
        return self._command("amlexec", arguments, options)

    def doit(self, *arguments: str, **options: Any) -> Done:
        """Run `doit`."""
        return self._command("doit", arguments, options)

    def _command(self, module: str, arguments: tuple[str, ...], options: dict[str, Any]) -> Done:
        environment = options.get("env", os.environ)
        if options.keys() <= {"env", "cwd", "input"} and commands.can_fork(environment):
            folder, given = options.get("cwd", self.root), options.get("input")
            return _done(*commands.run_forked(module, arguments, folder, environment, PATIENCE, given))
        return self.call(sys.executable, "-m", module, *arguments, **options)

    def submit(self, *arguments: str, **options: Any) -> Done:
        """Run `amlexec experiment submit -c local`."""
        return self.amlexec("experiment", "submit", "-c", "local", *arguments, **options)

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.root / ".amlexec" / "runs" / run_id

    def record(self, run_id: str) -> dict[str, Any]:
        """What run.json says."""
        found: dict[str, Any] = json.loads((self.run_folder(run_id) / "run.json").read_text())
        return found

    def run_ids(self) -> list[str]:
        """The runs there are."""
        folder = self.root / ".amlexec" / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _done(code: int, out: bytes | None, err: bytes | None) -> Done:
    printed = ((piece or b"").decode(errors="backslashreplace") for piece in (out, err))
    return Done(code, *printed)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    ours = {"AMLEXEC_REQUIRE", "AMLEXEC_TEST_ENGINE", "AMLEXEC_TEST_STATE"}
    if places.is_ci():  # the commands are those of a user at a terminal
        monkeypatch.setenv("AMLEXEC_REQUIRE", places.ALL)
        monkeypatch.delenv("CI")
    for name in list(os.environ):
        if name.startswith(("AMLEXEC_", "AZUREML_", "GIT_", "DOIT_")) and name not in ours:
            monkeypatch.delenv(name)
    # readline, which pytest imports, tells children how wide it thinks the terminal is, past `os.environ`.
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, "")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONUNBUFFERED", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("PATH", f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    """A project with a local target, in a folder named `demo`."""
    return ProjectFolder(tmp_path / "demo")


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[[str], ProjectFolder]:
    """Make a project in a folder of that name."""
    return lambda name: ProjectFolder(tmp_path / name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 4 MB on it."""
    if not (sys.platform == "linux" and os.geteuid() == 0):
        if places.is_required("mount"):
            pytest.fail("only root may mount a small file system, and nothing may be skipped here")
        pytest.skip("only root may mount a small file system: run the suite as root in a container")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def until_begun(process: subprocess.Popen[bytes]) -> None:
    """Read what a submit prints until the script has begun."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == b"begun\n":
            return
    assert process.stderr is not None
    raise AssertionError(process.stderr.read().decode())


def eventually(true: Callable[[], bool], what: str, pause: float = 0.02) -> None:
    """Wait until something is so. `pause` is in seconds: longer where each look is a command."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, f"not within {PATIENCE:g} s: {what}"
        time.sleep(pause)


def until_printed(path: Path, text: bytes) -> None:
    """Wait until a file, which need not exist yet, contains a text."""
    eventually(lambda: path.exists() and text in path.read_bytes(), f"{text!r} in {path}")


from tests.support.distribution import (  # noqa: E402, F401 - hooks
    pytest_collection,
    pytest_collection_finish,
    pytest_collection_modifyitems,
)
from tests.support.engine_hosts import engine_host, engine_host_of_session, new_engine_host  # noqa: E402, F401 - likewise
from tests.support.hosts import (  # noqa: E402 - likewise
    client,  # noqa: F401
    host,  # noqa: F401
    host_of_session,  # noqa: F401
    new_host,  # noqa: F401
    spark_head,  # noqa: F401
    spark_head_of_session,  # noqa: F401
    ssh_image,  # noqa: F401
)
from tests.support.kerberos import secure, secure_of_module, secure_project  # noqa: E402, F401 - likewise
from tests.support.kubernetes_place import fleet, fleet_of_session, in_fleet  # noqa: E402, F401 - likewise
from tests.support.places import shop, shop_of_session, spark_base  # noqa: E402, F401 - it is made of what is above
from tests.support.service_place import published, service, service_of_session  # noqa: E402, F401 - likewise
from tests.support.slurm import lab, program, slurm_head, slurm_head_of_session, slurm_image  # noqa: E402, F401 - likewise
from tests.support.wires import new_wire  # noqa: E402, F401 - likewise
from tests.support.yarn import (  # noqa: E402 - likewise
    hadoop_parts,  # noqa: F401
    storage,  # noqa: F401
    yarn,  # noqa: F401
    yarn_of_module,  # noqa: F401
    yarn_project,  # noqa: F401
)
