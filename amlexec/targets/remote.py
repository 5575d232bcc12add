"""A run as a process of another machine, over SSH, in a folder of the user's there.

Its folder there is laid out as a run's folder is here, and the same supervisor watches it. What goes over is
what the machine lacks of the snapshot; what comes back are the logs, by byte offset, metrics and outputs.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec import snapshot, transfer
from amlexec.errors import ConfigurationError, TargetError
from amlexec.history import Interpreter
from amlexec.runtime import HERE
from amlexec.ssh_words import UnreachableError
from amlexec.targets import Launch, State
from amlexec.targets.folders import bring_home, no_script
from amlexec.targets.host import read_state
from amlexec.targets.patience import Patience
from amlexec.targets.unpacking import extract

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.history import RunPaths
    from amlexec.locks import Held
    from amlexec.model import Plan, Project
    from amlexec.ssh import SSHConnection

__all__ = ["RemoteTarget"]

_AGAIN = 75
"""Exit code of `stage`: another snapshot came in between."""
_STOP_SECONDS = 60.0
_TRIES = 5


class RemoteTarget:
    """Runs on a Linux machine that the user manages."""

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        self._project = project
        self._connection = connection
        self._script = (HERE / "host.sh").read_text("utf-8")
        self._runtime = _digest_of_runtime()
        # The mirror of a project there belongs to this folder of this machine.
        owner = f"{_machine()}\0{project.root}"
        self._mirror = f"{project.name[:40]}-{hashlib.sha256(owner.encode()).hexdigest()[:12]}"

    def check(self, plan: Plan) -> Launch:
        """See `Target.check`."""
        known = self._look(plan.target.python_location)
        system = known.get("system", "")
        if not system.startswith("Linux"):
            raise TargetError(
                f"runs need Linux, and this machine is {system or 'something else'}",
                where=self._connection.name,
            )
        if "version" not in known:
            raise ConfigurationError(
                f"pythonLocation is {plan.target.python_location!r}, and there is no such Python on "
                f"{self._connection.name}",
                where=str(plan.target.place),
                hint="give the path of a Python interpreter on that machine",
            )
        script = f"./{plan.script}" if plan.script.startswith("-") else plan.script
        launch = Launch(
            argv=(known["python"], script, *plan.arguments),
            python=Interpreter(known["python"], known["version"]),
            platform=system.lower().replace(" ", "-"),
            environment=self._environment(plan, known["home"]),
        )
        if plan.framework == "PySpark":
            from amlexec.targets import pyspark

            return pyspark.remote(plan, launch, self._connection)
        return launch

    def _environment(self, plan: Plan, home: str) -> dict[str, str]:
        environment = {"PYTHONUNBUFFERED": "1"}
        shared = plan.target.native_shared_directory
        if shared:
            whole = shared.replace("~", home, 1) if shared.startswith("~/") else shared
            environment["AZUREML_NATIVE_SHARE_DIRECTORY"] = f"{whole.rstrip('/')}/{self._project.name}/"
        environment.update(plan.environment_variables)
        site = f"{home}/.amlexec/runtime/{self._runtime}/site"
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{site}:{before}" if before else site
        return environment

    def _look(self, python: str) -> dict[str, str]:
        answer = self._verb("look", python, self._runtime, self._mirror)
        return dict(line.partition(" ")[::2] for line in answer.splitlines())

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. Only what the machine lacks is sent."""
        if plan.script not in snapshot.files(self._project, tree):
            raise no_script(self._project, plan)
        for _ in range(_TRIES):
            known = self._look(plan.target.python_location)
            old = known.get("tree", "")
            changes = transfer.difference(self._project, old, tree)
            if changes is None:
                # What is there is a snapshot that is not known here any more: begin anew.
                self._verb("forget", self._mirror)
                continue
            with tempfile.TemporaryFile() as archive:
                self._pack(archive, changes, whole="runtime" not in known)
                archive.seek(0)
                answer = self._connection.run(
                    f'{self._script}\nstage "$@"\n',
                    *(paths.folder.name, self._runtime, self._mirror, old, tree),
                    input=archive,
                    timeout=None,
                )
            if answer.exit_code == 0:
                (paths.control / "runtime").write_text(self._runtime, "utf-8")
                return
            if answer.exit_code != _AGAIN:
                raise self._failed("the snapshot could not be sent", answer.stderr)
        raise TargetError(
            "other submissions kept changing the project's copy there", where=self._connection.name
        )

    def _pack(self, archive: IO[bytes], changes: transfer.Difference, *, whole: bool) -> None:
        # Names may hold every byte but NUL: the GNU form takes them as they are.
        with tarfile.open(
            fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape"
        ) as packed:
            transfer.pack(self._project, changes.sent, changes.gone, packed)
            if whole:
                packed.add(HERE, "runtime", filter=_plain)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, held: Held) -> IO[bytes] | None:
        """See `Target.start`."""
        del plan, held  # by us: `begin` returns when the supervisor can be seen
        run = paths.folder.name
        home = launch.environment["PYTHONPATH"].partition("/.amlexec/")[0]
        environment = {
            **launch.environment,
            "AMLEXEC_RUN_ID": run,
            "AMLEXEC_RUN_FOLDER": f"{home}/.amlexec/runs/{run}",
        }
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        shared = environment.get("AZUREML_NATIVE_SHARE_DIRECTORY")
        if shared:
            text += f"mkdir -p {shlex.quote(shared)} || exit 2\n"
        answer = self._connection.run(
            f'{self._script}\nbegin "$@"\n',
            run,
            self._runtime,
            launch.python.path,
            *launch.argv,
            input=text.encode(),
            timeout=90.0,
        )
        if answer.exit_code != 0:
            raise self._failed("the run could not be started", answer.stderr)
        return None

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`."""
        return self._read(self._verb("state", paths.folder.name, self._of(paths)))

    def _of(self, paths: RunPaths) -> str:
        """The digest of what a run was started with: a newer amlexec asks about it in the old way."""
        try:
            return (paths.control / "runtime").read_text("utf-8")
        except FileNotFoundError:
            return self._runtime

    def _read(self, said: str) -> State:
        if said.split()[:1] == ["gone"]:
            return State("lost", why=f"its folder is no longer on {self._connection.name}")
        return read_state(said, "", self._connection.name)

    def follow(
        self,
        paths: RunPaths,
        bell: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. What is here already is shown first; a cut is waited out and gone on after."""
        del bell
        patience = Patience(paths.folder.name)
        sinks = {b"1": (paths.stdout, stdout), b"2": (paths.stderr, stderr)}
        for path, sink in sinks.values():
            if path.exists():
                sink(path.read_bytes())
        while True:
            try:
                return self._follow(paths, sinks, patience)
            except UnreachableError as error:
                patience.lost(error)

    def _follow(
        self,
        paths: RunPaths,
        sinks: dict[bytes, tuple[Path, Callable[[bytes], object]]],
        patience: Patience | None = None,
    ) -> State:
        sizes = [str(path.stat().st_size if path.exists() else 0) for path, _ in sinks.values()]
        with self._connection.stream(
            f'{self._script}\nfollow "$@"\n', paths.folder.name, self._of(paths), *sizes
        ) as channel:
            while line := channel.stdout.readline():
                if patience is not None:
                    patience.found()
                number, _, rest = line.strip().partition(b" ")
                if number == b"S":
                    return self._read(rest.decode())
                if number in sinks:
                    _copy(channel.stdout, int(rest), *sinks[number])
            channel.wait()
        raise UnreachableError("the connection ended", where=self._connection.name)

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`."""
        answer = self._connection.run(
            f'{self._script}\nstop "$@"\n',
            *(paths.folder.name, self._of(paths), str(grace)),
            timeout=grace + _STOP_SECONDS,
        )
        if answer.exit_code != 0:
            raise self._failed("the run could not be stopped", answer.stderr)
        return self._read(answer.stdout)

    def collect(self, paths: RunPaths) -> None:
        """See `Target.collect`. The logs are brought to their full length; every file is checked."""
        nowhere: dict[bytes, tuple[Path, Callable[[bytes], object]]] = {
            b"1": (paths.stdout, len),
            b"2": (paths.stderr, len),
        }
        state = self._follow(paths, nowhere)
        if state.phase == "lost" and state.why:
            return  # its folder is gone
        for path, _ in nowhere.values():
            path.touch()
        came = paths.folder / "incoming"
        if came.exists():
            shutil.rmtree(came)
        came.mkdir()
        with self._connection.stream(f'{self._script}\nfetch "$@"\n', paths.folder.name) as channel:
            try:
                with tarfile.open(fileobj=channel.stdout, mode="r|") as archive:
                    for entry in archive:
                        extract(archive, entry, came, ours=True)
            except tarfile.ReadError as error:
                channel.wait()  # raises, if it is the connection that ended
                raise self._failed("the outputs could not be read", channel.stderr or str(error)) from None
            if channel.wait() != 0:
                raise self._failed("the outputs could not be read", channel.stderr)
        _must_be_whole(came, self._connection.name)
        if (came / "metrics.jsonl").exists():
            (came / "metrics.jsonl").replace(paths.metrics)
        bring_home(came / "outputs", paths.outputs)
        bring_home(came / "project" / "outputs", paths.outputs)
        shutil.rmtree(came)

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`. A process that has ended holds nothing; its folder there is for `clean`."""

    def clean(self, paths: RunPaths) -> None:
        """See `Target.clean`."""
        self._verb("remove", paths.folder.name)
        if paths.checkout.exists():
            shutil.rmtree(paths.checkout)

    def _verb(self, *words: str) -> str:
        answer = self._connection.run(f'{self._script}\n{words[0]} "$@"\n', *words[1:])
        if answer.exit_code != 0:
            raise self._failed(f"`{words[0]}` failed there", answer.stderr)
        return answer.stdout

    def _failed(self, what: str, said: str) -> TargetError:
        last = said.strip().rpartition("\n")[2]
        full = "No space left" in said or "quota" in said.lower()
        return TargetError(
            f"{what}: {last or 'it said nothing'}",
            where=self._connection.name,
            hint="make room there: `amlexec experiment clean --all` removes what runs have left"
            if full
            else "",
        )


