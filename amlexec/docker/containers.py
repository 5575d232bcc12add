"""Containers of a Docker engine: create, start, follow, wait, stop.

`container` is always an id or a name. Errors are those of `amlexec.docker.errors`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import interrupts
from amlexec.docker import probe
from amlexec.docker.errors import EngineAnswerError, EngineError, EngineTimeoutError
from amlexec.docker.names import container_name
from amlexec.docker.streams import STDERR, STDOUT, ContainerOutput, Frame, must_be_fine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amlexec.docker.client import Engine
    from amlexec.docker.polled_output import PolledOutput

__all__ = [
    "STDERR",
    "STDOUT",
    "Frame",
    "ContainerOutput",
    "create",
    "epoch",
    "execute",
    "find",
    "inspect",
    "kill",
    "logs",
    "remove",
    "rename",
    "start",
    "state_of",
    "stop",
    "wait",
]

_REMOVAL_TIMEOUT_S = 30.0
"""How long another process's removal of a container may take."""


class ContainerState(NamedTuple):
    """The state of a container. Times are in seconds since 1970; None for never."""

    status: str
    """The engine's word: `created`, `running`, `exited`, ..."""
    began: float | None
    ended: float | None
    exit_code: int
    out_of_memory: bool
    labels: dict[str, str]
    is_mounted: bool
    """Whether folders of the engine's machine are mounted in it."""
    name: str = ""


def create(engine: Engine, settings: Mapping[str, Any], *, name: str = "", platform: str = "") -> str:
    """Create a container from settings in the engine's form (`Image`, `Cmd`, `HostConfig` …); returns its id.

    Ctrl-C during the call leaves no container behind.
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
    """Delay a first Ctrl-C until the end of the block; the list is not empty if one came."""
    import signal
    import threading

    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not interrupts.is_raised_by(before) or not is_main:
        yield came
        return

    def note(number: int, _: object) -> None:
        interrupts.remember()
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
    """Start a container. Idempotent."""
    with engine.asked() as api:
        api.start(container_name(container))


def stop(engine: Engine, container: str, grace: int) -> bool:
    """Send TERM to a container, and after `grace` seconds KILL; False if it does not exist."""
    with _unless(404) as refused, engine.asked() as api:
        api.stop(container_name(container), timeout=grace)
    return not refused


def rename(engine: Engine, container: str, name: str) -> None:
    """Rename a container. Raises EngineAnswerError if it or another container already has the name."""
    with engine.asked() as api:
        api.rename(container_name(container), name)


def wait(
    engine: Engine, container: str, *, condition: str = "not-running", timeout: float | None = None
) -> int:
    """Wait until a container ends; returns its exit code (such as 137 for SIGKILL).

    `condition` is `not-running`, `next-exit` (call before starting) or `removed`; `timeout` is in seconds.

    Raises:
        EngineTimeoutError: it is still running after `timeout`.
        EngineLostError: the connection broke; the container may still be running.
    """
    with engine.asked(patient=True) as api:
        answer = api.wait(container_name(container), timeout=timeout, condition=condition)
    if reason := (answer.get("Error") or {}).get("Message"):
        raise EngineError(f"waiting for the container failed: {reason}", where=engine.address)
    return int(answer["StatusCode"])


def kill(engine: Engine, container: str, signal: str = "KILL") -> bool:
    """Send a signal to a container's first process; False if it does not exist or is not running."""
    with _unless(404, 409) as refused, engine.asked() as api:
        api.kill(container_name(container), signal)
    return not refused


def remove(engine: Engine, container: str, *, force: bool = False) -> bool:
    """Remove a container and its unnamed volumes, with `force` even if it runs; False if there is none.

    If another process is removing it, waits until it is gone; then the result is False, too.
    """
    try:
        with _unless(404) as refused, engine.asked() as api:
            api.remove_container(container_name(container), v=True, force=force)
    except EngineAnswerError as error:
        if error.status != 409 or not force or not _is_gone_soon(engine, container):
            raise
        return False
    return not refused


def _is_gone_soon(engine: Engine, container: str) -> bool:
    """Whether a container is removed within the timeout."""
    try:
        with _unless(404):
            wait(engine, container, condition="removed", timeout=_REMOVAL_TIMEOUT_S)
    except EngineTimeoutError:
        return False
    return True


