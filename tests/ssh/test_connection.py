"""Scripts on another machine, with a real sshd."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec.docker import containers
from amlexec.errors import ConfigurationError, TargetError
from amlexec.keystore import store as keystore
from amlexec.ssh import connection as ssh_connection
from amlexec.ssh import host_keys
from amlexec.ssh.askpass import Identity, is_for_us
from amlexec.ssh.connection import HostKeyError, LoginError, SSHConnection, UnreachableError
from amlexec.ssh.key_pair import new_key_pair
from amlexec.ssh.login import Login, PlainPassword, login_of, split_address
from amlexec.ssh.remote_script import remote_script
from amlexec.ssh.runtime_dir import runtime_folder
from amlexec.values import ComputeTarget, Place
from tests.conftest import PATIENCE, eventually
from tests.engines.ssh_host import QUIET, SHELLS
from tests.support.hosts import ASKED, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.hosts import Client, Host

BYTES = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
"""Every byte but NUL."""


class TestScript:
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))), st.binary())
    def test_arguments_and_input_arrive(self, arguments: list[str], given: bytes) -> None:
        sent = remote_script('printf "%s\\0" "$@"; cat', arguments)
        done = subprocess.run(["sh", "-c", sent.command], input=sent.head + given, capture_output=True)
        expected = b"".join(argument.encode() + b"\0" for argument in arguments) or b"\0"
        assert done.stdout == sent.start + expected + given
        assert sent.stderr(done.stderr) == (b"", 0)

    def test_command_has_no_character_that_a_shell_expands(self) -> None:
        command = remote_script("true", []).command
        inside = command.removeprefix("exec /bin/sh -c '").removesuffix("'")
        assert not set(inside) & set("'\\!\n")

    def test_nul_is_refused(self) -> None:
        with pytest.raises(ValueError, match="NUL"):
            remote_script("echo", ["a\0b"])


class TestRun:
    @pytest.mark.parametrize("user", [*SHELLS, QUIET])
    def test_any_login_shell(self, host: Host, user: str) -> None:
        plain = host.ssh("true", user)
        assert bool(plain) is (user != QUIET), "the start-up files must print something"
        script = 'printf "%s|" "$#" "$@"; cat; echo wrong >&2; exit 7'
        arguments = ("a b", "it's", '"$HOME" `id` \\n', "two\nlines\n", "", "*", "!x", "ünï☃", "-n")
        answer = host.connection(user).run(script, *arguments, input=b"data\n")
        assert answer.exit_code == 7
        assert answer.stdout.split("|") == [str(len(arguments)), *arguments, "data\n"]
        assert answer.stderr == "wrong\n"

    @pytest.mark.parametrize("shell", ["dash", "bash", "zsh"])
    def test_any_posix_shell_as_bin_sh(self, new_host: Callable[[], Host], shell: str) -> None:
        host = new_host()
        host.ssh(f"ln -sf $(command -v {shell}) /bin/sh")
        with host.connection().stream('printf "%s" "$1"; exit 9', BYTES) as channel:
            assert channel.stdout.read() == BYTES.encode("utf-8", "surrogateescape")
            assert channel.wait() == 9

    @pytest.mark.parametrize("code", [0, 1, 126, 254, 255])
    def test_exit_code(self, host: Host, code: int) -> None:
        assert host.connection().run(f"exit {code}").exit_code == code

    def test_script_that_is_killed(self, host: Host) -> None:
        answer = host.connection().run("sh -c 'kill -9 $$'")
        assert answer.exit_code == 137

    def test_outputs_are_exact(self, host: Host) -> None:
        connection = host.connection()
        assert connection.run("printf '\\n a'; printf '\\n\\nb' >&2") == (0, "\n a", "\n\nb")
        assert connection.run("") == (0, "", "")

    def test_syntax_error_is_the_scripts_own(self, host: Host) -> None:
        answer = host.connection().run("if true; then (")
        assert answer.exit_code == 2
        assert "yntax error" in answer.stderr

    def test_long_script_and_arguments(self, host: Host) -> None:
        long = "x" * 300_000
        answer = host.connection().run(f"# {long}\nprintf '%s' \"${{#1}}\"", long)
        assert answer == (0, "300000", "")

    def test_without_input_standard_input_is_empty(self, host: Host) -> None:
        assert host.connection().run("cat; echo end").stdout == "end\n"

    def test_input_is_not_read_to_its_end(self, host: Host) -> None:
        answer = host.connection().run("head -n 1; exec <&-", input=b"one\n" + bytes(5_000_000))
        assert answer == (0, "one\n", "")

    def test_script_that_ignores_much_input(self, host: Host) -> None:
        assert host.connection().run("exit 3", input=io.BytesIO(bytes(5_000_000))).exit_code == 3

    def test_input_that_cannot_be_read(self, host: Host, tmp_path: Path) -> None:
        file = (tmp_path / "input").open("wb")
        with file, pytest.raises(TargetError, match="can't be read"):
            host.connection().run("cat", input=file)

    def test_argument_with_nul(self, host: Host) -> None:
        with pytest.raises(ValueError, match="NUL"):
            host.connection().run("true", "a\0b")

    def test_threads_share_a_connection(self, host: Host) -> None:
        connection = host.connection()
        # More than the ten sessions that sshd allows on one connection.
        with ThreadPoolExecutor(16) as pool:
            answers = list(
                pool.map(lambda number: connection.run("sleep 0.2; echo $1", str(number)), range(16))
            )
        assert [answer.stdout for answer in answers] == [f"{number}\n" for number in range(16)]

    def test_processes_share_a_connection(self, host: Host) -> None:
        code = (
            "import sys; from amlexec.ssh.connection import *; login = Login(*eval(sys.argv[1]));"
            "print(SSHConnection(login).run('echo $PPID').stdout)"
        )
        command = [sys.executable, "-c", code, repr(tuple(host.login()))]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        assert all(process.communicate(timeout=PATIENCE)[0].strip() for process in both)
        assert [process.returncode for process in both] == [0, 0]
        first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
        assert first == second, "both are channels of one connection"

    def test_next_script_uses_the_channel_that_was_opened_ahead(
        self, host: Host, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ssh_connection, "_AHEAD_AGE_S", PATIENCE)
        connection = host.connection("bash")
        assert connection.run("echo one", expects_more=True).stdout == "one\n"
        ahead = connection._ahead
        assert ahead is not None
        mark = ahead.mark
        eventually(ahead.channel.is_waiting, "it is open")
        with connection.stream("cat; exit 3", input=b"two") as channel:
            assert channel is ahead.channel
            assert channel._sent.mark == mark
            assert channel.stdout.read() == b"two"
            assert channel.wait() == 3
        # Where the connection was lost since, there is another.
        connection.run("true", expects_more=True)
        ahead = connection._ahead
        assert ahead is not None
        client.hang_up()
        ahead.channel._process.wait(PATIENCE)
        assert connection.run("echo three", expects_more=True).stdout == "three\n"
        connection.close()
        assert [stat.S_ISSOCK(path.stat().st_mode) for path in client.sockets()] == [True]

    def test_only_the_connection_remains(self, host: Host, client: Client) -> None:
        connection = host.connection()
        connection.run("true")
        with pytest.raises(UnreachableError):
            connection.run("sleep 100", timeout=0.5)
        connection.run("true")
        assert [stat.S_ISSOCK(path.stat().st_mode) for path in client.sockets()] == [True]


class TestStream:
    def test_ten_megabytes_both_ways(self, host: Host) -> None:
        data = secrets.token_bytes(10_000_000)
        with host.connection("fish").stream("cat", input=io.BytesIO(data)) as channel:
            digest = hashlib.sha256(channel.stdout.read()).hexdigest()
            assert channel.wait() == 0
        assert digest == hashlib.sha256(data).hexdigest()

    def test_lines_arrive_when_they_are_printed(self, host: Host) -> None:
        reading, writing = os.pipe()
        with (
            os.fdopen(reading, "rb", 0) as given,
            os.fdopen(writing, "wb", 0) as hold,
            host.connection().stream('while read -r l; do echo "got $l"; done', input=given) as channel,
        ):
            for number in range(3):
                hold.write(f"{number}\n".encode())
                assert channel.stdout.readline() == f"got {number}\n".encode()
            hold.close()
            assert channel.stdout.read() == b""
            assert channel.wait() == 0

    def test_left_early(self, host: Host) -> None:
        connection = host.connection()
        with connection.stream("while echo more; do :; done") as channel:
            assert channel.stdout.readline() == b"more\n"
        assert connection.run("echo on").stdout == "on\n"


@pytest.mark.usefixtures("client")
class TestForward:
    ECHO = """exec python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print("up", flush=True)
    while True:
        with server.accept()[0] as client:
            client.sendall(client.recv(100).upper())
