"""Machines to log in to: containers with an sshd on a free port of the loopback, and a home to use them from.

Nothing of the developer's own `~/.ssh`, agent or key store is read or written: `ssh` is started through a
script that gives it the configuration of a home that belongs to the test.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import archives, containers
from amlexec.errors import TargetError
from amlexec.ssh.connection import SSHConnection
from amlexec.ssh.login import Login
from tests.conftest import PATIENCE, eventually
from tests.engines import fast_java, ssh_host
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET, SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed

__all__ = [
    "Client",
    "Host",
    "SparkHead",
    "client",
    "host",
    "host_of_session",
    "new_host",
    "spark_cluster",
    "spark_head",
    "spark_head_of_session",
    "ssh_image",
]

PASSWORD = "s3cret $pw 'é"
"""The password of every user: with a blank, a quote, a dollar and a letter that is not ASCII."""
_HASHED = "$6$amlexec$iMq/7AzTZjkx3unhv2/StMl58pjcj7ZHwwF6Wn12GW2FBxLkBckdyyxBrAcI3ckBvU55LgMeTWm2KOHCjfPqu1"
"""PASSWORD as crypt(3) writes it: to hash it anew for every user is most of what a machine's start takes."""
ASKED = "asked"
"""A user who has only keyboard-interactive authentication."""

_CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host_key
PidFile /run/sshd.pid
AuthorizedKeysFile /etc/ssh/authorized_keys .ssh/authorized_keys
StrictModes no
UsePAM yes
UseDNS no
# The default since OpenSSH 9.0 takes a client 60 ms of CPU per connection instead of 10.
KexAlgorithms curve25519-sha256
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100:30:200
AcceptEnv LANG LC_*
Match User asked
  PasswordAuthentication no
  KbdInteractiveAuthentication yes
