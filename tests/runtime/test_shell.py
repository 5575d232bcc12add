"""What travels into a run: who is of it and how that is ended, and when a script gets its environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.history import find, order
from amlexec.runtime import HERE
from amlexec.targets.answers import read_state
from amlexec.targets.script_environment import handed, is_plain
from tests.conftest import PATIENCE, ProjectFolder, eventually, until_printed
from tests.support.places import alive

if TYPE_CHECKING:
    from collections.abc import Callable

DETACHED = """\
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 5; done", "TOKEN-far"]
        subprocess.Popen(stubborn, start_new_session=True)
        os.execvp("sh", ["sh", "-c", "while :; do sleep 5; done", "TOKEN-near"])
    os._exit(0)
bare = ["sh", "-c", "while :; do sleep 5; done", "TOKEN-bare"]
bare = subprocess.Popen(bare, start_new_session=True, env={})
print("begun", flush=True)
if "wait" in sys.argv:
    time.sleep(600)
bare.terminate()
"""


def token_of(project: ProjectFolder) -> str:
    token = f"token-{os.getpid()}-{time.monotonic_ns()}"
    project.write("train.py", DETACHED.replace("TOKEN", token))
    return token


def begun(project: ProjectFolder, run_id: str) -> Path:
    folder = project.run_folder(run_id)
    until_printed(folder / "stdout.log", b"\n")
    return folder


def test_what_has_left_its_session_ends_with_the_script(project: ProjectFolder) -> None:
    token = token_of(project)
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert not alive(token)
    assert (
        "stopping what the script left running"
        in (project.run_folder(done.run_id) / "control.log").read_text()
    )


HEIR = """
import os, time
print(flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
if os.fork():
    os._exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("since", ["", "first_pid=$before"])
@pytest.mark.parametrize("program", ["dash", "bash"])
def test_one_that_hands_over_while_it_is_looked_at(program: str, since: str, tmp_path: Path) -> None:
    """It starts another process and ends, after the processes were listed and before it was looked at."""
    programs = tmp_path / "programs"
    programs.mkdir()
    real = shutil.which("grep")
    (programs / "grep").write_text(
        f"#!/bin/sh\nif [ ! -e {tmp_path}/go ]; then\n: >{tmp_path}/go\n"
        f'while kill -0 $HEIR; do sleep 0.01; done\nfi\nexec {real} "$@"\n'
    )
    (programs / "grep").chmod(0o755)
    told = {"AMLEXEC_RUN_ID": "r_1", "AMLEXEC_RUN_FOLDER": str(tmp_path / "r_1")}
    before = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-c", HEIR], env=told, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    try:
        carriers = _carriers(program, tmp_path / "r_1", f"before={before}; {since}", programs, process.pid)
        assert len(carriers) == 1
        assert carriers != [process.pid]
        assert os.getpgid(carriers[0]) == process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        reaper.join()


def _carriers(program: str, folder: Path, before: str, programs: Path, heir: int) -> list[int]:
    """The processes that carry the run."""
    text = "".join((HERE / name).read_text("utf-8") for name in ("identity.sh", "belonging.sh"))
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [program, "-c", f'{text}\n{before}\ncarrying AMLEXEC_RUN_ID {folder}\necho "$carriers"'],
        env={"PATH": path, "HEIR": str(heir)},
        capture_output=True,
        timeout=PATIENCE,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("program", ["dash", "bash"])
def test_one_that_executes_a_program_while_it_is_looked_at(program: str, tmp_path: Path) -> None:
    """Linux shows neither a command line nor an environment of it for a moment."""
    programs, folder = tmp_path / "programs", tmp_path / "r_1"
    programs.mkdir()
    real, grep = shutil.which("sleep"), shutil.which("grep")
    (programs / "sleep").write_text(
        f"#!/bin/sh\n: >{tmp_path}/go\n"
        f'until {grep} -q . /proc/$HEIR/environ; do {real} 0.01; done\nexec {real} "$@"\n'
    )
    (programs / "sleep").chmod(0o755)
    (tmp_path / "commands").write_text(
        f"while [ ! -e {tmp_path}/go ]; do {real} 0.01; done\n"
        f"exec env AMLEXEC_RUN_ID=r_1 AMLEXEC_RUN_FOLDER={folder} {real} 600\n"
    )
    with (tmp_path / "commands").open() as commands:
        process = subprocess.Popen([""], executable="/bin/sh", env={}, stdin=commands)
    try:
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
        assert _carriers(program, folder, "", programs, process.pid) == [process.pid]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stopped", ["nothing", "supervisor", "script", "both"])
def test_cancel_ends_what_has_left_its_session_also_where_somebody_stopped_it(
    project: ProjectFolder, stopped: str
) -> None:
    token = token_of(project)
    run_id = project.submit("--async", "train.py", "wait").run_id
    control = begun(project, run_id) / "control"
    for name in ("supervisor", "script"):
        if stopped in {name, "both"}:
            os.kill(int((control / name).read_text().split()[0]), signal.SIGSTOP)
    before = time.monotonic()
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1")
    assert done.code == 0, done.err
    assert f"{run_id}  Canceled" in done.out
    assert time.monotonic() - before < 15, "nothing is waited for that was stopped"
    assert not alive(token)


def test_a_run_that_a_script_submits_is_not_what_it_has_left(project: ProjectFolder) -> None:
    project.write("inner.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    project.write(
        "train.py",
        "import os, subprocess, sys\n"
        f"os.chdir({str(project.root)!r})\n"
        "subprocess.run([sys.executable, '-m', 'amlexec', 'experiment', 'submit', '-c', 'local', '--async',"
        " 'inner.py'], check=True)\n",
    )
    outer = project.submit("train.py").run_id
    (inner,) = set(project.run_ids()) - {outer}
    begun(project, inner)
    assert "Running" in project.amlexec("experiment", "status", "-r", inner).out
    assert project.amlexec("experiment", "cancel", "-r", inner, "--grace", "0").code == 0


def test_only_what_is_known_is_said_where_the_supervisor_was_killed(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import os, time\nprint('x', flush=True)\nwhile not os.path.exists('go'):\n time.sleep(0.02)\n",
    )
    run_id = project.submit("--async", "train.py").run_id
    folder = begun(project, run_id)
    os.kill(int((folder / "control/supervisor").read_text().split()[0]), signal.SIGKILL)
    assert "Running" in project.amlexec("experiment", "status", "-r", run_id).out
    (folder / "project/go").touch()
    eventually(lambda: "Lost" in project.amlexec("experiment", "status", "-r", run_id).out, "it ends")
    assert project.record(run_id)["reason"] == "its supervisor ended first: how the script ended is not known"


STRANGE = {
    "PATH": "/opt/tools:$PATH",
    "LD_PRELOAD": "/nowhere/lib.so",
    "LD_LIBRARY_PATH": "/nowhere",
    "ENV": "/nowhere/env",
    "BASH_ENV": "/nowhere/env",
    "IFS": "/a-z",
    "PS4": "$(touch /tmp/never)",
    "SHELLOPTS": "noexec",
    "UID": "x",
    "OPTIND": "x",
    "CDPATH": "/tmp",
    "HOME": "/nowhere",
    "TMPDIR": "/nowhere",
    "DOCKER_HOST": "tcp://nowhere",
    "folder": "/nowhere",
    "here": "/nowhere",
    "text": "x",
    "number": "7",
    "EMPTY": "",
    "PRICE": "$5 `id` 'it' \"s\" \\n\nprü 🎈",
}
"""What decides how programs are started, and names that shells and our own scripts use."""
TELL = "import json, os\nprint(json.dumps({name: os.environ.get(name) for name in NAMES}))\n"


def test_variables_of_a_script_do_not_change_how_it_is_started(project: ProjectFolder) -> None:
    project.write("train.py", f"NAMES = {[*STRANGE, 'AMBIENT', 'now', 'AMLEXEC_SET_0']}\n{TELL}")
    lines = "".join(
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in STRANGE.items()
    )
    project.write(
        "aml_config/local.runconfig", f"Target: local\nFramework: Python\nEnvironmentVariables:\n{lines}"
    )
    done = project.submit("train.py", env={**os.environ, "AMBIENT": "of here", "now": "then"})
    assert done.code == 0, done.err
    said = json.loads((project.run_folder(done.run_id) / "stdout.log").read_text())
    assert said == {**STRANGE, "AMBIENT": "of here", "now": "then", "AMLEXEC_SET_0": None}


def test_a_large_environment_is_handed_over_in_pieces() -> None:
    large = {"ONE": "é'" * 50_000, "TWO": "x"}
    found = handed(large, "python3")
    assert len(found.variables) > 2
    assert all(len(os.fsencode(value)) < 1 << 17 for value in found.variables.values())
    assert found.before == ()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("A_1", True),
        ("PATH", True),
        ("UID", False),
        ("PWD", False),
        ("BASH_ENV", True),
        ("a.b", False),
        ("1A", False),
        ("_", False),
    ],
)
def test_names_that_a_shell_can_not_be_trusted_with(name: str, plain: bool) -> None:
    assert is_plain(name) is plain


