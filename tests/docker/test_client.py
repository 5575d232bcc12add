"""A real Docker engine, its containers and its images."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from amlexec.docker import archives, containers, images, probe
from amlexec.docker.client import Engine, from_environment
from amlexec.docker.errors import (
    EngineAbsentError,
    EngineAnswerError,
    EngineError,
    EngineLostError,
    EngineTimeoutError,
)
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONG = 120.0
"""Seconds; enough for every step here on a busy machine."""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """A container's name; the container is removed at the end."""
    chosen = f"amlexec-test-{uuid.uuid4().hex[:12]}"
    yield chosen
    containers.remove(engine, chosen, force=True)


@pytest.fixture
def reference(engine: Engine) -> Iterator[str]:
    """An image's reference; the image is removed at the end."""
    chosen = f"amlexec-test/{uuid.uuid4().hex[:12]}:1"
    yield chosen
    images.remove(engine, chosen, force=True)


@pytest.fixture
def make(engine: Engine, base_image: str, name: str) -> Callable[..., str]:
    """Create the container `name`, which runs a shell script."""

    def made(script: str, **settings: Any) -> str:
        host = {"NetworkMode": "none", **settings.pop("HostConfig", {})}
        settings = {"Image": base_image, "Cmd": ["sh", "-c", script], "HostConfig": host, **settings}
        return containers.create(engine, settings, name=name)

    return made


def _exact(engine: Engine) -> dict[str, object]:
    """The settings of a container whose output the engine keeps byte for byte."""
    return {"LogConfig": {"Type": engine.features.log_driver}}


def _printed(output: containers.Output) -> tuple[bytes, bytes]:
    with output:
        frames = list(output)
    return tuple(b"".join(f.data for f in frames if f.stream == n) for n in (1, 2))  # type: ignore[return-value]