"""
_PAM = """\
auth required pam_unix.so nodelay
account required pam_unix.so
password required pam_unix.so
session required pam_permit.so
"""
_START = """\
set -e
mkdir -p /run/sshd
id asked >/dev/null 2>&1 || useradd --create-home --shell /bin/bash asked
chpasswd --encrypted </etc/ssh/passwords
# Where it is in two programs, it refuses who was refused before for a while.
[ ! -e /usr/lib/openssh/sshd-session ] || set -- -o PerSourcePenalties=no
exec /usr/sbin/sshd -D -e "$@"
"""
RELOAD_SSHD = """\
pid=$(cat /run/sshd.pid)
rm /run/sshd.pid
kill -HUP $pid
until [ -s /run/sshd.pid ]; do sleep 0.02; done
"""
"""Let sshd read its configuration again, and wait: it refuses connections until it has written that file."""


class Host:
    """A machine of our own. `kill` is a crash, `pause` a hang, `start` after `kill` a restart."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.name = f"amlexec-test-host-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = _new_key(folder / "id")
        """File of a private key that every user, and root, lets in."""
        self._host_key = _new_key(folder / "host_key")
        self.port = 0
        self._paused = False
        self._control = Path(tempfile.mkdtemp(prefix="axh-", dir="/tmp"), "s")
        """The socket of root's connection, which all looks share: a login costs more than a look."""

    @property
    def address(self) -> str:
        """`host:port`, as a `.compute` file has it."""
        return f"127.0.0.1:{self.port}"

    @property
    def host_key(self) -> str:
        """Type and key, as in a known_hosts file."""
        return " ".join(self._host_key.with_suffix(".pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` of its host key, as `ssh-keygen` says."""
        command = ["ssh-keygen", "-lf", str(self._host_key.with_suffix(".pub"))]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with its host key as it is now."""
        path = self.folder / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        return path

    def login(self, user: str = QUIET, **changes: str) -> Login:
        """How a user logs in with the key; what is different."""
        login = Login(
            alias="gpubox",
            host="127.0.0.1",
            user=user,
            port=self.port,
            private_key=str(self.key),
            known_hosts=str(self.known_hosts),
        )
        return login._replace(**changes)  # type: ignore[arg-type]

    def connection(self, user: str = QUIET, **changes: str) -> SSHConnection:
        """A connection of the product's."""
        return SSHConnection(self.login(user, **changes))

    def ssh(
        self,
        script: str,
        user: str = "root",
        *,
        input: bytes = b"",  # noqa: A002 - as subprocess calls it
        patience: float = PATIENCE,
    ) -> str:
        """What a script prints there: plain OpenSSH, not the product. Fails where the script fails."""
        command = ["ssh", *self.options(), *self._shared(user), "-l", user, "127.0.0.1"]
        command.append(f"exec sh -c {shlex.quote(script)}")
        done = subprocess.run(command, input=input, capture_output=True, timeout=patience)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace")

    def until(self, condition: str, *, pause: float = 0.05) -> None:
        """Wait until a shell condition is true there. A look from here costs more than many there."""
        loop = f"until {{ {condition}; }} >/dev/null 2>&1; do sleep {pause:g}; done"
        late = f"{{ echo 'not within {PATIENCE:g} s:' {shlex.quote(condition)} >&2; exit 1; }}"
        self.ssh(f"timeout {PATIENCE:g} sh -c {shlex.quote(loop)} || {late}", patience=PATIENCE + 30)

    def hang_up(self) -> None:
        """End root's connection, if there is one."""
        if self._control.exists():
            _hang_up(self._control)

    def disconnect(self) -> None:
        """End root's connection for good."""
        self.hang_up()
        shutil.rmtree(self._control.parent, ignore_errors=True)

    def _shared(self, user: str) -> list[str]:
        """Options for a connection that is there already. Other users' processes are what tests end."""
        if user != "root":
            return []
        if not self._control.exists():
            command = ["ssh", *self.options(), "-f", "-N", "-M", "-S", str(self._control), "-l", user]
            nothing = subprocess.DEVNULL
            subprocess.run([*command, "127.0.0.1"], stdin=nothing, stdout=nothing, stderr=nothing, check=True)
        return ["-S", str(self._control)]

    def options(self) -> list[str]:
        """What plain `ssh` has to know to reach it."""
        return [
            *("-F", "none", "-i", str(self.key), "-p", str(self.port)),
            *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
        ]

    def create(self, *, of: str = ssh_host.REFERENCE, **settings: object) -> None:
        """Make the container and start it, on a port that nobody has."""
        for attempt in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            host = {"NetworkMode": "host", "Init": True, **settings}
            wanted = {
                "Image": of,
                "Hostname": self.name,
                "Cmd": ["sh", "/etc/ssh/start"],
                "HostConfig": host,
            }
            containers.create(self.engine, wanted, name=self.name)
            self._put()
            containers.start(self.engine, self.name)
            if self._answers(2.0 * (attempt + 1)):
                return
            containers.remove(self.engine, self.name, force=True)  # another process was faster
        pytest.fail(f"{self.name} does not come up")

    def remove(self) -> None:
        """Remove the container, whatever its state."""
        self.unpause()
        self.disconnect()
        containers.remove(self.engine, self.name, force=True)

    def pause(self) -> None:
        """Let it hang: it keeps its connections and says nothing."""
        with self.engine.asked() as api:
            api.pause(self.name)
        self._paused = True

    def unpause(self) -> None:
        """Let it go on."""
        if self._paused:
            with self.engine.asked() as api:
                api.unpause(self.name)
            self._paused = False

    def kill(self) -> None:
        """Let it crash: everything that runs there is gone at once."""
        self.hang_up()
        containers.kill(self.engine, self.name)
        containers.wait(self.engine, self.name, timeout=PATIENCE)

    def start(self) -> None:
        """Start it again; its disk is as it was."""
        containers.start(self.engine, self.name)
        assert self._answers(PATIENCE), f"{self.name} does not come up"

    def new_host_key(self) -> None:
        """Give it another host key, as a machine that was set up anew has."""
        for path in (self._host_key, self._host_key.with_suffix(".pub")):
            path.unlink()
        _new_key(self._host_key)
        self.kill()
        self._put()
        self.start()

    def configure_sshd(self, script: str) -> None:
        """Change what its sshd is configured by, and wait until it listens with that."""
        self.ssh(f"{script}\n{RELOAD_SSHD}")

    def _put(self) -> None:
        users = [*SHELLS, QUIET, ASKED]
        files = {
            "host_key": (self._host_key.read_bytes(), 0o600),
            "authorized_keys": (self.key.with_suffix(".pub").read_bytes(), 0o644),
            "sshd_config": (_CONFIGURATION.format(port=self.port).encode(), 0o644),
            "passwords": ("".join(f"{user}:{_HASHED}\n" for user in users).encode(), 0o600),
            "start": (_START.encode(), 0o755),
            "../pam.d/sshd": (_PAM.encode(), 0o644),
        }
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            for name, (data, mode) in files.items():
                member = tarfile.TarInfo(os.path.normpath(f"ssh/{name}"))
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
        archives.put(self.engine, self.name, "/etc", held.getvalue())

    def _answers(self, seconds: float) -> bool:
        """Whether an SSH server says hello within this time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as tried:
                if tried.recv(4) == b"SSH-":
                    return True
            time.sleep(0.02)
        return False


class SparkHead(Host):
    """The head node of a Spark cluster, with a master of Spark's own and two workers, all on one machine."""

    master_port = 0

    @property
    def master(self) -> str:
        """The master's address."""
        return f"spark://127.0.0.1:{self.master_port}"

    def mount(self, parts: Installed) -> None:
        """Start the machine with Spark and Java on it."""
        self.create(Binds=[f"{parts.home()}:{fast_java.SPARK}:ro", *fast_java.binds()])
        told = {
            "JAVA_HOME": fast_java.home(),
            "SPARK_HOME": fast_java.SPARK,
            "PATH": "/opt/spark/bin:/usr/local/bin:/usr/bin:/bin",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
        }
        lines = "".join(f"export {name}={value}\n" for name, value in told.items())
        self.ssh(f"cat >/home/{QUIET}/.bashrc", input=lines.encode())

    def serve(self) -> None:
        """Start a master, on a port that nobody has, and two workers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.master_port = probe.getsockname()[1]
        self.start_master()
        self.start_worker("one")
        self.start_worker("two")

    def start_master(self) -> None:
        """Start the master, and wait until it listens."""
        options = f"--host 127.0.0.1 --port {self.master_port} --webui-port 0"
        self._daemon("master", f"master.Master {options}", "I have been elected leader")

    def start_worker(self, name: str, cores: int = 1) -> None:
        """Start a worker, and wait until the master has it."""
        options = f"--host 127.0.0.1 --webui-port 0 --cores {cores} --memory 1g --work-dir /tmp/work-{name}"
        self._daemon(f"worker-{name}", f"worker.Worker {options} {self.master}", "Successfully registered")

    def end(self, name: str) -> None:
        """End a daemon, and what it has started."""
        self.ssh(f"kill -9 -$(cat /tmp/{name}.pid); rm /tmp/{name}.pid")

    def _daemon(self, name: str, what: str, up: str) -> None:
        log = f"/tmp/{name}.log"
        start = f"setsid /opt/spark/bin/spark-class org.apache.spark.deploy.{what} >{log} 2>&1 </dev/null &"
        wait = (
            f"for i in $(seq 600); do grep -q '{up}' {log} && exit 0; sleep 0.1; done; cat {log} >&2; exit 1"
        )
        script = f". ~/.bashrc; cd; rm -f {log}; {start} echo $! >/tmp/{name}.pid; {wait}"
        self.ssh(script, QUIET)


class Client:
    """The user's side: a home with an OpenSSH configuration that is its own."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.home = home
        self.runtime = runtime
        """Where connections have their sockets."""
        self.configuration = home / ".ssh/config"
        self.known_hosts = home / ".ssh/known_hosts"
        self.configuration.parent.mkdir(mode=0o700, parents=True)
        self.known_hosts.touch()
        self._entries: list[str] = []
        self._write()

    def configure(self, alias: str, *lines: str) -> None:
        """Add a host to `~/.ssh/config`."""
        self._entries.append("\n  ".join([f"Host {alias}", *lines]))
        self._write()

    def knows(self, host: Host) -> None:
        """Add a host's key to `~/.ssh/known_hosts`."""
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{host.port} {host.host_key}\n")

    def lets_in(self, host: Host) -> None:
        """Know a host, and log in there with its key."""
        self.knows(host)
        self.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")

    def sockets(self) -> list[Path]:
        """What is left in the folder of connections: their sockets, and what else there may be."""
        folder = self.runtime / "amlexec"
        return sorted(folder.iterdir()) if folder.exists() else []

    def hang_up(self) -> None:
        """End every connection."""
        for path in self.sockets():
            if path.is_socket():
                _hang_up(path)

    def _write(self) -> None:
        # Of several values the first counts, but identities add up.
        last = [
            "Host *",
            f"IdentityFile {self.home}/.ssh/id_ed25519",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
        ]
        self.configuration.write_text("\n".join([*self._entries, "\n  ".join(last)]) + "\n")


@pytest.fixture(scope="session")
def ssh_image(machines: Engine) -> str:
    """The image that hosts are made of."""
    need("ssh_host", f"the image {ssh_host.REFERENCE}", ssh_host.is_there)
    return ssh_host.REFERENCE


@pytest.fixture(scope="session")
def host_of_session(
    ssh_image: str, machines: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """One machine for a session of tests; take `host`."""
    with _machine(machines, tmp_path_factory.mktemp("host")) as found:
        yield found


@pytest.fixture
def host(host_of_session: Host, client: Client) -> Host:
    """A machine that runs, shared by all tests: leave it as it was found."""
    return host_of_session


@pytest.fixture
def new_host(
    ssh_image: str, machines: Engine, client: Client, tmp_path: Path
) -> Iterator[Callable[..., Host]]:
    """Start a machine that the test has for itself; settings are the engine's `HostConfig`."""
    with contextlib.ExitStack() as started:

        def start(**settings: object) -> Host:
            folder = tmp_path / f"host-{uuid.uuid4().hex[:6]}"
            return started.enter_context(_machine(machines, folder, **settings))

        yield start


@pytest.fixture(scope="session")
def spark_head_of_session(
    ssh_image: str, machines: Engine, spark_parts: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkHead]:
    """One cluster for a session of tests; take `spark_head`."""
    with spark_cluster(machines, spark_parts, tmp_path_factory.mktemp("spark-head")) as found:
        yield found


@pytest.fixture
def spark_head(spark_head_of_session: SparkHead, client: Client) -> SparkHead:
    """A cluster that runs, shared by all tests: leave it as it was found."""
    client.lets_in(spark_head_of_session)
    return spark_head_of_session


@contextlib.contextmanager
def spark_cluster(engine: Engine, parts: Installed, folder: Path) -> Iterator[SparkHead]:
    """A cluster of one's own."""
    machine = SparkHead(engine, folder)
    try:
        machine.mount(parts)
        machine.serve()
        yield machine
    finally:
        with contextlib.suppress(TargetError):
            machine.unpause()
        machine.disconnect()
        containers.remove(engine, machine.name, force=True)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    """A home to connect from; every connection that a test opens is ended after it."""
    real = shutil.which("ssh")
    assert real is not None
    home = Path(os.environ["HOME"])
    programs = tmp_path / "ssh-program"
    programs.mkdir()
    program = programs / "ssh"
    # ssh looks for its files in the home that the user database names, whatever HOME says.
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -F "$HOME/.ssh/config" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name in ("SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    # The developer's keyring is none of ours. A socket's path must be short.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    runtime = Path(tempfile.mkdtemp(prefix="ax-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    found = Client(home, runtime)
    try:
        yield found
    finally:
        found.hang_up()
        shutil.rmtree(runtime, ignore_errors=True)


@contextlib.contextmanager
def _machine(engine: Engine, folder: Path, **settings: object) -> Iterator[Host]:
    machine = Host(engine, folder)
    try:
        machine.create(**settings)
        yield machine
    finally:
        with contextlib.suppress(TargetError):
            machine.unpause()
        machine.disconnect()
        containers.remove(engine, machine.name, force=True)


def _hang_up(control: Path) -> None:
    """End a connection. OpenSSH says that it ends it before it removes the socket, which others find."""
    command = ["ssh", "-F", "none", "-S", str(control), "-O", "exit", "connection"]
    if subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0:
        eventually(lambda: not control.exists(), f"{control} is removed")


def _new_key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path