@pytest.mark.parametrize(
    ("said", "began", "now"),
    [("running 5.5", 5.5, None), ("running 5.5 9.25", 5.5, 9.25)],
)
def test_a_running_run_says_what_time_it_is_there(said: str, began: float, now: float | None) -> None:
    state = read_state(said, "", "there")
    assert (state.began, state.now) == (began, now)


@pytest.mark.parametrize(("end", "said"), [("", "running 12.5 "), ("0 13.5\n", "ended 0 12.5 13.5 1\n")])
def test_a_run_that_begins_while_it_is_asked_about(tmp_path: Path, end: str, said: str) -> None:
    """What it has begun, and that it was canceled, is read after whether it has ended."""
    control = tmp_path / "control"
    control.mkdir()
    os.mkfifo(control / "end")  # to read it waits until it is opened here
    asked = subprocess.Popen(["sh", HERE / "state.sh", tmp_path], stdout=subprocess.PIPE, text=True)
    with (control / "end").open("w") as file:
        identify = f'. "{HERE}/identity.sh"; identify {os.getpid()}; echo "$identity"'
        identity = subprocess.check_output(["sh", "-c", identify], text=True).strip()
        (control / "script").write_text(f"{os.getpid()} {identity} 12.5\n")
        (control / "cancel").touch()
        file.write(end)
    told, _ = asked.communicate(timeout=PATIENCE)
    assert told.startswith(said)
    assert read_state(told, "", "here").began == 12.5