def inspect(engine: Engine, container: str) -> dict[str, Any] | None:
    """The engine's description of a container, or None if it does not exist."""
    plain = engine.look(f"/containers/{container_name(container)}/json")
    if isinstance(plain, dict) or plain == probe.ABSENT:
        return plain if isinstance(plain, dict) else None
    with _unless(404), engine.asked() as api:
        return dict(api.inspect_container(container_name(container)))
    return None


def state_of(engine: Engine, found: Mapping[str, Any]) -> ContainerState:
    """Check and convert the result of `inspect`.

    Raises:
        EngineError: the engine's answer has an unexpected form.
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
            any(one["Type"] == "bind" for one in found.get("Mounts") or ()),
            str(found.get("Name") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EngineError(
            f"the engine's answer about a container can't be read: {error!r:.200}", where=engine.address
        ) from None


def find(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All containers, running or not, with all these labels; "" stands for any value."""
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
) -> ContainerOutput | PolledOutput:
    """A container's output so far, and with `follow` until it ends.

    `since` is a time in the engine's form (`1700000000.123456789`). `skip` is how many bytes of standard
    output and standard error to leave out. The engine's log driver `json-file` replaces bytes that are not
    UTF-8; `local` keeps every byte.
    """
    output = _logs(engine, container, {"follow": int(follow), "since": since}, timeout, skip)
    if not follow:
        return output
    if output.is_of_podman:
        from amlexec.docker.polled_output import PolledOutput

        output.close()

        def ask(moment: str) -> ContainerOutput:
            return _logs(engine, container, {"timestamps": 1, "since": moment or since}, timeout)

        return PolledOutput(ask, lambda: _is_running(engine, container), skip)

    def rest(known: tuple[int, int]) -> ContainerOutput:
        # Following a `local` log, Docker 20.10 stops at the container's end with up to 2 MB still unsent.
        return _logs(engine, container, {"since": since}, timeout, known)

    output.read_after(rest)
    return output


def _is_running(engine: Engine, container: str) -> bool:
    found = inspect(engine, container)
    return found is not None and state_of(engine, found).status not in {"exited", "dead"}


def _logs(
    engine: Engine,
    container: str,
    query: Mapping[str, str | int],
    timeout: float | None,
    skip: tuple[int, int] = (0, 0),
) -> ContainerOutput:
    asked = {"stdout": 1, "stderr": 1, **{name: value for name, value in query.items() if value}}
    with engine.asked() as api:
        # docker-py's own `logs` merges the two streams.
        response = api.get(
            f"{api.base_url}/v{api.api_version}/containers/{container_name(container)}/logs",
            params=asked,
            stream=True,
            timeout=timeout,
        )
        must_be_fine(response, engine.address)
    return ContainerOutput(engine.address, response, skip)


def execute(
    engine: Engine,
    container: str,
    command: Sequence[str],
    sink: Callable[[bytes], object],
    *,
    variables: Mapping[str, str] | None = None,
    given: bytes | None = None,
) -> int | None:
    """Run a command in a running container; returns its exit code, or None if the engine does not know it.

    `sink` is called with its output. `given` is its standard input, which is neither stored nor visible in a
    process list.
    """
    with engine.asked(patient=True) as api:
        made = api.exec_create(
            container_name(container),
            list(command),
            environment=dict(variables or {}),
            stdin=given is not None,
            workdir="/",
        )["Id"]
        # docker-py reads from the raw socket, and misses bytes that are already in the response's buffer.
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
                sink(frame.data)
        code = api.exec_inspect(made)["ExitCode"]
    return None if code is None else int(code)


def epoch(text: str) -> float | None:
    """The engine's time (nanoseconds, `Z`) in seconds since 1970; None for the year 1, which means never."""
    from datetime import datetime

    if text.startswith("0001"):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[list[int]]:
    """Ignore a refusal with one of these HTTP statuses, and add the status to the list."""
    refused: list[int] = []
    try:
        yield refused
    except EngineAnswerError as error:
        if error.status not in statuses:
            raise
        refused.append(error.status)