' "$1" """

    def test_without_a_connection(self, host: Host) -> None:
        with host.connection() as connection, pytest.raises(UnreachableError, match="can't be forwarded"):
            connection.forward_lasting("docker", "/var/run/docker.sock", replaces=False)

    def test_socket(self, host: Host) -> None:
        path = f"/tmp/a b:{secrets.token_hex(4)}.sock"
        with host.connection() as connection, connection.stream(self.ECHO, path) as server:
            assert server.stdout.readline() == b"up\n"
            connection.forward_lasting("echo", path, replaces=False)
            local = connection.lasting_socket("echo")
            assert len(os.fsencode(local)) < 104
            assert stat.S_IMODE(Path(local).stat().st_mode) & 0o077 == 0
            for word in (b"one", b"two"):
                with socket.socket(socket.AF_UNIX) as tried:
                    tried.connect(local)
                    tried.sendall(word)
                    assert tried.recv(100) == word.upper()

    def test_one_that_works_stays(self, host: Host) -> None:
        """Two commands that begin at once both find none, and both make it: the first one may be using it."""
        path = f"/tmp/{secrets.token_hex(4)}.sock"
        with host.connection() as connection, connection.stream(self.ECHO, path) as server:
            assert server.stdout.readline() == b"up\n"
            connection.forward_lasting("echo", path, replaces=False)
            local = Path(connection.lasting_socket("echo"))
            other = local.with_name("other")
            other.hardlink_to(local)
            connection.forward_lasting("echo", path, replaces=False)
            assert local.samefile(other)
            connection.forward_lasting("echo", path, replaces=True)
            assert not local.samefile(other)
            other.unlink()