def test_last_is_the_run_that_was_submitted_last(
    project: ProjectFolder, new_project: Callable[[str], ProjectFolder]
) -> None:
    project.write("train.py", "print('x')\n")
    first = project.submit("train.py").run_id
    name, _, number = first.rpartition("_")
    # Submitted while the clock was ahead, before the clock was set back; and brought from elsewhere.
    ahead, brought = (f"{name}_{int(number) + hours * 3_600_000}" for hours in (1, 2))
    parent = project.root / ".amlexec/runs"
    for run_id in (ahead, brought):
        (parent / run_id / "control").mkdir(parents=True)
        (parent / run_id / "run.json").write_text(json.dumps({**project.record(first), "run_id": run_id}))
    (parent / brought / "control/returned").touch()
    found = config.find_project(str(project.root))
    order.note(found, ahead)
    second = project.submit("train.py").run_id
    assert find.find(found, "last").folder.name == second
    (project.root / ".amlexec/submitted").unlink()
    assert find.find(found, "last").folder.name == ahead, "by the ids, where nothing else tells"


@pytest.mark.parametrize("program", ["dash", "bash"])
def test_a_log_that_is_removed_while_it_is_read(program: str, tmp_path: Path) -> None:
    """Another computer has collected the run: what was announced is sent all the same."""
    base, programs = tmp_path / ".amlexec", tmp_path / "programs"
    control = base / "runs/r_1/control"
    control.mkdir(parents=True)
    (base / "runtime").mkdir()
    (base / "runtime/x").symlink_to(HERE)
    (control / "runtime").write_text("x\n")
    (control / "script").write_text("1 1 10.5\n")
    (control / "end").write_text("0 11.5\n")
    log = control.parent / "stdout.log"
    log.write_text("begun\ndone\n")
    counted = shutil.which("wc")
    programs.mkdir()
    (programs / "wc").write_text(f'#!/bin/sh\n{counted} "$@"\nrm -f {log}\n')
    (programs / "wc").chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    text = "".join((HERE / name).read_text("utf-8") for name in ("identity.sh", "host.sh"))
    command = [program, "-c", f"{text}\nfollow r_1 6 0\n"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENCE)
    assert not log.exists()
    assert (done.stdout, done.stderr) == (b"1 5\ndone\nS ended 0 10.5 11.5 0\n", b"")