def _tar(**files: bytes) -> bytes:
    written = io.BytesIO()
    with Tar.open(fileobj=written, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return written.getvalue()


class TestEngine:
    def test_describes_itself(self, engine: Engine) -> None:
        engine.version()
        assert engine.info()["OSType"] == engine.version()["Os"] == "linux"

    def test_a_refusal_has_the_engines_message(self, engine: Engine) -> None:
        with pytest.raises(EngineAnswerError) as caught:
            containers.start(engine, "amlexec-test-nobody")
        assert caught.value.status == 404
        assert caught.value.message.startswith("the Docker engine says: ")
        assert re.search(
            "no such container.*amlexec-test-nobody|amlexec-test-nobody.*no such",
            caught.value.reason,
            re.IGNORECASE,
        )
        assert caught.value.where == engine.address

    def test_raises_after_the_timeout(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        containers.start(engine, make("exec sleep 1000"))
        with pytest.raises(EngineTimeoutError):
            containers.wait(engine, name, timeout=0.2)

    def test_refuses_an_address_of_another_kind(self) -> None:
        with pytest.raises(EngineError) as caught:
            Engine("ssh://somebody@somewhere")
        assert "remotedocker" in caught.value.hint


class TestAbsentEngine:
    def test_no_socket(self, tmp_path: Path) -> None:
        address = f"unix://{tmp_path}/docker.sock"
        with pytest.raises(EngineAbsentError) as caught:
            from_environment({"DOCKER_HOST": address}).version()
        assert (
            caught.value.lines()[0]
            == f"{address}: error: no Docker engine answers: No such file or directory"
        )
        assert caught.value.hint

    def test_socket_without_an_engine(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(f"{tmp_path}/s")
            with pytest.raises(EngineAbsentError, match="Connection refused"):
                Engine(f"unix://{tmp_path}/s").version()

    def test_port_without_an_engine(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(EngineAbsentError, match="Connection refused"):
            Engine(f"tcp://127.0.0.1:{port}").version()

    def test_no_permission(self, tmp_path: Path) -> None:
        code = """
            import os, shutil, sys
            from amlexec.docker import adapter
            from amlexec.docker.client import from_environment
            from amlexec.docker.errors import EngineDeniedError
            if os.geteuid() == 0:  # root can open every socket
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            try:
                from_environment().version()
            except EngineDeniedError as error:
                print(*error.lines(), sep="\\n")
        """
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"{tmp_path}/s")
            listening.listen()
            Path(f"{tmp_path}/s").chmod(0)
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(code)],
                env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/s"},
                capture_output=True,
                text=True,
                timeout=_LONG,
                check=True,
            )
        error, hint = done.stdout.splitlines()
        assert error.endswith("error: no permission to use the Docker engine's socket")
        assert hint.strip().startswith("hint: join the group")


class TestOtherEngines:
    """Behavior of engines that are not installed here, from a server that sends the given answers."""

    @pytest.mark.parametrize("newest", ["1.39", "1.52"])
    def test_uses_the_engines_newest_api_version(self, speaker: Callable[..., _Speaker], newest: str) -> None:
        there = speaker(_http(b'{"OSType":"linux"}'), _http(b'{"OSType":"linux"}'), version=newest)
        assert there.engine.info() == there.engine.info() == {"OSType": "linux"}
        assert there.asked == ["/_ping", f"/v{newest}/info", f"/v{newest}/info"]

    def test_of_which_the_ping_says_no_version(self, tmp_path: Path) -> None:
        asked: list[str] = []
        answers = (_http(b"OK"), _http(b'{"ApiVersion":"1.40"}'), _http(b'{"OSType":"linux"}'))
        with socket.create_server(f"{tmp_path}/s", family=socket.AF_UNIX) as listening:
            thread = threading.Thread(target=_speak, args=(listening, answers, asked), daemon=True)
            thread.start()
            assert Engine(f"unix://{tmp_path}/s").info() == {"OSType": "linux"}
            thread.join(_LONG)
        assert asked == ["/_ping", "/version", "/v1.40/info"]

    def test_sends_an_archive_in_pieces(self, speaker: Callable[..., _Speaker]) -> None:
        there = speaker(_http(b""))
        archives.put(there.engine, "x", "/", iter([b"on", b"ce"]))
        assert there.asked == ["/_ping", "/v1.41/containers/x/archive?path=%2F"]

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a head"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", id="half a body"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", id="half of its chunks"
            ),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
                id="half a value",
            ),
        ],
    )
    def test_ended_in_the_middle(self, speaker: Callable[..., _Speaker], answer: bytes) -> None:
        with pytest.raises(EngineLostError) as caught:
            speaker(answer).engine.info()
        assert "docker info" in caught.value.hint

    def test_ended_in_the_middle_of_output(self, speaker: Callable[..., _Speaker]) -> None:
        there = speaker(b"HTTP/1.1 200 OK\r\n\r\n\x01\0\0\0\0\0\0\x05abc")
        with pytest.raises(EngineLostError), containers.logs(there.engine, "x") as output:
            list(output)

    def test_followed_to_the_last_byte(self, speaker: Callable[..., _Speaker]) -> None:
        """The rest is requested from an engine that stops sending at the container's end, as 20.10 may do."""
        whole = _frame(1, b"first\n") + _frame(2, b"second\n") + _frame(1, b"third\n")
        there = speaker(_http(_frame(1, b"first\n") + _frame(2, b"sec")), _http(whole))
        with containers.logs(there.engine, "x", follow=True) as output:
            got = list(output)
        assert got == [(1, b"first\n"), (2, b"sec"), (2, b"ond\n"), (1, b"third\n")]
        assert output.known == (12, 7)
        assert ["follow=1" in path for path in there.asked[1:]] == [True, False]

    def test_error_in_the_stream_of_messages(self, speaker: Callable[..., _Speaker]) -> None:
        body = b'{"status":"Pushing"}\r\n{"error":"no space left"}\r\n'
        with pytest.raises(EngineAnswerError, match="the Docker engine says: no space left"):
            images.push(speaker(_chunked(body)).engine, "somewhere.test/a:1")


