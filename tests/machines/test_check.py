"""`amlexec computetarget check`: the script, the findings, and real machines with real faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.keystore import store as keystore
from amlexec.machines.check_results import FAILED, OK, WARNING, Facts, Finding, facts_of, judge
from amlexec.packages import platforms
from amlexec.runtime import shell
from amlexec.ssh.connection import SSHConnection
from amlexec.ssh.login import login_of
from amlexec.values import ComputeTarget, Place
from tests.conftest import PATIENCE, eventually
from tests.support.hosts import PASSWORD, QUIET, SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Done, ProjectFolder
    from tests.support.engine_hosts import EngineHost
    from tests.support.hosts import Client, Host

HOME_MB = 5 << 10
GOOD = {
    "SYSTEM": "Linux",
    "MACHINE": "x86_64",
    "RELEASE": "Debian GNU/Linux 12 (bookworm)",
    "USER": "ada",
    "LOGIN_SHELL": "/bin/zsh",
    "LIBC": "glibc 2.36",
    "TAR": "yes",
    "HOME": "/home/ada",
    "HOME_WRITABLE": "yes",
    "HOME_PROGRAMS": "yes",
    "HOME_FREE": str(HOME_MB << 10),
    "PYTHON": "3.11.2 /usr/bin/python3",
    "SPARK": "/opt/spark/bin/spark-submit",
    "GZIP": "yes",
    "SOCKET": "/var/run/docker.sock",
    "THERE": "yes",
    "ACCESS": "yes",
    "LISTENS": "yes",
    "INSTALLED": "yes",
    "DOCKER_FREE": str(HOME_MB << 10),
    "END": "yes",
}


def box(kind: str = "remote", **fields: str | bool) -> ComputeTarget:
    """A compute target in `aml_config/box.compute`."""
    managed = {"user_managed_environment": kind == "remote"}
    target = ComputeTarget("box", kind, Place("aml_config/box.compute"), "h", "ada")
    return target._replace(**{**managed, **fields})  # type: ignore[arg-type]


def facts(clock: float = 0.0, **changes: str | None) -> Facts:
    """The facts of a machine without problems, with these changes; None leaves a line out."""
    values = {key: (value,) for key, value in {**GOOD, **changes}.items() if value is not None}
    return Facts(values, clock)


def found(target: ComputeTarget, asked: Facts, check: str) -> Finding:
    """The finding of one check."""
    return next(each for each in judge(target, asked) if each.check == check)


# ---------------------------------------------------------------- findings


@pytest.mark.parametrize("kind", ["remote", "remotedocker", "cluster"])
def test_a_machine_without_problems_is_ok(kind: str) -> None:
    answers = judge(box(kind), facts())
    assert {each.status for each in answers} == {OK}
    assert not any(each.hint for each in answers)


@pytest.mark.parametrize(
    ("kind", "changes", "check", "status", "message", "hint"),
    [
        ("remote", {"SYSTEM": "Darwin", "RELEASE": None}, "system", FAILED, "it is Darwin, x86_64", "Linux"),
        ("remote", {"MISSING": "setsid cp"}, "POSIX shell", FAILED, "missing: setsid, cp", "install"),
        (
            "remote",
            {"HOME_WRITABLE": None, "HOME_ERROR": "sh: 1: cannot create /home/ada/x: Read-only file system"},
            "home folder",
            FAILED,
            "/home/ada: read-only file system",
            "~/.amlexec",
        ),
        (
            "remote",
            {"HOME_WRITABLE": None, "HOME": None, "HOME_FREE": None, "HOME_ERROR": "HOME is not set"},
            "home folder",
            FAILED,
            "the home folder: HOME is not set",
            "home folder",
        ),
        ("remote", {"HOME_FREE": "50"}, "home folder", FAILED, "only 0 MB free", "make room"),
        (
            "remote",
            {"HOME_FREE": "0", "HOME_WRITABLE": None, "HOME_ERROR": "sh: 1: printf: I/O error"},
            "home folder",
            FAILED,
            "/home/ada has only 0 MB free",
            "make room",
        ),
        (
            "remote",
            {"HOME_FREE": "0", "HOME_WRITABLE": None, "HOME_ERROR": "x: Permission denied"},
            "home folder",
            FAILED,
            "/home/ada: permission denied",
            "~/.amlexec",
        ),
        ("remote", {"HOME_FREE": "1000000"}, "home folder", WARNING, "977 MB free", "make room"),
        ("remote", {"HOME_FREE": None}, "home folder", OK, "/home/ada", ""),
        (
            "remote",
            {"PYTHON": None, "OTHER_PYTHON": "/usr/bin/python3"},
            "Python",
            FAILED,
            "pythonLocation is 'python', but there is no such program",
            "write pythonLocation: /usr/bin/python3 into aml_config/box.compute",
        ),
        ("remote", {"PYTHON": None}, "Python", FAILED, "no such program", "install Python there"),
        ("remote", {"PYTHON": "2.7.18 /usr/bin/python"}, "Python", FAILED, "is Python 2.7.18", "set python"),
        (
            "remote",
            {"PYTHON": None, "PYTHON_ERROR": "/opt/python Illegal instruction."},
            "Python",
            FAILED,
            "/opt/python does not work as a Python: Illegal instruction",
            "set python",
        ),
        ("remote", {"TAR": None}, "tar", FAILED, "files can't be sent", "install tar"),
        ("remote", {"GPU_ERROR": "NVIDIA-SMI has failed."}, "GPU", WARNING, "NVIDIA-SMI has failed", "works"),
        ("cluster", {"SPARK": None}, "Spark", FAILED, "does not find spark-submit", "sparkSubmitLocation"),
        (
            "remotedocker",
            {"INSTALLED": None, "SOCKET": None, "THERE": None, "ACCESS": None},
            "Docker",
            FAILED,
            "has no Docker engine",
            "install Docker Engine",
        ),
        (
            "remotedocker",
            {"SOCKET": None, "THERE": None, "ACCESS": None},
            "Docker",
            FAILED,
            "the machine's Docker engine is not running",
            "systemctl",
        ),
        (
            "remotedocker",
            {"SOCKET": None, "THERE": None, "ACCESS": None, "ELSEWHERE": "tcp://10.0.0.4:2376"},
            "Docker",
            FAILED,
            "names tcp://10.0.0.4:2376, which is not a local socket",
            "attach the machine that the engine runs on",
        ),
        (
            "remotedocker",
            {"ACCESS": None, "DOCKER_SUDO": "24.0.7"},
            "Docker",
            FAILED,
            "only `sudo docker` works (version 24.0.7): ada has no permission for /var/run/docker.sock",
            "sudo usermod -aG docker ada",
        ),
        (
            "remotedocker",
            {"ACCESS": None},
            "Docker",
            FAILED,
            "ada has no permission to use the Docker engine's socket /var/run/docker.sock",
            "a user with sudo runs there: sudo usermod -aG docker ada",
        ),
        (
            "remotedocker",
            {"DOCKER_FREE": "50"},
            "Docker's disk",
            FAILED,
            "only 0 MB free",
            "docker system df",
        ),
        ("remotedocker", {"DOCKER_FREE": "1000000"}, "Docker's disk", WARNING, "977 MB", "make room"),
    ],
)
def test_each_problem_has_a_reason_and_a_fix(
    kind: str, changes: dict[str, str | None], check: str, status: str, message: str, hint: str
) -> None:
    answer = found(box(kind), facts(**changes), check)
    assert answer.status == status
    assert message in answer.message
    assert hint in answer.hint
    others = [each for each in judge(box(kind), facts(**changes)) if each.check != check]
    assert {each.status for each in others} == {OK}


def test_a_prepared_environment_needs_glibc_and_executable_programs_in_the_home_folder() -> None:
    managed = box(user_managed_environment=False)
    assert found(managed, facts(), "environments").status == OK
    assert "no glibc" in found(managed, facts(LIBC=None), "environments").message
    assert "noexec" in found(managed, facts(HOME_PROGRAMS=None), "environments").hint
    assert "no gzip" in found(managed, facts(GZIP=None), "environments").message
    for changes, said in (
        ({"MACHINE": "aarch64"}, "Linux on aarch64"),
        ({"LIBC": "glibc 2.17"}, "glibc 2.17"),
    ):
        for kind in ("remote", "cluster"):
            answer = found(box(kind, user_managed_environment=False), facts(**changes), "environments")
            assert (answer.status, said in answer.message) == (FAILED, True)
            # The same message as prepare.
            known = {"system": "Linux", "machine": "x86_64", "libc": "glibc 2.36", "programs": "yes"}
            known |= {key.lower(): value for key, value in changes.items()}
            assert (answer.message, answer.hint) == platforms.misfit(known, platforms.DEFAULT)
        assert {each.status for each in judge(box(), facts(**changes))} == {OK}, (
            "the user's own Python has no limits"
        )
    assert not [each for each in judge(managed, facts(PYTHON=None)) if each.check == "Python"]


def test_gpus_are_counted() -> None:
    asked = facts()
    asked.values["GPU"] = ("NVIDIA A100", "NVIDIA A100", "NVIDIA T4")
    assert found(box(), asked, "GPU").message == "2 x NVIDIA A100, 1 x NVIDIA T4"


@pytest.mark.parametrize(
    ("there", "status", "said"),
    [
        (1000, OK, "the same as on this computer"),
        (1004, OK, "the same as on this computer"),
        (1034, OK, "30 s off"),
        (8204, WARNING, "2.0 h ahead of this computer's"),
        (100, WARNING, "15 min behind this computer's"),
    ],
)
def test_the_clock_is_compared_with_the_duration_of_the_request_as_tolerance(
    there: int, status: str, said: str
) -> None:
    answer = found(box(), Facts(facts().values, facts_of(f"CLOCK {there}\n", 1000.9, 1004.1).clock), "clock")
    assert answer.status == status
    assert said in answer.message


# ---------------------------------------------------------------- the script


def asked(*arguments: str, sh: str = "sh", **environment: str) -> dict[str, tuple[str, ...]]:
    """The output of `check.sh` on this machine, with that environment."""
    done = subprocess.run(
        [sh, shell("check"), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    return facts_of(done.stdout, 0, 0).values


@pytest.mark.parametrize("sh", ["sh", "bash", "dash"])
def test_the_script_on_this_machine(sh: str, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    answers = asked("engine", "python3", "spark-submit", sh=sh, HOME=str(home))
    assert answers["SYSTEM"] == (os.uname().sysname,)
    assert abs(int(answers["CLOCK"][0]) - time.time()) < PATIENCE
    assert set(answers["HOME"]) == {str(home)}
    assert answers["HOME_WRITABLE"] == ("yes",)
    assert int(answers["HOME_FREE"][0]) == pytest.approx(shutil.disk_usage(home).free >> 10, rel=0.1)
    assert answers["PYTHON"][0].startswith("3.")
    assert "MISSING" not in answers
    assert answers["END"] == ("yes",)
    assert list(home.iterdir()) == []


def test_the_script_on_standard_input(tmp_path: Path) -> None:
    with Path(shell("check")).open("rb") as script:
        done = subprocess.run(
            ["sh", "-s", "", "python3"], stdin=script, capture_output=True, timeout=PATIENCE, check=True
        )
    assert b"\nEND yes\n" in done.stdout


def test_a_missing_home_folder(tmp_path: Path) -> None:
    answers = asked("", HOME=str(tmp_path / "gone"))
    assert answers["HOME_ERROR"] == ("there is no such folder",)
    assert "HOME_WRITABLE" not in answers


def test_a_full_home_folder(small_disk: Path) -> None:
    with (small_disk / "filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    answers = asked("", HOME=str(small_disk))
    assert "HOME_WRITABLE" not in answers
    assert answers["HOME_FREE"] == ("0",)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filling"]


def test_a_home_folder_that_is_read_only_or_noexec(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,noexec", str(small_disk)], check=True)
    answers = asked("", HOME=str(small_disk))
    assert answers["HOME_WRITABLE"] == ("yes",)
    assert "HOME_PROGRAMS" not in answers
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answers = asked("", HOME=str(small_disk))
    assert "Read-only file system" in answers["HOME_ERROR"][0]


def programs(folder: Path, **texts: str) -> str:
    """A PATH with these scripts before the usual programs."""
    folder.mkdir()
    for name, text in texts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_a_python_that_does_not_work(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", python="echo 'no\nsuch thing' >&2; exit 3")
    answers = asked("", "python", PATH=path)
    assert answers["PYTHON_ERROR"] == (f"{tmp_path}/bin/python no such thing",)
    assert "PYTHON" not in answers


def test_a_python_in_the_home_folder(tmp_path: Path) -> None:
    link = Path(os.environ["HOME"], "my env/bin/python")
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    version = ".".join(str(number) for number in sys.version_info[:3])
    assert asked("", "~/my env/bin/python")["PYTHON"] == (f"{version} {link}",)


def test_another_python_is_suggested(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", python3="echo 3.9.1")
    answers = asked("", "python9", PATH=path)
    assert "PYTHON" not in answers
    assert answers["OTHER_PYTHON"][0] == f"{tmp_path}/bin/python3"
    only = tmp_path / "only"
    only.mkdir()
    for name in ("sh", "id", "uname", "date", "df", "sed", "tr", "printf", "cat", "rm", "chmod"):
        (only / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    (only / "python3").symlink_to(tmp_path / "bin/python3")
    assert asked("", "python", PATH=str(only))["PYTHON"] == (f"3.9.1 {only}/python3",)
    assert "TAR" not in asked("", PATH=str(only))
    assert "mkdir" in asked("", PATH=str(only))["MISSING"][0]


def test_gpus(tmp_path: Path) -> None:
    says = "echo 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1)'; echo 'GPU 1: NVIDIA T4 (UUID: GPU-2)'"
    path = programs(tmp_path / "bin", nvidia_smi=says)
    assert asked("", PATH=path)["GPU"] == ("NVIDIA A100-SXM4-80GB", "NVIDIA T4")
    path = programs(tmp_path / "other", nvidia_smi="echo 'NVIDIA-SMI has failed'; exit 9")
    assert asked("", PATH=path)["GPU_ERROR"] == ("NVIDIA-SMI has failed",)


# ---------------------------------------------------------------- targets of this machine


def check(project: ProjectFolder, name: str) -> tuple[Done, dict[str, dict[str, str]]]:
    """Run `check -o json`; the results by check."""
    done = project.amlexec("computetarget", "check", name, "-o", "json")
    report = json.loads(done.out)
    assert report["name"] == name
    assert report["ok"] == (done.code == 0)
    return done, {each["check"]: each for each in report["checks"]}


def test_a_local_target(project: ProjectFolder) -> None:
    done, answers = check(project, "local")
    assert done.code == 0
    assert list(answers) == ["project folder", "git", "Python"]
    project.write("aml_config/local.compute", "type: local\npythonLocation: /nowhere/python\n")
    done, answers = check(project, "local")
    assert done.code == 2
    assert answers["Python"]["status"] == "failed"
    assert "'/nowhere/python'" in answers["Python"]["message"]
    assert done.err == "local can't be used as it is: 1 of 3 checks failed\n"


def test_a_docker_target(project: ProjectFolder, engine: object) -> None:
    project.write("aml_config/docker.compute", "type: docker\n")
    done, answers = check(project, "docker")
    assert done.code == 0
    assert "linux" in answers["Docker"]["message"]
    project.write("aml_config/docker.compute", "type: docker\nnvidiaDocker: true\n")
    done, answers = check(project, "docker")
    assert answers["GPUs in Docker"]["status"] == ("ok" if done.code == 0 else "failed")


def test_a_docker_target_without_an_engine(project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    project.write("aml_config/docker.compute", "type: docker\n")
    done, answers = check(project, "docker")
    assert done.code == 2
    assert answers["Docker"]["status"] == "failed"
    assert answers["Docker"]["message"] == "no engine answers at unix:///nowhere/docker.sock"


def test_a_cloud_service(project: ProjectFolder) -> None:
    project.write("aml_config/batch.compute", "type: batchai\n")
    done = project.amlexec("computetarget", "check", "batch")
    assert done.code == 3
    assert "there is nothing to check" in done.err


# ---------------------------------------------------------------- real machines


def remote(
    project: ProjectFolder, host: Host, *lines: str, kind: str = "remote", user: str = QUIET, key: str = ""
) -> None:
    """Write a target for a test host that knows its key."""
    text = [f"type: {kind}", f"address: {host.address}", f"username: {user}"]
    text += [f"privateKey: {key or host.key}"] if key != "none" else []
    text += ["userManagedEnvironment: true", "pythonLocation: python3"] if kind == "remote" else []
    project.write("aml_config/box.compute", "\n".join([*text, *lines]) + "\n")


def test_a_real_machine_without_problems(project: ProjectFolder, client: Client, host: Host) -> None:
    client.knows(host)
    remote(project, host)
    done, answers = check(project, "box")
    assert done.code == 0, done.out
    assert list(answers) == [
        *("name resolution", "SSH", "host key", "login", "system", "POSIX shell"),
        *("home folder", "clock", "Python", "GPU", "tar"),
    ]
    assert answers["login"]["message"] == QUIET
    assert answers["clock"]["message"] == "the same as on this computer"
    assert "/usr/bin/python3" in answers["Python"]["message"]
    assert done.err == ""
    # OpenSSH says that it ends the connection before it removes the socket.
    eventually(lambda: client.sockets() == [], "the connection is not shared, and ends with the command")
    assert host.ssh("ls -A ~ | grep amlexec-check || :", QUIET) == ""


@pytest.mark.parametrize("user", SHELLS)
def test_any_login_shell(project: ProjectFolder, client: Client, host: Host, user: str) -> None:
    client.knows(host)
    remote(project, host, user=user)
    done, answers = check(project, "box")
    assert done.code == 0, done.out
    assert user in answers["POSIX shell"]["message"]


def test_the_table_has_a_line_for_each_check(project: ProjectFolder, client: Client, host: Host) -> None:
    client.knows(host)
    remote(project, host, kind="remotedocker")
    done = project.amlexec("computetarget", "check", "box.compute")
    assert done.code == 2
    lines = done.out.splitlines()
    assert lines[0] == "name resolution  ok      127.0.0.1"
    at = next(number for number, line in enumerate(lines) if line.startswith("Docker"))
    assert lines[at] == "Docker           failed  the machine has no Docker engine"
    assert lines[at + 1].strip().startswith("hint: install Docker Engine there")


@pytest.mark.parametrize(
    ("address", "check_", "said"),
    [
        ("nowhere.invalid", "name resolution", "nowhere.invalid"),
        ("127.0.0.1:1", "SSH", "refused"),
    ],
)
def test_an_unreachable_machine(
    project: ProjectFolder, client: Client, address: str, check_: str, said: str
) -> None:
    project.write("aml_config/box.compute", f"type: remote\naddress: {address}\nusername: ada\n")
    done, answers = check(project, "box")
    assert done.code == 2
    assert list(answers)[-1] == check_
    assert answers[check_]["status"] == "failed"
    assert said in answers[check_]["message"]


def test_a_machine_that_does_not_answer(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host()
    client.knows(machine)
    remote(project, machine)
    machine.pause()
    done, answers = check(project, "box")
    assert done.code == 2
    assert answers["SSH"]["status"] == "failed"
    assert list(answers) == ["name resolution", "SSH"]


def test_an_unknown_host_key(project: ProjectFolder, client: Client, host: Host) -> None:
    remote(project, host)
    done, answers = check(project, "box")
    assert done.code == 2
    assert list(answers) == ["name resolution", "SSH", "host key"]
    assert "its host key is not known" in answers["host key"]["message"]


def test_the_check_does_not_reuse_an_open_connection(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    host = new_host()
    client.knows(host)
    remote(project, host, f"password: {keystore.put(PASSWORD)}", key="none")
    assert check(project, "box")[0].code == 0
    login = login_of(config.load_target(config.find_project(project.root), "box"))
    with SSHConnection(login) as connection:
        assert connection.run("echo in").stdout == "in\n"
        host.ssh("chpasswd", input=f"{QUIET}:another\n".encode())
        done, answers = check(project, "box")
        assert (done.code, answers["login"]["status"]) == (2, "failed")
        host.configure_sshd("cd /etc/ssh && rm host_key && ssh-keygen -q -t ed25519 -N '' -f host_key")
        done, answers = check(project, "box")
        assert (done.code, answers["host key"]["status"]) == (2, "failed")
        assert connection.run("echo in").stdout == "in\n", "the shared connection stays open"


@pytest.mark.parametrize(("line", "said"), [("password: canary", "the password"), ("", "available keys")])
def test_a_refused_login(project: ProjectFolder, client: Client, host: Host, line: str, said: str) -> None:
    client.knows(host)
    remote(project, host, line, key="none")
    done, answers = check(project, "box")
    assert done.code == 2
    assert list(answers) == ["name resolution", "SSH", "host key", "login"]
    assert said in answers["login"]["message"]
    assert "canary" not in done.out + done.err


def test_a_plain_password_works(project: ProjectFolder, client: Client, host: Host) -> None:
    client.knows(host)
    remote(project, host, f"password: {json.dumps(PASSWORD)}", key="none")
    done, _ = check(project, "box")
    assert done.code == 0, done.out
    assert PASSWORD not in done.out + done.err


def test_a_machine_behind_a_jump_host(project: ProjectFolder, client: Client, host: Host) -> None:
    client.knows(host)
    client.configure(
        "door", "HostName 127.0.0.1", f"Port {host.port}", f"User {QUIET}", f"IdentityFile {host.key}"
    )
    client.configure("inside", "HostName 127.0.0.1", f"Port {host.port}", "ProxyJump door")
    project.write(
        "aml_config/box.compute",
        f"type: remote\naddress: inside\nusername: {QUIET}\nprivateKey: {host.key}\n"
        "userManagedEnvironment: true\npythonLocation: python3\n",
    )
    done, answers = check(project, "box")
    assert done.code == 0, done.out
    assert answers["name resolution"]["message"] == "127.0.0.1, via door"


def test_a_machine_without_a_home_folder(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host()
    client.knows(machine)
    remote(project, machine)
    machine.ssh(f"usermod --home /gone {QUIET}")
    done, answers = check(project, "box")
    assert done.code == 2
    assert answers["home folder"]["status"] == "failed"
    assert "there is no such folder" in answers["home folder"]["message"]


def test_docker_over_the_same_connection(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host(Binds=["/var/run/docker.sock:/var/run/docker.sock"])
    client.knows(machine)
    remote(project, machine, kind="remotedocker", user="root")
    done, answers = check(project, "box")
    assert done.code == 0, done.out
    assert answers["Docker"]["status"] == "ok"
    assert "linux" in answers["Docker"]["message"]
    # Another user has no permission, with or without sudo.
    client.hang_up()
    remote(project, machine, kind="remotedocker")
    done, answers = check(project, "box")
    assert done.code == 2
    assert f"{QUIET} has no permission to use the Docker engine's socket" in answers["Docker"]["message"]
    machine.ssh(
        f"echo '{QUIET} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/test;"
        "printf '#!/bin/sh\\n[ \"$(id -u)\" = 0 ] && echo 24.0.7\\n' >/usr/bin/docker;"
        "chmod 755 /usr/bin/docker"
    )
    done, answers = check(project, "box")
    assert "only `sudo docker` works (version 24.0.7)" in answers["Docker"]["message"]
    assert f"sudo usermod -aG docker {QUIET}" in answers["Docker"]["hint"]


def test_a_stopped_engine(project: ProjectFolder, client: Client, new_host: Callable[..., Host]) -> None:
    machine = new_host()
    client.knows(machine)
    remote(project, machine, kind="remotedocker", user="root")
    # Its socket remains, but nothing listens on it.
    machine.ssh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/var/run/docker.sock\")'")
    done, answers = check(project, "box")
    assert done.code == 2
    assert answers["Docker"]["status"] == "failed"
    # The container shares this machine's network, so whether something listens there can't be observed.
    assert (
        "the machine's Docker engine does not answer on its socket /var/run/docker.sock"
        in answers["Docker"]["message"]
    )
    assert "docker info" in answers["Docker"]["hint"]


# ---------------------------------------------------------------- check and prepare print the same message


@pytest.fixture
def beside(project: ProjectFolder, engine_host: EngineHost) -> ProjectFolder:
    """A project with a target on a machine with an engine, without an environment."""
    remote(project, engine_host, kind="remotedocker")
    project.write("aml_config/box.runconfig", "Target: box\nFramework: Python\n")
    project.write("aml_config/conda_dependencies.yml", "dependencies: [python=3.11]\n")
    return project


def agree(project: ProjectFolder, client: Client, words: str) -> None:
    """Assert that check and prepare refuse a machine with the same message."""
    done, answers = check(project, "box")
    assert done.code == 2, done.out
    assert words in answers["Docker"]["message"]
    client.hang_up()
    prepared = project.amlexec("experiment", "prepare", "-c", "box", "--check")
    assert prepared.code == 2
    assert answers["Docker"]["message"] in prepared.err
    assert answers["Docker"]["hint"] in prepared.err
    client.hang_up()


def test_an_engine_named_by_a_context_or_a_profile_alone(
    beside: ProjectFolder, client: Client, engine_host: EngineHost
) -> None:
    meta = '{"Name":"own","Endpoints":{"docker":{"Host":"unix:///run/own.sock"}}}'
    engine_host.ssh("mv /var/run/docker.sock /run/own.sock")
    try:
        agree(beside, client, "Docker engine is not running")
        engine_host.ssh("echo export DOCKER_HOST=unix:///run/own.sock >>~/.profile", QUIET)
        done, answers = check(beside, "box")
        assert (done.code, answers["Docker"]["status"]) == (0, "ok"), done.out
        engine_host.ssh("sed -i /DOCKER_HOST/d ~/.profile", QUIET)
        engine_host.ssh(
            f"mkdir -p ~/.docker/contexts/meta/x; echo '{meta}' >~/.docker/contexts/meta/x/meta.json;"
            'echo \'{"currentContext": "own"}\' >~/.docker/config.json',
            QUIET,
        )
        done, answers = check(beside, "box")
        assert (done.code, answers["Docker"]["status"]) == (0, "ok"), done.out
        engine_host.ssh(
            "sed -i s,unix:///run/own.sock,tcp://10.0.0.4:2376, ~/.docker/contexts/meta/x/meta.json", QUIET
        )
        agree(beside, client, "names tcp://10.0.0.4:2376, which is not a local socket")
    finally:
        engine_host.ssh("rm -rf ~/.docker; sed -i /DOCKER_HOST/d ~/.profile", QUIET)
        engine_host.ssh("mv /run/own.sock /var/run/docker.sock")


@pytest.mark.parametrize("how", ["AllowStreamLocalForwarding no", "DisableForwarding yes"])
def test_an_sshd_that_forbids_forwarding(
    beside: ProjectFolder, client: Client, engine_host: EngineHost, how: str
) -> None:
    engine_host.configure_sshd(f"sed -i '1i {how}' /etc/ssh/sshd_config")
    try:
        agree(
            beside,
            client,
            "the machine's Docker engine does not answer on its socket /var/run/docker.sock",
        )
    finally:
        client.hang_up()
        engine_host.configure_sshd(f"sed -i '/^{how}$/d' /etc/ssh/sshd_config")