QUIET_TURNS = """
case $(grep -c sleep $started) in
20) echo late >>$folder/stderr.log ;;
40) echo 3 11.5 >$folder/control/end ;;
esac
"""


@pytest.mark.parametrize("program", ["dash", "bash"])
def test_following_a_quiet_run_starts_few_processes(program: str, tmp_path: Path) -> None:
    """Which matters on a machine that many share: after 2 s, a second is ten turns, of two processes each."""
    # Time passes without waiting: after 20 turns there is output, and after 40 the end.
    said, names = _followed(program, tmp_path, "sleep", QUIET_TURNS)
    assert said == b"2 5\nlate\nS ended 3 10.5 11.5 0\n"
    assert names.count("sleep") == 40
    assert names.count("wc") <= 41 + 4
    assert names.count("sh") <= 6


BUSY_TURNS = """
echo more >>$folder/stdout.log
[ $(grep -c wc $started) -lt 120 ] || echo 3 11.5 >$folder/control/end
"""


@pytest.mark.parametrize("program", ["dash", "bash"])
def test_a_run_that_prints_on_and_on_is_not_asked_all_the_time(program: str, tmp_path: Path) -> None:
    _, names = _followed(program, tmp_path, "wc", BUSY_TURNS)
    assert names.count("sleep") >= names.count("head") - 4 > 20


def _followed(program: str, tmp_path: Path, each: str, then: str) -> tuple[bytes, list[str]]:
    """What `follow` prints, and the processes that it starts; with each of some, `then` is executed."""
    base, programs = tmp_path / ".amlexec", tmp_path / "programs"
    control = base / "runs/r_1/control"
    control.mkdir(parents=True)
    programs.mkdir()
    (base / "runtime").mkdir()
    (base / "runtime/x").symlink_to(HERE)
    (control / "runtime").write_text("x\n")
    for name in ("stdout.log", "stderr.log"):
        (control.parent / name).write_text("")
    started = tmp_path / "started"
    real = {name: shutil.which(name) for name in ("wc", "date", "sh", "tail", "head")}
    for name, path in [*real.items(), ("sleep", "true")]:
        known = f"#!{real['sh']}\nstarted={started} folder={control.parent}\necho {name} >>$started\n"
        last = f'exec {path} "$@"\n'
        (programs / name).write_text(f"{known}{then if name == each else ''}{last}")
    for one in programs.iterdir():
        one.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    text = "".join((HERE / name).read_text("utf-8") for name in ("identity.sh", "host.sh"))
    # The command of the run is this shell.
    running = f'identify $$; echo "$$ $identity 10.5" >{control}/script\n'
    command = [program, "-c", f"{text}\n{running}follow r_1 0 0\n"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=PATIENCE)
    assert done.stderr == b""
    return done.stdout, started.read_text().split()
