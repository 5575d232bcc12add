"""The files of a run in a claim, which only Pods can reach: commands in a Pod read and write them.

It is the run's own Pod while it runs. Before and after, it is a small one that all commands share, and that
ends by itself once it has had nothing to do for a while.
"""

from __future__ import annotations

import io
import json
import re
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import TargetError, UnreachableError
from amlexec.kubernetes import jobs
from amlexec.kubernetes.cluster import EVENTS, JOBS, PODS, Cluster
from amlexec.kubernetes.phase import phase_of, terminated
from amlexec.kubernetes.sdk import ClusterAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.kubernetes.place import Place

__all__ = ["BLOCK", "ClaimStorage", "events_of", "pod_of"]

BLOCK = 4 << 20
"""The most bytes of a file that are read at once."""
_IDLE_S = 120
_START_TIMEOUT_S = 20 * 60.0
"""Until the shared Pod runs: its node may have to get the image first."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
_TRIES = 5
_OPTIONS = ("-I", "-S", "-c")
_USED = "/tmp/amlexec-used"  # noqa: S108 - of the container
_ABOUT = "about.json"
"""The file that a folder is created with."""
_ABSENT, _SHORT, _FOREIGN = 4, 5, 6
"""Exit codes of the program below: no such folder; a file ends before its size; somebody else's folder."""
_LENGTH = re.compile(rb"(-1|[0-9]{1,15})\n")
_SERVE = f"""\
import fcntl, os, time
used = open({_USED!r}, "w")
while True:
    time.sleep(1)
    try:
        fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        continue
    if time.time() - os.fstat(used.fileno()).st_mtime > {_IDLE_S}:
        break
    fcntl.flock(used, fcntl.LOCK_UN)
"""
_AGENT = f"""\
import fcntl, os, sys
verb, root, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
if os.path.exists({_USED!r}):
    used = open({_USED!r}, "w")
    fcntl.flock(used, fcntl.LOCK_SH)
    os.utime({_USED!r})
out = sys.stdout.buffer
if verb == "put":
    os.makedirs(root, exist_ok=True)
    for name, left in zip(sys.argv[4::2], map(int, sys.argv[5::2])):
        path = os.path.join(root, name)
        with open(path + ".new", "wb") as file:
            while left:
                data = sys.stdin.buffer.read(min(left, 1 << 20))
                if not data:
                    sys.exit({_SHORT})
                file.write(data)
                left -= len(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
elif verb == "read":
    for name, start in zip(sys.argv[4::2], sys.argv[5::2]):
        try:
            file = open(os.path.join(root, name), "rb")
        except FileNotFoundError:
            out.write(b"-1\\n")
            continue
        # It may grow meanwhile.
        left = max(0, min(size, os.fstat(file.fileno()).st_size - int(start)))
        out.write(b"%d\\n" % left)
        file.seek(int(start))
        while left:
            data = file.read(min(left, 1 << 20))
            if not data:
                sys.exit({_SHORT})
            out.write(data)
            left -= len(data)
    out.flush()
elif verb == "delete":
    import json, shutil
    gone = root + ".gone"
    shutil.rmtree(gone, ignore_errors=True)
    if sys.argv[4:]:
        try:
            with open(os.path.join(root, {_ABOUT!r})) as file:
                about = json.load(file)
        except FileNotFoundError:
            sys.exit({_ABSENT})
        except ValueError:
            about = {{}}
        if not json.loads(sys.argv[4]).items() <= about.items():
            sys.exit({_FOREIGN})
    try:
        os.rename(root, gone)
    except FileNotFoundError:
        sys.exit({_ABSENT})
    shutil.rmtree(gone)
"""


class _Reach(NamedTuple):
    """Where a run's files can be reached."""

    pod: str
    root: str
    is_own: bool
    """Whether it is the run's own Pod, which may end at any time."""


def _split(said: bytes | bytearray, count: int) -> list[bytes | None] | None:
    """What was read of so many files, None for what does not exist; None if that is not what was said."""
    found: list[bytes | None] = []
    at = 0
    for _ in range(count):
        head = _LENGTH.match(said, at)
        if head is None:
            return None
        at = head.end() + max(0, int(head[1]))
        found.append(bytes(said[head.end() : at]) if head[1] != b"-1" else None)
    return found if at == len(said) else None


