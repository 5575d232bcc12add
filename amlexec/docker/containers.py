"""Containers of a Docker engine: made, started, followed, waited for, ended, and files in and out of them.

`container` is an id or a name everywhere. Errors are those of `amlexec.docker.errors`.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import probe
from amlexec.docker.errors import EngineAnswerError, EngineError
from amlexec.docker.names import container_name
from amlexec.docker.streams import STDERR, STDOUT, Archive, ContainerOutput, Frame, must_be_fine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from amlexec.docker.client import Engine

__all__ = [
    "STDERR",
    "STDOUT",
    "Frame",
    "ContainerOutput",
    "create",
    "epoch",
    "execute",
    "find",
    "get_archive",
    "is_link",
    "inspect",
    "kill",
    "logs",
    "put_archive",
    "remove",
    "rename",
    "start",
    "state_of",
    "stop",
    "wait",
]


_GO_LINK = 1 << 27
"""A symbolic link, in a mode as Go has it."""
_HEAD_TIMEOUT_S = 60.0


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


def create(engine: Engine, settings: Mapping[str, Any], *, name: str = "", platform: str = "") -> str:
    """Make a container from the engine's own settings (`Image`, `Cmd`, `HostConfig` …); its id.

    Ctrl-C meanwhile leaves no container behind.
    """
    with _ctrl_c_waits() as came, engine.asked() as api:
        made = api.create_container_from_config(dict(settings), name or None, platform or None)
    identity = str(made["Id"])
    if came:
        remove(engine, identity, force=True)
        raise KeyboardInterrupt
    return identity


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


def start(engine: Engine, container: str) -> None:
    """Start a container; one that runs already is left alone."""
    with engine.asked() as api:
        api.start(container_name(container))


def stop(engine: Engine, container: str, grace: int) -> bool:
    """Send TERM to a container, and after `grace` seconds KILL; False where it is gone."""
    with _unless(404) as told, engine.asked() as api:
        api.stop(container_name(container), timeout=grace)
    return not told


def rename(engine: Engine, container: str, name: str) -> None:
    """Give a container another name. Raises EngineAnswerError where it has it already, or another one has."""
    with engine.asked() as api:
        api.rename(container_name(container), name)


def wait(
    engine: Engine, container: str, *, condition: str = "not-running", timeout: float | None = None
) -> int:
    """Wait for a container's end; its exit code (137 for SIGKILL and so on).

    `condition` is `not-running`, `next-exit` (ask before starting) or `removed`; `timeout` is in seconds.

    Raises:
        EngineTimeoutError: it still runs then.
        EngineLostError: the engine ended meanwhile; the container may still run.
    """
    with engine.asked(patient=True) as api:
        answer = api.wait(container_name(container), timeout=timeout, condition=condition)
    if reason := (answer.get("Error") or {}).get("Message"):
        raise EngineError(f"waiting for the container failed: {reason}", where=engine.address)
    return int(answer["StatusCode"])


def kill(engine: Engine, container: str, signal: str = "KILL") -> bool:
    """Send a signal to a container's first process; False where the container is gone or does not run."""
    with _unless(404, 409) as told, engine.asked() as api:
        api.kill(container_name(container), signal)
    return not told


def remove(engine: Engine, container: str, *, force: bool = False) -> bool:
    """Remove a container and its unnamed volumes, with `force` also while it runs; False where it is gone."""
    with _unless(404) as told, engine.asked() as api:
        api.remove_container(container_name(container), v=True, force=force)
    return not told


def inspect(engine: Engine, container: str) -> dict[str, Any] | None:
    """Everything that the engine knows of a container, or None where there is none."""
    plain = engine.look(f"/containers/{container_name(container)}/json")
    if isinstance(plain, dict) or plain == probe.ABSENT:
        return plain if isinstance(plain, dict) else None
    with _unless(404), engine.asked() as api:
        return dict(api.inspect_container(container_name(container)))
    return None


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


