"""Containers of a Docker engine: made, started, followed, waited for, ended, and files in and out of them.

`container` is an id or a name everywhere. Errors are those of `amlexec.docker.engine`.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker.engine import EngineAnswerError, EngineError, EngineLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from amlexec.docker.engine import Body, Engine, Stream

__all__ = [
    "STDERR",
    "STDOUT",
    "Frame",
    "Output",
    "attach",
    "create",
    "epoch",
    "find",
    "get_archive",
    "inspect",
    "is_link",
    "kill",
    "logs",
    "put_archive",
    "remove",
    "start",
    "state_of",
    "stop",
    "wait",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,255}")


class ContainerState(NamedTuple):
    """How a container is. Times in seconds since 1970, None for never."""

    status: str
    """`created`, `running`, `exited`, ... as the engine calls it."""
    began: float | None
    ended: float | None
    exit_code: int
    out_of_memory: bool
    labels: dict[str, str]
    is_mounted: bool
    """Whether folders of the engine's machine are mounted in it."""
    name: str = ""


STDOUT, STDERR = 1, 2
_SYSTEM_ERROR = 3
_HEADER = 8
"""Bytes in front of every frame: the stream's number, three zeros, the length, big end first."""
_GO_LINK = 1 << 27
"""A symbolic link, in a mode as Go has it."""


class Frame(NamedTuple):
    """A piece of what a container printed. `stream` is STDOUT or STDERR."""

    stream: int
    data: bytes