@pytest.mark.usefixtures("client")
class TestPassword:
    @pytest.fixture
    def handle(self) -> str:
        return keystore.put(PASSWORD, "gpubox")

    @pytest.mark.parametrize("user", [QUIET, ASKED, "tcsh"])
    def test_from_the_key_store(self, host: Host, handle: str, user: str) -> None:
        connection = host.connection(user, private_key="", secret=handle)
        assert connection.run("id -un").stdout == f"{user}\n"
        keystore.delete(handle)
        assert connection.run("id -un").stdout == f"{user}\n", "the connection is open"

    def test_plain(self, host: Host) -> None:
        connection = host.connection(private_key="", secret=PlainPassword(PASSWORD))
        assert connection.run("id -un").stdout == f"{QUIET}\n"

    def test_through_the_users_configuration(self, host: Host, client: Client, handle: str) -> None:
        client.configure("gpubox", "HostName 127.0.0.1", f"Port {host.port}", f"User {QUIET}")
        client.knows(host)
        assert SSHConnection(Login("gpubox", "gpubox", secret=handle)).run("id -un").stdout == f"{QUIET}\n"

    def test_no_process_shows_the_password(self, host: Host, client: Client, handle: str) -> None:
        seen, stopped = [], threading.Event()

        def watch() -> None:
            while not stopped.is_set():
                for folder in Path("/proc").iterdir():
                    for name in ("cmdline", "environ"):
                        try:
                            data = (folder / name).read_bytes() if folder.name.isdigit() else b""
                        except OSError:
                            continue
                        seen.append((folder.name, data))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            host.connection(private_key="", secret=handle).run("sleep 0.3")
        finally:
            stopped.set()
            watcher.join()
        assert any(str(client.runtime).encode() in data and b"ssh" in data for _, data in seen)
        shown = {pid for pid, data in seen if PASSWORD.encode() in data}
        assert not shown
        for path in client.runtime.rglob("*"):
            assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()

    @pytest.mark.parametrize("user", [QUIET, ASKED])
    def test_wrong_password_is_tried_once(self, new_host: Callable[[], Host], user: str) -> None:
        host = new_host()
        wrong = keystore.put("wrong secret")
        with pytest.raises(LoginError, match=r"not accepted|more than a password") as caught:
            host.connection(user, private_key="", secret=wrong).run("true")
        assert "wrong secret" not in repr(caught.value) + "".join(caught.value.lines())
        assert caught.value.methods
        with containers.logs(host.engine, host.name) as output:
            log = b"".join(frame.data for frame in output).decode()
        assert (
            len([line for line in log.splitlines() if "Failed password" in line or "PAM: Auth" in line]) <= 1
        )

    def test_jump_host_does_not_get_the_password(self, host: Host, client: Client, handle: str) -> None:
        client.knows(host)
        client.configure("jump", "HostName 127.0.0.1", f"Port {host.port}", "User dash", "IdentityFile none")
        client.configure("behind", "HostName 127.0.0.1", f"Port {host.port}", "ProxyJump jump")
        with pytest.raises(LoginError, match=r"the jump host asks: dash@127\.0\.0\.1's password"):
            SSHConnection(Login("behind", "behind", QUIET, secret=handle)).run("true")

    def test_jump_host_with_a_key(self, host: Host, client: Client, handle: str) -> None:
        client.knows(host)
        client.configure(
            "jump", "HostName 127.0.0.1", f"Port {host.port}", f"IdentityFile {host.key}", "User dash"
        )
        client.configure("behind", "HostName 127.0.0.1", f"Port {host.port}", "ProxyJump jump")
        answer = SSHConnection(Login("behind", "behind", QUIET, secret=handle)).run("id -un")
        assert answer.stdout == f"{QUIET}\n"

    def test_reason_why_an_account_is_refused(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        shut = "echo 'account required pam_nologin.so' >>/etc/pam.d/sshd; echo down for repair >/etc/nologin"
        cases = [
            (
                f"chage -d 0 {QUIET}",
                f"chage -d 20000 {QUIET}",
                "must be changed first: Password change required",
            ),
            (
                f"chage -E 1 {QUIET}",
                f"chage -E -1 {QUIET}",
                "during the login: Your account has expired; please contact your",
            ),
            (
                f"usermod -s /bin/false {QUIET}",
                f"usermod -s /bin/sh {QUIET}",
                "ended with exit code 1 before",
            ),
            (f"usermod -s /bin/nope {QUIET}", f"usermod -s /bin/sh {QUIET}", "was not accepted"),
            (shut, "rm /etc/nologin", "the machine closed the connection during the login: down for repair"),
        ]
        secret = keystore.put(PASSWORD)
        for before, after, words in cases:
            host.ssh(before)
            for way in ({}, {"private_key": "", "secret": secret}):
                with pytest.raises(LoginError) as caught:
                    host.connection(**way).run("true")
                text = f"{caught.value.message} {caught.value.hint}"
                assert words in text
                assert "was lost" not in text
                assert ("expired" in text) == ("chage" in before) or "chage -d" in before, text
            host.ssh(after)
        assert host.connection().run("echo on").stdout == "on\n"

    def test_runtime_folder_mounted_noexec(
        self, host: Host, client: Client, handle: str, small_disk: Path
    ) -> None:
        subprocess.run(["mount", "-o", "remount,noexec", str(small_disk)], check=True)
        subprocess.run(["mount", "--bind", str(small_disk), str(client.runtime)], check=True)
        try:
            connection = host.connection(private_key="", secret=handle)
            assert connection.run("echo on").stdout == "on\n"
            client.hang_up()
        finally:
            subprocess.run(["umount", "-l", str(client.runtime)], check=True)
        assert [path.name for path in keystore.own_folder().iterdir()] == ["passwords"]

    def test_secret_that_is_not_in_the_store(self, host: Host, handle: str) -> None:
        keystore.delete(handle)
        with pytest.raises(TargetError, match=f"no secret {handle}"):
            host.connection(private_key="", secret=handle).run("true")

    @pytest.mark.parametrize(
        ("question", "wanted"),
        [
            ("remo@box's password: ", True),
            ("(remo@box) Password: ", True),
            ("(remo@box) remo@box's password: ", True),
            ("Password: ", False),
            ("root@box's password: ", False),
            ("remo@jump's password: ", False),
            ("(remo@jump) Password: ", False),
            ("(remo@box) New password: ", False),
            ("(remo@box) Verification code: ", False),
            ("(remo@box) One-time password (OTP): ", False),
            ("Enter passphrase for key '/id': ", False),
            ("The authenticity of host 'box' can't be established.\nContinue? (password)", False),
            ("", False),
        ],
    )
    def test_which_questions_are_answered(self, question: str, wanted: bool) -> None:
        assert is_for_us(question, Identity("remo", "box"), "") is wanted

    def test_passphrase_is_sent_for_its_key_only(self) -> None:
        asked = "Enter passphrase for key '/id': "
        assert is_for_us(asked, Identity("remo", "box"), "/id")
        assert not is_for_us(asked, Identity("remo", "box"), "/other")
        assert not is_for_us("remo@box's password: ", Identity("remo", "box"), "/id")


class TestKey:
    def test_pair_of_the_key_store(self, host: Host) -> None:
        pair = new_key_pair("amlexec gpubox")
        connection = host.connection(private_key=pair.handle)
        with pytest.raises(LoginError, match=f"the key of user {QUIET} was not accepted"):
            connection.run("true")
        _let_in(host, pair.public)
        assert connection.run("id -un").stdout == f"{QUIET}\n"

    def test_pair_of_a_shared_key_store(
        self, host: Host, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "team").mkdir(mode=0o770)
        monkeypatch.setenv("AMLEXEC_KEYSTORE", str(tmp_path / "team"))
        pair = new_key_pair("amlexec gpubox")
        _let_in(host, pair.public)
        assert host.connection(private_key=pair.handle).run("id -un").stdout == f"{QUIET}\n"
        assert all(path.is_socket() for path in client.sockets())

    def test_file_with_a_passphrase(self, host: Host, tmp_path: Path) -> None:
        key = tmp_path / "my key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", str(key)], check=True)
        _let_in(host, key.with_suffix(".pub").read_text())
        login = host.login(private_key=str(key))
        with pytest.raises(LoginError):
            SSHConnection(login).run("true")
        with pytest.raises(LoginError):
            SSHConnection(login._replace(secret=keystore.put("wrong"))).run("true")
        answer = SSHConnection(login._replace(secret=keystore.put("open sesame"))).run("id -un")
        assert answer.stdout == f"{QUIET}\n"

    def test_file_that_does_not_exist(self, host: Host) -> None:
        with pytest.raises(LoginError, match="the private key file /nowhere does not exist"):
            host.connection(private_key="/nowhere").run("true")

    def test_file_that_others_can_read(self, host: Host, tmp_path: Path) -> None:
        key = tmp_path / "id"
        key.write_bytes(host.key.read_bytes())
        key.chmod(0o644)
        with pytest.raises(LoginError, match="others can read"):
            host.connection(private_key=str(key)).run("true")

    @pytest.mark.usefixtures("agent")
    def test_agent(self, host: Host) -> None:
        subprocess.run(["ssh-add", "-q", str(host.key)], check=True)
        assert host.connection(private_key="").run("id -un").stdout == f"{QUIET}\n"

    @pytest.mark.usefixtures("agent")
    def test_agent_with_too_many_keys(self, host: Host, tmp_path: Path) -> None:
        for number in range(7):
            key = str(tmp_path / f"id{number}")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            subprocess.run(["ssh-add", "-q", key], check=True)
        with pytest.raises(LoginError, match="too many keys"):
            host.connection(private_key="").run("true")
        assert host.connection().run("id -un").stdout == f"{QUIET}\n", "the key that is named is the only one"

    def test_no_key_at_all(self, host: Host) -> None:
        with pytest.raises(LoginError, match="none of the available keys") as caught:
            host.connection(private_key="").run("true")
        assert set(caught.value.methods) == {"publickey", "password"}

    @pytest.fixture
    def agent(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        path = str(client.runtime / "agent")
        process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
        try:
            eventually(lambda: Path(path).exists(), "the agent listens")
            monkeypatch.setenv("SSH_AUTH_SOCK", path)
            yield
        finally:
            process.terminate()
            process.wait()


@pytest.mark.usefixtures("client")
class TestHostKey:
    def test_unknown(self, host: Host, client: Client) -> None:
        with pytest.raises(HostKeyError, match="not known") as caught:
            host.connection(known_hosts="").run("true")
        assert not caught.value.changed
        assert client.known_hosts.read_text() == ""

    def test_known_to_openssh(self, host: Host, client: Client) -> None:
        client.knows(host)
        assert host.connection(known_hosts="").run("echo on").stdout == "on\n"

    def test_offered_and_pinned(self, host: Host) -> None:
        login = host.login(known_hosts="")
        (key,) = host_keys.offered(login)
        assert (key.type, key.fingerprint, key.line) == ("ssh-ed25519", host.fingerprint, host.host_key)
        pinned = host_keys.pin(login, [key])
        assert SSHConnection(pinned).run("echo on").stdout == "on\n"
        target = ComputeTarget("gpubox", "remote", Place("x.compute"), host.address, QUIET)
        assert login_of(target).known_hosts == pinned.known_hosts

    def test_offered_behind_a_jump_host(self, host: Host, client: Client) -> None:
        client.knows(host)
        client.configure(
            "jump", "HostName 127.0.0.1", f"Port {host.port}", f"IdentityFile {host.key}", "User dash"
        )
        client.configure("behind", "HostName localhost", f"Port {host.port}", "ProxyJump jump")
        (key,) = host_keys.offered(Login("behind", "behind", QUIET))
        assert key.fingerprint == host.fingerprint

    def test_offered_by_an_unreachable_machine(self) -> None:
        with pytest.raises(UnreachableError):
            host_keys.offered(Login("box", "127.0.0.1", port=_closed_port()))

    @pytest.mark.parametrize("is_pinned", [True, False])
    def test_changed(self, new_host: Callable[[], Host], client: Client, is_pinned: bool) -> None:
        host = new_host()
        client.knows(host)
        login = host.login(known_hosts="")
        if is_pinned:
            login = host_keys.pin(login, host_keys.offered(login))
        assert SSHConnection(login).run("echo on").stdout == "on\n"
        host.new_host_key()
        with pytest.raises(HostKeyError, match="has changed") as caught:
            SSHConnection(login).run("true")
        assert caught.value.changed
        assert caught.value.fingerprints == (host.fingerprint,)
        client.known_hosts.write_text("")
        client.knows(host)
        if is_pinned:  # OpenSSH's own files don't count
            with pytest.raises(HostKeyError, match="has changed"):
                SSHConnection(login).run("true")
            login = host_keys.pin(login, host_keys.offered(login))
        assert SSHConnection(login).run("echo on").stdout == "on\n"


@pytest.mark.usefixtures("client")
class TestFaults:
    def test_machine_that_hangs(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        connection = host.connection()
        connection.run("true")
        host.pause()
        for _ in range(2):  # over the open connection, then over a new one
            begun = time.monotonic()
            with pytest.raises(UnreachableError, match="no answer within 2 s"):
                connection.run("true", timeout=2)
            assert time.monotonic() - begun < PATIENCE / 2
        host.unpause()
        assert connection.run("echo on").stdout == "on\n"

    def test_machine_that_hangs_while_a_script_runs(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        connection = host.connection()
        with connection.stream("echo begun; exec sleep 1000") as channel:
            assert channel.stdout.readline() == b"begun\n"
            host.pause()
            assert channel.stdout.read() == b""
            with pytest.raises(UnreachableError, match="the connection was lost"):
                channel.wait()
        host.unpause()
        assert connection.run("echo on").stdout == "on\n"

    def test_machine_that_crashes(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        connection = host.connection()
        with connection.stream("echo begun; exec sleep 1000") as channel:
            assert channel.stdout.readline() == b"begun\n"
            host.kill()
            with pytest.raises(UnreachableError, match="the connection was lost"):
                channel.wait()
        with pytest.raises(UnreachableError, match="connection refused"):
            connection.run("true")
        host.start()
        assert connection.run("echo on").stdout == "on\n"

    def test_connection_that_breaks(self, host: Host, client: Client) -> None:
        connection = host.connection()
        with connection.stream("echo begun; exec sleep 1000") as channel:
            assert channel.stdout.readline() == b"begun\n"
            client.hang_up()
            with pytest.raises(UnreachableError, match="the connection was lost"):
                channel.wait()
        assert connection.run("echo on").stdout == "on\n"

    def test_script_that_takes_too_long(self, host: Host) -> None:
        connection = host.connection()
        with pytest.raises(UnreachableError, match="has not ended within 2 s"):
            connection.run("echo begun; sleep 1000", timeout=2)
        with pytest.raises(UnreachableError, match="has not ended within 2 s"):
            connection.run("exec >&- 2>&-; sleep 1000", timeout=2)
        assert connection.run("echo on").stdout == "on\n"

    def test_login_shell_that_ends_at_once(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        host.ssh(f"usermod -s /usr/sbin/nologin {QUIET}")
        with pytest.raises(LoginError, match="not available"):
            host.connection().run("true")

    @pytest.mark.parametrize("shell", ["dash", "bash"])
    def test_common_start_up_files(self, new_host: Callable[[], Host], shell: str) -> None:
        host = new_host()
        host.ssh(f"ln -sf $(command -v {shell}) /bin/sh")
        script = (
            'for p in dd uname mkdir tar; do command -v $p >/dev/null || exit 9; done; cat; printf "%s" "$1"'
        )
        for text in (
            "read -p 'Continue? ' answer",
            "read a; read b; read c",
            "PATH=/opt/none",
            "unset PATH",
            "export PATH=",
            "umask 777; set -e; export SHELLOPTS; set -uC",
            "cat() { echo no; }; export -f cat; dd() { return 1; }; export -f dd; alias exec=false",
            "export CDPATH=/tmp IFS=0 ENV=/nowhere BASH_ENV=/nowhere POSIXLY_CORRECT=1",
            "printf 'no line end'; printf 'no line end' >&2",
        ):
            host.ssh("cat >~bash/.bashrc", input=f"{text}\n".encode())
            for long in ("", "x" * 5000) if text == "read a; read b; read c" else ("",):
                answer = host.connection("bash").run(f"# {long}\n{script}", "end", input=b"given\n")
                assert (answer.exit_code, answer.stdout) == (0, "given\nend"), (text, answer)

    @pytest.mark.parametrize(
        "text", ["cat >/dev/null", "head -n 1", "while read -r x; do :; done", "exec bash"]
    )
    def test_start_up_file_that_reads_standard_input(self, new_host: Callable[[], Host], text: str) -> None:
        host = new_host()
        host.ssh("cat >~bash/.bashrc", input=f"{text}\n".encode())
        for script in ("echo x", f"# {'x' * 5000}"):
            message = "start-up file" if text != "exec bash" else "login ended with"
            with pytest.raises(LoginError, match=message):
                host.connection("bash").run(script, timeout=20)

    def test_start_up_file_that_hangs(self, new_host: Callable[[], Host]) -> None:
        host = new_host()
        host.ssh("echo 'sleep 1000' >~bash/.bashrc")
        with pytest.raises(UnreachableError, match="no answer within 2 s"):
            host.connection("bash").run("true", timeout=2)

    def test_closed_port(self) -> None:
        with pytest.raises(UnreachableError, match=r"no connection to port \d+: connection refused"):
            SSHConnection(Login("box", "127.0.0.1", port=_closed_port())).run("true")

    def test_port_that_does_not_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            login = Login("box", "127.0.0.1", port=server.getsockname()[1])
            with pytest.raises(UnreachableError, match="no answer within 1 s"):
                SSHConnection(login).run("true", timeout=1)

    def test_unknown_host_name(self) -> None:
        with pytest.raises(UnreachableError, match=r"the host name nowhere\.invalid can't be resolved"):
            SSHConnection(Login("box", "nowhere.invalid")).run("true")

    def test_invalid_host_name(self) -> None:
        with pytest.raises(UnreachableError) as caught:
            SSHConnection(Login("box", "x::")).run("true")
        assert caught.value.message == "the host name x:: can't be resolved (name or service not known)"

    def test_ssh_is_not_installed(self, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        for attempt in (lambda: host.connection().run("true"), lambda: host_keys.offered(host.login())):
            with pytest.raises(TargetError, match="`ssh` can't be started") as caught:
                attempt()
            assert "install" in caught.value.hint

    def test_users_configuration_that_would_break_scripts(self, host: Host, client: Client) -> None:
        client.configure(
            "127.0.0.1",
            "RemoteCommand tmux",
            "RequestTTY force",
            "LogLevel QUIET",
            "LocalForward 127.0.0.1:1 127.0.0.1:2",
            "ExitOnForwardFailure yes",
            "ControlPath none",
            "StrictHostKeyChecking no",
        )
        assert host.connection().run("echo on") == (0, "on\n", "")
        with pytest.raises(LoginError):
            host.connection(private_key="").run("true")

    def test_folder_for_connections_that_others_can_enter(self, host: Host) -> None:
        before = runtime_folder()
        before.chmod(0o755)
        assert host.connection().run("echo on").stdout == "on\n"
        assert runtime_folder() != before
        assert list(before.iterdir()) == []

    def test_long_folder_for_connections(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        long = tmp_path / ("long" * 30)
        long.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
        assert len(os.fsencode(runtime_folder())) < 60


@pytest.mark.usefixtures("client")
class TestLogin:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("gpubox", ("gpubox", 0)),
            ("gpubox.example.com:5022", ("gpubox.example.com", 5022)),
            (" 10.0.0.1:22 ", ("10.0.0.1", 22)),
            ("fe80::1", ("fe80::1", 0)),
            ("[fe80::1%eth0]:2222", ("fe80::1%eth0", 2222)),
            ("[gpubox]:2222", ("gpubox", 2222)),
        ],
    )
    def test_address(self, address: str, expected: tuple[str, int]) -> None:
        assert split_address(address) == expected

    @pytest.mark.parametrize(
        "address", ["", "-oProxyCommand=id", "a b", "a:0", "a:70000", "a:x", "u@a", "a;id", "a\n"]
    )
    def test_invalid_address(self, address: str) -> None:
        if address == "a\n":
            address = "a\nb"
        with pytest.raises(ConfigurationError):
            split_address(address)

    def test_of_a_target(self) -> None:
        handle = keystore.put("x")
        target = ComputeTarget("gpubox", "remote", Place("x.compute"), "box:22", "remo", handle, "~/id")
        login = login_of(target)
        assert login == Login("gpubox", "box", "remo", 22, handle, str(Path("~/id").expanduser()))
        assert (login.address, login._replace(port=5022).address) == ("box", "[box]:5022")

    def test_of_a_target_of_workbench(self) -> None:
        target = ComputeTarget("t", "remote", Place("x"), "box", "u", f"AzureMlSecret=t#u#{'0' * 32}")
        assert login_of(target).secret == ""

    def test_plain_password_is_not_shown(self) -> None:
        login = login_of(ComputeTarget("t", "remote", Place("x"), "box", "u", "hunter22"))
        assert login.secret == "hunter22"
        assert "hunter22" not in repr(login)

    @pytest.mark.parametrize("user", ["-lroot", "a b", "a;id", "a@b'"])
    def test_invalid_user(self, user: str) -> None:
        with pytest.raises(ConfigurationError):
            login_of(ComputeTarget("t", "remote", Place("x"), "box", user))


def _let_in(host: Host, public: str) -> None:
    script = f"umask 077; cat >>/home/{QUIET}/.ssh/authorized_keys; chown -R {QUIET} /home/{QUIET}/.ssh"
    host.ssh(f"mkdir -p /home/{QUIET}/.ssh; {script}", input=public.encode().strip() + b"\n")


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
