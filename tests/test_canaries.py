"""Search for a run's secrets in output, files and process lists on both machines."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.keystore import store as keystore
from tests.conftest import Done, ProjectFolder, eventually
from tests.engines.ssh_host import QUIET
from tests.support import commands
from tests.support.places import PLACES, RemoteProject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.hosts import Client, Host
    from tests.support.places import Shop

PASSWORD = "canary-pw-93b1"
VARIABLE = "canary-variable-5c07"
DECLARED = "aml_config/gpubox.runconfig"
SCRIPT = (
    "import hashlib, os, sys, time\n"
    "print('begun', hashlib.sha256(os.environ['MY_TOKEN'].encode()).hexdigest(), flush=True)\n"
    "os.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').write('x')\n"
    "while len(sys.argv) > 2 and not os.path.exists('go'):\n    time.sleep(0.02)\n"
    "sys.exit(int(sys.argv[1]))\n"
)


@pytest.fixture(autouse=True)
def _fresh_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    # A forked command does not show its own command line.
    monkeypatch.setattr(commands, "FRESH", True)


@contextlib.contextmanager
def sampled() -> Iterator[list[tuple[bytes, bytes]]]:
    """Command lines and environments of all processes, sampled repeatedly."""
    seen: set[tuple[bytes, bytes]] = set()
    stopped = threading.Event()

    def read(path: Path) -> bytes:
        with contextlib.suppress(OSError):
            return path.read_bytes()
        return b""

    def watch() -> None:
        while not stopped.wait(0.005):
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    seen.add((read(folder / "cmdline"), read(folder / "environ")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    found: list[tuple[bytes, bytes]] = []
    try:
        yield found
    finally:
        stopped.set()
        watcher.join()
        found += seen


def holding(folder: Path, secret: str) -> set[Path]:
    """The files below a folder with the secret in their content or name."""
    return {
        path
        for path in folder.rglob("*")
        if secret in str(path) or (path.is_file() and secret.encode() in path.read_bytes())
    }


def holding_there(host: Host, secret: str) -> set[str]:
    """The files of a machine with the secret, in every folder for users' files and logs."""
    found = host.ssh(f"grep -rlaF -e {secret} /home /root /tmp /var /run 2>/dev/null || :")
    return {line for line in found.splitlines() if line}


def everything(project: RemoteProject, other: ProjectFolder, host: Host) -> list[Done]:
    """Every command for a machine, with success and with failure."""
    attach = ("computetarget", "attach", "remote", "-n", "gpubox", "-a", host.address, "-u", QUIET)
    secret = project.root.parent / "password"
    told = []
    with secret.open() as given:
        told.append(project.amlexec(*attach, "--password-stdin", stdin=given))
    secret.write_text(f"{PASSWORD}-wrong\n")
    with secret.open() as given:
        told.append(project.amlexec(*attach, "--force", "--password-stdin", stdin=given))
    secret.unlink()
    project.write(
        DECLARED, f"Target: gpubox\nFramework: Python\nEnvironmentVariables:\n  MY_TOKEN: {VARIABLE}\n"
    )
    (other.configuration / "gpubox.compute").write_bytes(
        (project.configuration / "gpubox.compute").read_bytes()
    )
    submit = ("experiment", "submit", "-c", "gpubox")
    for arguments in (
        ("computetarget", "check", "gpubox"),
        ("computetarget", "show", "gpubox"),
        (*submit, "train.py", "0"),
        (*submit, "train.py", "3"),
        (*submit, "--async", "train.py", "0", VARIABLE),
    ):
        told.append(project.amlexec(*arguments))
    for name in (project, other):
        for arguments in (
            ("history", "list", "--from", "gpubox", "-o", "json"),
            ("experiment", "status", "-r", "last", "--from", "gpubox"),
            ("experiment", "cancel", "-r", "last", "--from", "gpubox", "--grace", "0"),
            ("experiment", "return", "-r", "last", "--from", "gpubox"),
            ("history", "info", "-r", "last", "-o", "json"),
        ):
            told.append(name.amlexec(*arguments))
    host.ssh("chpasswd", input=f"{QUIET}:changed\n".encode())
    told.append(project.amlexec("computetarget", "check", "gpubox"))
    return told


def test_secrets_are_only_where_they_belong(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    client.knows(host)
    host.ssh("chpasswd", input=f"{QUIET}:{PASSWORD}\n".encode())
    place = next(each for each in PLACES if each.kind == "remote")
    project = RemoteProject(tmp_path / "own/demo", shop, place, host)
    other = ProjectFolder(tmp_path / "other/demo")
    project.write("train.py", SCRIPT)
    (tmp_path / "own/password").write_text(f"{PASSWORD}\n")
    with sampled() as seen:
        told = everything(project, other, host)
    codes = [done.code for done in told]
    assert codes == [0, 2, 0, 0, 0, 1, 0, *[0] * 5, *[0] * 5, 2], [done.err for done in told if done.code]

    printed = "".join(done.out + done.err for done in told)
    assert PASSWORD not in printed
    assert VARIABLE not in printed
    commands = [command for command, _ in seen]
    assert any(b"supervisor.sh" in command for command in commands), "processes of both machines were sampled"
    assert any(b"ControlMaster" in command for command in commands)
    assert not [each for each in seen if PASSWORD.encode() in b"".join(each)]
    # The test passes it to one run as an argument, and the scripts' environment contains it.
    shown = [command for command in commands if VARIABLE.encode() in command]
    assert all(b"train.py\0" + b"0\0" + VARIABLE.encode() in command for command in shown), shown

    store = keystore.folder()
    kept = holding(tmp_path, PASSWORD) | holding(client.runtime, PASSWORD) | holding(client.home, PASSWORD)
    assert {path for path in kept if store not in path.parents} == set()
    assert kept, "the key store has it"
    own = holding(tmp_path, VARIABLE) | holding(client.runtime, VARIABLE) | holding(client.home, VARIABLE)
    # Besides the file that declares it, only snapshots of the project contain it.
    blobs = project.root / ".amlexec/snapshots.git/objects"
    assert {path for path in own if blobs not in path.parents} == {project.root / DECLARED}
    eventually(lambda: not holding_there(host, PASSWORD), "no file there has the password")
    # A copy of the project has what the project has.
    assert {name for name in holding_there(host, VARIABLE) if not name.endswith(f"/{DECLARED}")} == set()