class ClaimStorage:
    """The folder of one run.

    `owner` is that of this project: only for its own runs a Pod is started. `python` is that of all images.
    """

    def __init__(self, place: Place, cluster: Cluster, owner: str, python: str) -> None:
        """No I/O."""
        self._python = (python, *_OPTIONS)
        self._place, self._cluster, self._owner = place, cluster, owner
        self.address = f"{cluster.address}/{place.claim}"
        self._files: str = ""
        """The name of the shared Pod, once it was seen to run."""

    def create(self, metadata: dict[str, str], name: str, source: IO[bytes]) -> None:
        """See `Storage.create`."""
        self._put([(_ABOUT, io.BytesIO(json.dumps(metadata).encode())), (name, source)])

    def metadata(self) -> dict[str, str] | None:
        """See `Storage.metadata`."""
        data = self.get(_ABOUT, 1 << 16)
        if data is None:
            return None
        try:
            found = json.loads(data)
            return {str(name): str(value) for name, value in found.items()}
        except (ValueError, AttributeError):
            return {}

    def delete(self, metadata: dict[str, str] | None = None) -> bool:
        """See `Storage.delete`."""
        code = self._execute("delete", *([] if metadata is None else [json.dumps(metadata)]))
        if code == _FOREIGN:
            raise PermissionError
        return code != _ABSENT

    def put(self, name: str, source: bytes | IO[bytes]) -> None:
        """See `Storage.put`."""
        self._put([(name, io.BytesIO(source) if isinstance(source, bytes) else source)])

    def _put(self, files: Sequence[tuple[str, IO[bytes]]]) -> None:
        words = (word for name, file in files for word in (name, str(file.seek(0, io.SEEK_END))))
        self._execute("put", *words, given=[file for _, file in files])

    def get(self, name: str, limit: int) -> bytes | None:
        """A small file, or its first `limit` bytes; None if it does not exist."""
        return self._read([(name, 0)], limit)[0]

    def read(self, name: str, start: int) -> bytes:
        """See `Storage.read`."""
        return self.read_several([(name, start)])[0]

    def read_several(self, wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        """See `Storage.read_several`."""
        return [data or b"" for data in self._read(wanted, BLOCK)]

    def _read(self, wanted: Sequence[tuple[str, int]], size: int) -> list[bytes | None]:
        """At most `size` bytes of each file from its position; None for what does not exist."""
        held = bytearray()
        self._execute("read", *(str(each) for one in wanted for each in one), size=size, sink=held)
        found = _split(held, len(wanted))
        if found is None:
            raise UnreachableError(
                "what a command in the container said was cut off, or can't be read", where=self.address
            )
        return found

    def _execute(
        self,
        verb: str,
        *words: str,
        size: int = 0,
        given: Sequence[IO[bytes]] = (),
        sink: bytearray | None = None,
    ) -> int:
        """Let the program in a Pod do something; its exit code is 0, _ABSENT or _FOREIGN.

        Raises:
            UnreachableError, TargetError
        """
        into = bytearray() if sink is None else sink
        for attempt in range(_TRIES):
            is_last = attempt + 1 == _TRIES
            reach = self._reach()
            into.clear()
            command = [*self._python, _AGENT, verb, reach.root, str(size), *words]
            pieces = (piece for file in given for piece in _pieces(file))
            try:
                done = self._cluster.execute(reach.pod, jobs.CONTAINER, command, into.extend, pieces)
            except (UnreachableError, ClusterAnswerError):
                self._files = ""
                if is_last:
                    raise
            else:
                # At its end, the run ends whatever else is in its container.
                if done.code in {0, _ABSENT, _FOREIGN}:
                    return done.code
                if is_last or not reach.is_own:
                    last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.code}"
                    raise TargetError(
                        f"the files of the run can't be reached: {last[:300]}", where=self.address
                    )
            time.sleep(_FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _reach(self) -> _Reach:
        """A Pod that runs, and has the claim; starts one if need be."""
        own = pod_of(self._cluster, self._place.name)
        if own is not None and _runs(own):
            return _Reach(_name(own), jobs.MOUNT, is_own=True)
        if not self._files:
            self._files = self._started()
        return _Reach(self._files, f"{jobs.MOUNT}/{self._place.name}", is_own=False)

    def _started(self) -> str:
        """The name of the shared Pod, which runs. Raises TargetError, UnreachableError."""
        if self._place.owner != self._owner:
            raise TargetError(
                "the run was submitted from another computer, or its project was moved since",
                where=self.address,
                hint=f"its files are in the folder {self._place.name} of the claim {self._place.claim}",
            )
        name = jobs.files_name(self._place)
        until, pause, told = time.monotonic() + _START_TIMEOUT_S, _FIRST_PAUSE_S, ""
        begun = time.monotonic()
        while True:
            pod = pod_of(self._cluster, name)
            if pod is not None and _runs(pod):
                return _name(pod)
            job = self._cluster.get(JOBS, name)
            if job is None:
                self._cluster.create(JOBS, jobs.files_job(self._place, [*self._python, _SERVE]))
            elif _is_over(job) or (pod is not None and terminated(pod) is not None):
                self._cluster.delete(
                    JOBS, name
                )  # it had nothing to do, and the cluster has not deleted it yet
            elif time.monotonic() - begun > 1:
                view = phase_of(job, pod, events_of(self._cluster, pod, name), time.monotonic() - begun)
                if view.phase == "failed" or time.monotonic() > until:
                    why = view.why or "it does not begin"
                    self._cluster.delete(JOBS, name)
                    raise TargetError(
                        f"the Pod that reaches the claim can't be started: {why}", where=self.address
                    )
                if view.why and view.why != told:
                    told = view.why
                    _say(f"waiting for the Pod that reaches the claim: {told}")
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_S)


def pod_of(cluster: Cluster, job: str) -> dict[str, Any] | None:
    """The newest Pod of a Job; None if there is none."""
    found = cluster.find(PODS, labelSelector=f"{jobs.LABEL}={job}")
    found = [each for each in found if isinstance(each.get("metadata"), dict)]
    return max(found, key=lambda each: str(each["metadata"].get("creationTimestamp")), default=None)


def events_of(cluster: Cluster, pod: dict[str, Any] | None, job: str) -> list[dict[str, Any]]:
    """The events of a Pod, else of its Job; none if the login may not read them."""
    about = _name(pod) if pod is not None else job
    try:
        return cluster.find(EVENTS, fieldSelector=f"involvedObject.name={about}")
    except ClusterAnswerError:
        return []


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _runs(pod: dict[str, Any]) -> bool:
    return phase_of({}, pod, (), 0).phase == "running" and not pod["metadata"].get("deletionTimestamp")


def _is_over(job: dict[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(
        each.get("status") == "True" for each in conditions if each.get("type") in {"Complete", "Failed"}
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while data := file.read(1 << 20):
        yield data


def _say(text: str) -> None:
    from amlexec.console import say

    say(text)