def find(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The containers, running or not, that carry all these labels; "" as a value stands for any value."""
    wanted = [f"{name}={value}" if value else name for name, value in labels.items()]
    with engine.asked() as api:
        return list(api.containers(all=True, filters={"label": wanted}))


def logs(
    engine: Engine,
    container: str,
    *,
    follow: bool = False,
    since: str = "",
    skip: tuple[int, int] = (0, 0),
    timeout: float | None = None,
) -> ContainerOutput:
    """What a container has printed, and with `follow` what it goes on to print until it ends.

    `since` is a time as the engine has it (`1700000000.123456789`). `skip` is how many bytes of standard
    output and standard error are known already. The engine's log driver `json-file` replaces bytes that are
    not UTF-8; `local` keeps every byte.
    """
    query = {"stdout": 1, "stderr": 1, "follow": int(follow), **({"since": since} if since else {})}
    with engine.asked() as api:
        # docker-py's own `logs` merges the two streams.
        response = api.get(
            f"{api.base_url}/v{api.api_version}/containers/{container_name(container)}/logs",
            params=query,
            stream=True,
            timeout=timeout,
        )
        must_be_fine(response, engine.address)
    if not follow:
        return ContainerOutput(engine.address, response, skip)

    def rest(known: tuple[int, int]) -> ContainerOutput:
        # Following a `local` log, Docker 20.10 stops at the container's end with up to 2 MB still unsent.
        return logs(engine, container, since=since, skip=known, timeout=timeout)

    return ContainerOutput(engine.address, response, skip, rest)


def execute(
    engine: Engine,
    container: str,
    command: Sequence[str],
    told: Callable[[bytes], object],
    *,
    variables: Mapping[str, str] | None = None,
    given: bytes | None = None,
) -> int | None:
    """Run a command in a container that runs; its exit code, None where the engine does not know it.

    `told` is given what it prints. `given` is its standard input, which nobody keeps and no list of
    processes shows.
    """
    with engine.asked(patient=True) as api:
        made = api.exec_create(
            container_name(container),
            list(command),
            environment=dict(variables or {}),
            stdin=given is not None,
            workdir="/",
        )["Id"]
        # docker-py reads from the socket itself, behind the back of what has read the answer's head and may
        # hold the first words already.
        response = api.post(
            f"{api.base_url}/v{api.api_version}/exec/{made}/start",
            json={"Detach": False, "Tty": False},
            stream=True,
            timeout=None,
        )
        must_be_fine(response, engine.address)
        with ContainerOutput(engine.address, response) as output:
            if given is not None:
                output.give(given)
            for frame in output:
                told(frame.data)
        code = api.exec_inspect(made)["ExitCode"]
    return None if code is None else int(code)


def put_archive(
    engine: Engine, container: str, folder: str, archive: bytes | IO[bytes] | Iterable[bytes]
) -> None:
    """Unpack a tar archive (bytes, a file or an iterable) in a folder of the container, running or not."""
    # No limit: the engine is silent while it unpacks.
    with engine.asked(patient=True) as api:
        api.put_archive(container_name(container), folder, archive)


def get_archive(engine: Engine, container: str, path: str) -> Archive:
    """A file or folder of the container as a tar archive, for `tarfile.open(fileobj=…, mode="r|")`."""
    with engine.asked(patient=True) as api:
        pieces, _ = api.get_archive(container_name(container), path)
    return Archive(engine.address, pieces)


def is_link(engine: Engine, container: str, path: str) -> bool:
    """Whether a path in a container is a symbolic link. Raises EngineAnswerError where there is none."""
    with engine.asked() as api:
        # docker-py asks only for the whole archive.
        response = api.head(
            f"{api.base_url}/v{api.api_version}/containers/{container_name(container)}/archive",
            params={"path": path},
            timeout=_HEAD_TIMEOUT_S,
        )
        must_be_fine(response, engine.address)
        told = base64.b64decode(response.headers.get("X-Docker-Container-Path-Stat", ""))
        return bool(json.loads(told)["mode"] & _GO_LINK)


def epoch(text: str) -> float | None:
    """The engine's time (nanoseconds, `Z`) in seconds since 1970; None for its year 1, which means never."""
    from datetime import datetime

    if text.startswith("0001"):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[list[int]]:
    """Go on where the engine refuses with one of these statuses, which is then in the list."""
    told: list[int] = []
    try:
        yield told
    except EngineAnswerError as error:
        if error.status not in statuses:
            raise
        told.append(error.status)