class TestProbe:
    """The fast request, and what it leaves to docker-py."""

    def test_of_an_image(self, engine: Engine, base_image: str) -> None:
        found = engine.look(f"/images/{base_image}/json")
        assert isinstance(found, dict)
        known = images.inspect(engine, base_image) or {}
        # Podman says names in full: what is known of an image has them as Docker does.
        assert {**found, "RepoTags": [base_image], "RepoDigests": known["RepoDigests"]} == known
        assert engine.look("/images/amlexec-test/absent:1/json") == probe.ABSENT

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
            b"HTTP/1.1 404 Not Found\r\n\r\nnot the engine's own page",
            b'HTTP/1.1 400 Bad Request\r\n\r\n{"message":"client version 1.41 is too old"}',
            b'HTTP/1.1 500 Error\r\n\r\n{"message":"no"}',
        ],
    )
    def test_unusual_answers_count_as_none(self, tmp_path: Path, answer: bytes) -> None:
        with socket.create_server(f"{tmp_path}/s", family=socket.AF_UNIX) as listening:
            thread = threading.Thread(target=_speak, args=(listening, (answer,), []), daemon=True)
            thread.start()
            assert probe.get(f"{tmp_path}/s", "/images/a/json") is None
            thread.join(_LONG)

    @pytest.mark.parametrize("path", ["/images/a b/json", "/images/a?x=/json", "/images/\r\n/json", "/i/é"])
    def test_does_not_send_a_name_that_changes_the_url(self, engine: Engine, path: str) -> None:
        assert engine.look(path) is None

    def test_does_not_import_docker_py(self, base_image: str) -> None:
        code = (
            "import sys\nfrom amlexec.docker import images\n"
            "from amlexec.docker.client import from_environment\n"
            f"assert images.inspect(from_environment(), {base_image!r})\n"
            "assert images.inspect(from_environment(), 'amlexec-test/absent:1') is None\n"
            "print([name for name in ('docker', 'requests', 'http.client') if name in sys.modules])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


class TestContainers:
    def test_exit_code(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        identity = make("exit 3")
        containers.start(engine, identity)
        assert containers.wait(engine, name, timeout=_LONG) == 3
        state = (containers.inspect(engine, name) or {})["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (3, False)
        # Podman has yet to unmount its files then.
        assert state["Status"] in ({"exited", "stopped"} if engine.features.is_podman else {"exited"})

    def test_killed(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        containers.start(engine, make("exec sleep 1000"))
        assert containers.kill(engine, name)
        assert containers.wait(engine, name, timeout=_LONG) == 137
        assert not containers.kill(engine, name)

    def test_signal_reaches_the_script(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        make("trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
        containers.start(engine, name)
        with containers.logs(engine, name, follow=True, timeout=_LONG) as output:
            assert next(iter(output)).data == b"ready\n"
        assert containers.kill(engine, name, "TERM")
        assert containers.wait(engine, name, timeout=_LONG) == 5

    def test_removed(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        containers.start(engine, make("exec sleep 1000"))
        with pytest.raises(EngineAnswerError, match="running") as caught:
            containers.remove(engine, name)
        assert caught.value.status == 409
        assert containers.remove(engine, name, force=True)
        assert not containers.remove(engine, name, force=True)
        assert not containers.kill(engine, name)
        assert containers.inspect(engine, name) is None

    def test_one_of_several_removals_at_once_removes_it(
        self, engine: Engine, name: str, make: Callable[..., str]
    ) -> None:
        for _ in range(5):
            containers.start(engine, make("trap '' TERM; exec sleep 1000"))
            with ThreadPoolExecutor(4) as several:
                removals = [several.submit(containers.remove, engine, name, force=True) for _ in range(4)]
            removed = [removal.result() for removal in removals].count(True)
            assert removed <= (4 if engine.features.is_podman else 1), "with Podman, each says so"
            assert containers.inspect(engine, name) is None

    def test_found_by_labels(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        identity = make("true", Labels={"amlexec-test.name": name, "amlexec-test.other": "x=y"})
        wanted = {"amlexec-test.name": name, "amlexec-test.other": ""}
        assert [found["Id"] for found in containers.find(engine, wanted)] == [identity]
        assert containers.find(engine, {**wanted, "amlexec-test.other": "x"}) == []

    def test_a_name_is_given_once(self, make: Callable[..., str]) -> None:
        make("true")
        with pytest.raises(EngineAnswerError, match="already in use") as caught:
            make("true")
        assert caught.value.status == 409

    def test_missing_command(self, engine: Engine, name: str, base_image: str) -> None:
        containers.create(engine, {"Image": base_image, "Cmd": ["/nowhere"]}, name=name)
        with pytest.raises(EngineAnswerError, match="no such file or directory"):
            containers.start(engine, name)

    def test_missing_image(self, engine: Engine, name: str) -> None:
        with pytest.raises(EngineAnswerError, match=r"(?i)no such image") as caught:
            containers.create(engine, {"Image": "amlexec-test/absent:1"}, name=name)
        assert caught.value.status == 404


class TestOutput:
    _TWO = r"printf 'out\377\n'; printf 'err\376\n' >&2; printf 'more' "
    _PRINTED = (b"out\xff\nmore", b"err\xfe\n")

    def test_executed_byte_for_byte(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        containers.start(engine, make("exec sleep 1000"))
        output: list[bytes] = []
        script = "printf 'out\\377'; cat; exit 7"
        command = ["sh", "-c", script]
        assert containers.execute(engine, name, command, output.append, given=b"given\xff" * 100_000) == 7
        assert b"".join(output) == b"out\xff" + b"given\xff" * 100_000
        variables = {"A": "b c", "NAME": "=x"}
        output.clear()
        script = "echo $A$NAME; [ ! -t 0 ] && pwd"
        assert containers.execute(engine, name, ["sh", "-c", script], output.append, variables=variables) == 0
        assert b"".join(output) == b"b c=x\n/\n"
        with pytest.raises(EngineAnswerError, match=r"not running|running containers") as caught:
            containers.kill(engine, name)
            containers.wait(engine, name, timeout=_LONG)
            containers.execute(engine, name, ["true"], output.append)
        assert caught.value.status == 409

    def test_a_container_that_ends_just_before_its_command(
        self, engine: Engine, name: str, make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        containers.start(engine, make("exec sleep 1000"))
        with engine.asked(patient=True) as api:
            post = api.post

        def late(url: str, **options: Any) -> Any:
            if url.endswith("/start"):
                containers.kill(engine, name)
                containers.wait(engine, name, timeout=_LONG)
            return post(url, **options)

        monkeypatch.setattr(api, "post", late)
        with pytest.raises(EngineAnswerError, match=r"is not running|[Nn]o such exec") as caught:
            containers.execute(engine, name, ["true"], bytearray().extend)
        assert caught.value.status == 409

    def test_logs_byte_for_byte(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        make(self._TWO, HostConfig=_exact(engine))
        containers.start(engine, name)
        assert _printed(containers.logs(engine, name, follow=True, timeout=_LONG)) == self._PRINTED
        assert _printed(containers.logs(engine, name)) == self._PRINTED

    def test_logs_continue_where_reading_stopped(
        self, engine: Engine, name: str, make: Callable[..., str]
    ) -> None:
        make(self._TWO, HostConfig=_exact(engine))
        containers.start(engine, name)
        containers.wait(engine, name, timeout=_LONG)
        assert _printed(containers.logs(engine, name, skip=(5, 2))) == (b"more", b"r\xfe\n")
        assert _printed(containers.logs(engine, name, skip=(99, 99))) == (b"", b"")

    def test_large_output(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        make("yes 0123456 | head -c 800000; yes 7 | head -c 100000 >&2", HostConfig=_exact(engine))
        containers.start(engine, name)
        with containers.logs(engine, name, follow=True, timeout=_LONG) as output:
            frames = list(output)
            assert output.known == (800_000, 100_000)
        out, err = (b"".join(frame.data for frame in frames if frame.stream == n) for n in (1, 2))
        assert (out, err) == (b"0123456\n" * 100_000, b"7\n" * 50_000)

    def test_another_thread_can_end_following(
        self, engine: Engine, name: str, make: Callable[..., str]
    ) -> None:
        containers.start(engine, make("echo begun; exec sleep 1000"))
        output = containers.logs(engine, name, follow=True)
        frames = iter(output)
        assert next(frames).data == b"begun\n"
        threading.Timer(0.2, output.close).start()
        assert list(frames) == []


class TestArchives:
    def test_round_trip(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        make("cat /opt/b >> /opt/a/c")
        archives.put(engine, name, "/opt", _tar(**{"a/c": b"\xff\n", "b": b"of the container\n"}))
        containers.start(engine, name)
        assert containers.wait(engine, name, timeout=_LONG) == 0
        with (
            archives.get(engine, name, "/opt/a") as stream,
            tarfile.open(mode="r|", fileobj=cast("Any", stream)) as archive,
        ):
            got = {member.name: _content(archive, member) for member in archive}
        assert got == {"a": None, "a/c": b"\xff\nof the container\n"}

    def test_from_a_file_and_from_pieces(
        self, engine: Engine, name: str, make: Callable[..., str], tmp_path: Path
    ) -> None:
        make("cat /opt/one /opt/two")
        (tmp_path / "one.tar").write_bytes(_tar(one=b"1" * 300_000))
        with (tmp_path / "one.tar").open("rb") as file:
            archives.put(engine, name, "/opt", file)
        archives.put(engine, name, "/opt", (bytes([byte]) for byte in _tar(two=b"2")))
        containers.start(engine, name)
        output, _ = _printed(containers.logs(engine, name, follow=True, timeout=_LONG))
        assert output == b"1" * 300_000 + b"2"

    def test_refused(self, engine: Engine, name: str, make: Callable[..., str]) -> None:
        make("true")
        wrong = [("amlexec-test-nobody", "/")]
        if not engine.features.is_podman:  # which makes the folder
            wrong.append((name, "/nowhere"))
        for container, folder in wrong:
            with pytest.raises(EngineAnswerError) as caught:
                # Larger than the socket's buffer: the refusal comes while we still send.
                archives.put(engine, container, folder, _tar(big=bytes(20_000_000)))
            assert caught.value.status == 404
        with pytest.raises(EngineAnswerError) as caught:
            archives.get(engine, name, "/not/there")
        assert caught.value.status == 404


class TestImages:
    @pytest.mark.parametrize(
        ("reference", "parts"),
        [
            ("a", ("a", "latest")),
            ("a/b:1", ("a/b", "1")),
            ("127.0.0.1:5000/a", ("127.0.0.1:5000/a", "latest")),
            ("127.0.0.1:5000/a:1", ("127.0.0.1:5000/a", "1")),
            ("a:1@sha256:0f", ("a", "sha256:0f")),
        ],
    )
    def test_reference_is_split(self, reference: str, parts: tuple[str, str]) -> None:
        assert images.split(reference) == parts

    def test_absent(self, engine: Engine) -> None:
        assert images.inspect(engine, "amlexec-test/absent:1") is None
        assert not images.remove(engine, "amlexec-test/absent:1")

    def test_pull_of_a_missing_image(self, engine: Engine, registry: str) -> None:
        with pytest.raises(EngineAnswerError, match="manifest unknown") as caught:
            images.pull(engine, f"{registry}/amlexec-test/absent:1")
        assert caught.value.status == 404

    def test_pull_without_a_registry(self, engine: Engine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(EngineAnswerError, match="connection refused"):
            images.pull(engine, f"127.0.0.1:{port}/amlexec-test/absent:1")

    def test_to_a_registry_and_back(
        self, engine: Engine, registry: str, reference: str, make: Callable[..., str], name: str
    ) -> None:
        make("echo it > /made")
        containers.start(engine, name)
        containers.wait(engine, name, timeout=_LONG)
        label = "amlexec-test.commit"
        identity = images.commit(engine, name, reference, changes=[f"LABEL {label}={name}", "ENV A=b"])
        assert [found["Id"] for found in images.find(engine, {label: name})] == [identity]
        containers.remove(engine, name)

        there = f"{registry}/{reference}"
        images.tag(engine, reference, there)
        steps: list[images.TransferProgress] = []
        digest = images.push(engine, there, progress=steps.append)
        assert digest.startswith("sha256:")
        # Podman says nothing of layers while it pushes.
        told = "digest: " if engine.features.is_podman else "Pushed"
        assert any(told in step.status for step in steps)
        images.remove(engine, there)
        images.remove(engine, reference)
        assert images.inspect(engine, identity) is None

        pulled = f"{registry}/{images.split(reference)[0]}@{digest}"
        images.pull(engine, pulled, progress=steps.append)
        found = images.inspect(engine, pulled) or {}
        assert found["Id"] == identity
        assert "A=b" in found["Config"]["Env"]
        last = "Download complete" if engine.features.is_podman else "Status: Downloaded newer image"
        assert steps[-1].status.startswith(last)
        images.remove(engine, pulled)

    def test_in_use(self, engine: Engine, reference: str, make: Callable[..., str], name: str) -> None:
        images.commit(engine, make("true"), reference)
        containers.remove(engine, name)
        containers.create(engine, {"Image": reference, "Cmd": ["true"]}, name=name)
        with pytest.raises(EngineAnswerError) as caught:
            images.remove(engine, reference)
        assert caught.value.status == 409
        containers.remove(engine, name)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    file = archive.extractfile(member)
    return file.read() if file else None


class _Speaker(NamedTuple):
    """A server, and the paths of the requests to it."""

    engine: Engine
    asked: list[str]


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Callable[..., _Speaker]]:
    """A server that sends its version, and then one of these answers to each connection."""
    with contextlib.ExitStack() as stack:

        def speak(*answers: bytes, version: str = "1.41") -> _Speaker:
            agreed = f"HTTP/1.1 200 OK\r\nApi-Version: {version}\r\nContent-Length: 2\r\n\r\nOK".encode()
            listening = stack.enter_context(socket.create_server(f"{tmp_path}/s", family=socket.AF_UNIX))
            there = _Speaker(Engine(f"unix://{tmp_path}/s"), [])
            thread = threading.Thread(
                target=_speak, args=(listening, (agreed, *answers), there.asked), daemon=True
            )
            thread.start()
            stack.callback(thread.join, _LONG)
            # Ends `accept` if fewer requests than answers have come.
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return there

        yield speak


def _speak(listening: socket.socket, answers: tuple[bytes, ...], asked: list[str]) -> None:
    left = list(answers)
    while left:
        try:
            connection, _ = listening.accept()
        except OSError:  # the test is over
            return
        with connection, connection.makefile("rb") as asking:
            line = asking.readline()
            if not line:
                continue  # a connection that only checks for a listener
            asked.append(line.split()[1].decode())
            head = list(iter(asking.readline, b"\r\n"))
            if any(line.lower().startswith(b"transfer-encoding: chunked") for line in head):
                while asking.readline() != b"0\r\n":
                    pass
                asking.readline()
            connection.sendall(left.pop(0))


def _http(body: bytes, status: str = "200 OK") -> bytes:
    # The server answers once per connection. A client that isn't told may send on one that is being closed.
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (body, b""))


def _frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