class Output:
    """What a container prints, by frames. `close` may be called from another thread: the frames then end."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        skip: tuple[int, int] = (0, 0),
        rest: Callable[[tuple[int, int]], Output] | None = None,
    ) -> None:
        self._engine = engine
        self._stream = stream
        self._skip = {STDOUT: skip[0], STDERR: skip[1]}
        self._known = dict(self._skip)
        self._rest = rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    @property
    def known(self) -> tuple[int, int]:
        """How many bytes of standard output and standard error have been read, what was skipped included."""
        return self._known[STDOUT], self._known[STDERR]

    def __iter__(self) -> Iterator[Frame]:
        """The frames as they come, without what is to be skipped.

        The end is that of the connection: ask `inspect` whether it is the container's too.

        Raises:
            EngineLostError: the engine ended in the middle.
            EngineAnswerError: it could not read the container's log.
        """
        yield from self._frames()
        if self._rest is not None and not self._stream.closed:
            with self._rest(self.known) as rest:
                for frame in rest:
                    self._known[frame.stream] += len(frame.data)
                    yield frame

    def _frames(self) -> Iterator[Frame]:
        """What each piece of the stream holds: of every line that is a frame, many come together."""
        held = b""
        for piece in self._stream.pieces():
            held += piece
            found: list[Frame] = []
            held = held[_split(held, found) :]
            for stream, data in _joined(found):
                if stream not in self._known:
                    raise self._unknown(stream, data)
                skipped = min(self._skip[stream], len(data))
                self._skip[stream] -= skipped
                self._known[stream] += len(data) - skipped
                if len(data) > skipped:
                    yield Frame(stream, data[skipped:])
        if held and not self._stream.closed:
            raise EngineLostError(
                "the Docker engine ended in the middle of a container's output", where=self._engine.address
            )

    def _unknown(self, stream: int, data: bytes) -> EngineError:
        if stream == _SYSTEM_ERROR:
            said = data.decode(errors="replace")
            return EngineAnswerError(said, status=200, where=self._engine.address)
        return EngineError(
            "the container's output is not in frames: it has a terminal", where=self._engine.address
        )


def _split(held: bytes, found: list[Frame]) -> int:
    """Add the whole frames at the beginning of `held` to `found`; how many bytes they are."""
    start = 0
    while len(held) - start >= _HEADER:
        end = start + _HEADER + int.from_bytes(held[start + 4 : start + _HEADER], "big")
        if end > len(held):
            break
        found.append(Frame(held[start], held[start + _HEADER : end]))
        start = end
    return start


def _joined(frames: list[Frame]) -> Iterator[Frame]:
    """The same with neighbours of one stream put together."""
    for stream, same in itertools.groupby(frames, key=lambda frame: frame.stream):
        yield Frame(stream, b"".join(frame.data for frame in same))


def create(engine: Engine, settings: Mapping[str, Any], *, name: str = "", platform: str = "") -> str:
    """Make a container from the engine's own settings (`Image`, `Cmd`, `HostConfig` …); its id.

    Ctrl-C meanwhile leaves no container behind.
    """
    query = {"name": name or None, "platform": platform or None}
    with _ctrl_c_waits() as came:
        made = str(engine.request("POST", "/containers/create", query=query, body=dict(settings))["Id"])
    if came:
        remove(engine, made, force=True)
        raise KeyboardInterrupt
    return made


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[list[int]]:
    """Let one Ctrl-C wait, where it would be a KeyboardInterrupt; what is given tells whether it came."""
    import signal
    import threading

    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not is_main:
        yield came
        return

    def note(number: int, _: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    except BaseException:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def stop(engine: Engine, container: str, grace: int) -> bool:
    """Ask a container to end, and end it after `grace` seconds; False where it is gone."""
    try:
        engine.request("POST", f"{_path(container)}/stop", query={"t": grace}, timeout=grace + 60.0)
    except EngineAnswerError as error:
        if error.status != 404:
            raise
        return False
    return True


def start(engine: Engine, container: str) -> None:
    """Start a container; one that runs already is left alone."""
    engine.request("POST", f"{_path(container)}/start")


def wait(
    engine: Engine, container: str, *, condition: str = "not-running", timeout: float | None = None
) -> int:
    """Wait for a container's end; its exit code (137 for SIGKILL and so on).

    `condition` is `not-running`, `next-exit` (ask before starting) or `removed`; `timeout` is in seconds.

    Raises:
        EngineTimeoutError: it still runs then.
        EngineLostError: the engine ended meanwhile; the container may still run.
    """
    query = {"condition": condition}
    answer = engine.request("POST", f"{_path(container)}/wait", query=query, timeout=timeout)
    if not isinstance(answer, dict):
        raise EngineLostError("the Docker engine ended while we waited", where=engine.address)
    if reason := (answer.get("Error") or {}).get("Message"):
        raise EngineError(f"waiting for the container failed: {reason}", where=engine.address)
    return int(answer["StatusCode"])


def kill(engine: Engine, container: str, signal: str = "KILL") -> bool:
    """Send a signal to a container's first process; False where the container is gone or does not run."""
    query = {"signal": signal}
    return _found(engine, "POST", f"{_path(container)}/kill", query, also=409)


def remove(engine: Engine, container: str, *, force: bool = False) -> bool:
    """Remove a container and its unnamed volumes, with `force` also while it runs; False where it is gone."""
    return _found(engine, "DELETE", f"{_path(container)}", {"force": force, "v": True})


def inspect(engine: Engine, container: str) -> dict[str, Any] | None:
    """Everything that the engine knows of a container, or None where there is none."""
    try:
        return dict(engine.request("GET", f"{_path(container)}/json"))
    except EngineAnswerError as error:
        if error.status == 404:
            return None
        raise


