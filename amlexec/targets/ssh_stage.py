"""Updates a project's copy on a machine, the mirror, to a snapshot: only the difference is sent."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.snapshots import transfer
from amlexec.ssh.stdin import flowing
from amlexec.targets import answers, ssh_send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from tarfile import TarFile

    from amlexec.targets.ssh_verbs import Verbs
    from amlexec.values import Project

__all__ = ["Mirror", "send"]

_AGAIN = 75
"""Exit code of `stage`: another snapshot was sent in between."""
_TRIES = 6


class Mirror(NamedTuple):
    """The copy of a project on a machine."""

    project: Project
    name: str
    verbs: Verbs
    runtime: str
    """The digest of the runtime's files."""
    machine: str


def send(
    mirror: Mirror,
    verb: str,
    name: str,
    tree: str,
    look: Callable[[], Mapping[str, str]],
    add: Callable[[TarFile], object],
) -> None:
    """Send a snapshot with what `add` adds, for the run or the array `name`.

    `look` gets what the machine has already, as `answers.read_look`.

    Raises:
        TargetError: the machine does not accept it, or other programs keep sending other snapshots.
    """
    for number in range(_TRIES):
        looked = look()
        # If others keep sending other snapshots, the last attempt uses a copy of its own.
        is_alone = number == _TRIES - 1
        old = "" if is_alone else looked.get("tree", "")
        changes = transfer.difference(mirror.project, old, tree)
        if changes is None:
            # The machine has a snapshot that no longer exists locally: send everything.
            _forget(mirror)
            continue
        copy = f"{mirror.name}.{name}.once" if is_alone else mirror.name
        pack = partial(ssh_send.pack, mirror.project, changes, add, runtime="runtime" not in looked)
        code, stderr = _send(mirror, pack, verb, name, mirror.runtime, copy, old, tree, mirror.name)
        if code == 0:
            mirror.verbs.arrived()
            return
        if code != _AGAIN:
            raise answers.failure("the snapshot could not be sent", stderr, mirror.machine)
    raise TargetError(
        "another program keeps changing the project's copy on the machine", where=mirror.machine
    )


def _forget(mirror: Mirror) -> None:
    answer = mirror.verbs.run("forget", mirror.name)
    if answer.exit_code != 0:
        raise answers.failure("the project's copy can't be removed", answer.stderr, mirror.machine)


def _send(mirror: Mirror, pack: Callable[[IO[bytes]], None], *words: str) -> tuple[int, str]:
    """Send the archive of `pack` to a verb; returns its exit code and standard error."""
    with (
        flowing(pack) as archive,
        mirror.verbs.stream(*words, input=archive, expects_more=True) as channel,
    ):
        ssh_send.show_waiting(channel.stdout, mirror.machine)
        return channel.wait(), channel.stderr