def _copy(source: IO[bytes], length: int, path: Path, sink: Callable[[bytes], object]) -> None:
    """Hand on what came of a log, and keep it: the file's length is where a resumed following goes on."""
    with path.open("ab", buffering=0) as log:
        while length:
            chunk = source.read(min(length, 1 << 16))
            if not chunk:
                raise UnreachableError("the connection ended in the middle of a log")
            log.write(chunk)
            sink(chunk)
            length -= len(chunk)


def _must_be_whole(came: Path, where: str) -> None:
    listed = came / "control" / "digests"
    for line in listed.read_text("utf-8", "surrogateescape").splitlines() if listed.exists() else ():
        digest, _, name = line.partition("  ")
        if line.startswith("\\") or not (came / name).is_file():
            continue  # sha256sum escapes names with newlines; tar has checked that they are there
        with (came / name).open("rb") as file:
            found = hashlib.sha256()
            while chunk := file.read(1 << 20):
                found.update(chunk)
        if found.hexdigest() != digest:
            raise TargetError(
                f"{name} has changed on its way here, or is still being written",
                where=where,
                hint="fetch it again: amlexec experiment status -r RUN",
            )


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _digest_of_runtime() -> str:
    found = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        if path.is_file() and path.suffix in {".sh", ".py"}:
            found.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _machine() -> str:
    import uuid

    return f"{uuid.getnode():x}"