def state_of(engine: Engine, found: Mapping[str, Any]) -> ContainerState:
    """What `inspect` has found, as values that were checked.

    Raises:
        EngineError: the engine's answer is not of the form that it should be.
    """
    try:
        state, labels = found["State"], found["Config"]["Labels"] or {}
        code = state["ExitCode"]
        if not isinstance(state["Status"], str) or type(code) is not int or not 0 <= code <= 255:
            raise ValueError(f"its status is {state['Status']!r:.40} and its exit code {code!r:.40}")  # noqa: TRY301
        return ContainerState(
            state["Status"],
            epoch(state["StartedAt"]),
            epoch(state["FinishedAt"]),
            code,
            state.get("OOMKilled") is True,
            {str(name): str(value) for name, value in labels.items()},
            bool(found["HostConfig"].get("Mounts")),
            str(found.get("Name") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EngineError(
            f"the engine's answer about a container can't be read: {error!r:.200}", where=engine.address
        ) from None


def _path(container: str) -> str:
    if _NAME.fullmatch(container) is None:
        raise EngineError(f"{container[:80]!r} is no name or id of a container")
    return f"/containers/{container}"


def find(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The containers, running or not, that carry all these labels; "" as a value stands for any value."""
    wanted = [f"{name}={value}" if value else name for name, value in labels.items()]
    return list(engine.request("GET", "/containers/json", query={"all": True, "filters": {"label": wanted}}))


def logs(
    engine: Engine,
    container: str,
    *,
    follow: bool = False,
    since: str = "",
    skip: tuple[int, int] = (0, 0),
    timeout: float | None = None,
) -> Output:
    """What a container has printed, and with `follow` what it goes on to print until it ends.

    `since` is a time as the engine has it (`1700000000.123456789`). `skip` is how many bytes of standard
    output and standard error are known already. The engine's log driver `json-file` replaces bytes that are
    not UTF-8; `local` keeps every byte.
    """
    query = {"stdout": True, "stderr": True, "follow": follow, "since": since or None}
    stream = engine.stream("GET", f"{_path(container)}/logs", query=query, timeout=timeout)
    if not follow:
        return Output(engine, stream, skip)

    def rest(known: tuple[int, int]) -> Output:
        # Following a `local` log, Docker 20.10 stops at the container's end with up to 2 MB still unsent.
        return logs(engine, container, since=since, skip=known, timeout=timeout)

    return Output(engine, stream, skip, rest)


def attach(engine: Engine, container: str, *, timeout: float | None = None) -> Output:
    """What a container prints from now on, byte for byte. Attach before `start` to miss nothing."""
    query = {"stream": True, "stdout": True, "stderr": True}
    return Output(engine, engine.stream("POST", f"{_path(container)}/attach", query=query, timeout=timeout))


def put_archive(engine: Engine, container: str, folder: str, archive: Body) -> None:
    """Unpack a tar archive (bytes, a file or an iterable) in a folder of the container, running or not."""
    headers = {"Content-Type": "application/x-tar"}
    # No limit: the engine is silent while it unpacks.
    engine.request(
        "PUT",
        f"{_path(container)}/archive",
        query={"path": folder},
        body=archive,
        headers=headers,
        timeout=None,
    )


def get_archive(engine: Engine, container: str, path: str, *, timeout: float | None = None) -> Stream:
    """A file or folder of the container as a tar archive, for `tarfile.open(fileobj=…, mode="r|")`."""
    return engine.stream("GET", f"{_path(container)}/archive", query={"path": path}, timeout=timeout)


def is_link(engine: Engine, container: str, path: str) -> bool:
    """Whether a path in a container is a symbolic link. Raises EngineAnswerError where there is none."""
    with engine.stream("HEAD", f"{_path(container)}/archive", query={"path": path}) as stream:
        told = base64.b64decode(stream.header("X-Docker-Container-Path-Stat"))
    return bool(json.loads(told)["mode"] & _GO_LINK)


def epoch(text: str) -> float | None:
    """The engine's time (nanoseconds, `Z`) in seconds since 1970; None for its year 1, which means never."""
    from datetime import datetime

    if text.startswith("0001"):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def _found(engine: Engine, method: str, path: str, query: Mapping[str, Any], also: int = 404) -> bool:
    try:
        engine.request(method, path, query=query)
    except EngineAnswerError as error:
        if error.status in {404, also}:
            return False
        raise
    return True
