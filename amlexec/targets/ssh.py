"""Runs as processes of another machine over SSH, in a folder of the user.

The remote folder has the layout of a local run's folder, and the same supervisor watches the run. Only
missing parts of the snapshot are sent; logs (by byte offset), metrics and outputs are downloaded.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.errors import UnreachableError
from amlexec.file_trees import remove_tree
from amlexec.files import touch
from amlexec.kinds import is_prepared
from amlexec.owner import owner_of
from amlexec.snapshots import read as snapshots
from amlexec.targets import answers, live_metrics, ssh_launch, ssh_send, ssh_stage
from amlexec.targets.outputs import bring
from amlexec.targets.own_files import put_in_place
from amlexec.targets.reconnect import Reconnect
from amlexec.targets.run_folders import incoming, no_script, remote_shared_folder
from amlexec.targets.ssh_channel import RunChannels
from amlexec.targets.ssh_fetch import Fetch
from amlexec.targets.ssh_logs import RunLog
from amlexec.targets.ssh_verbs import Verbs, runtime_digest
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from tarfile import TarFile

    from amlexec.environments.store import EnvironmentStore
    from amlexec.errors import TargetError
    from amlexec.history.paths import RunPaths
    from amlexec.local_machine import Answer
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.ssh.channel import Stream
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import Launch
    from amlexec.values import NotCollected, Plan, Project

__all__ = ["SSHTarget"]

_NOT_OURS = 94
"""Exit code of `stop` and `remove`: the run is another project's."""
_BEGIN_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 60.0
"""In addition to the grace."""


class SSHTarget:
    """Runs on a Linux machine that the user manages."""

    _follow_brings_results = True

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        self._project = project
        self._connection = connection
        self._runtime = runtime_digest()
        self._verbs = Verbs(connection, self._runtime)
        self._channels = RunChannels(self._verbs)
        self._looked: dict[str, str] = {}
        """The last output of `look`, for the following `check` and `stage`."""
        self._stop_timeout = _STOP_TIMEOUT_S
        self._shown = ""
        """The run whose logs are complete, because it was followed to its end."""
        self.mirror = owner_of(project)
        """The name of the project's copy on the machine, unique to this computer and folder."""

    def store(self, plan: Plan) -> EnvironmentStore | None:
        """See `Target.store`. Its first request also gets what `check` needs, in one round trip."""
        if not is_prepared(plan.target):
            return None
        look = partial(self._look_before, plan.target.python_location)
        return ssh_launch.LookingStore(self._connection, look)

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """See `Target.check`."""
        # If there is an environment, the store's request has set it.
        looked = (environment and self._looked) or self._look_before(plan.target.python_location)
        launch = self._launch(plan, looked, environment)
        return self._with_spark(plan, launch) if plan.framework == "PySpark" else launch

    def _launch(self, plan: Plan, looked: Mapping[str, str], environment: Readiness | None) -> Launch:
        home = looked["home"]
        return ssh_launch.launch(
            plan,
            looked,
            environment,
            site=f"{home}/{self.runtime}/site",
            shared=self._shared(plan, home),
            machine=self._connection.name,
        )

    def _with_spark(self, plan: Plan, launch: Launch) -> Launch:
        from amlexec.targets import spark_launch

        return spark_launch.remote(plan, launch, self._connection)

    def _shared(self, plan: Plan, home: str) -> str:
        return remote_shared_folder(self._project, plan.target, home)

    def _look(self, python: str, environment: str = "") -> dict[str, str]:
        """What the machine already has for a run, and for the environment in that folder."""
        answer = self._verb("look", python, self._runtime, self.mirror, environment, expects_more=True)
        return answers.read_look(answer, self._connection.name)

    def _look_before(self, python: str, environment: str = "") -> dict[str, str]:
        """The same, for a run that will be a process. Raises TargetError if the machine can't run it."""
        looked = self._looked = self._look(python, environment)
        ssh_launch.check_system(looked, self._connection.name)
        return looked

    @property
    def runtime(self) -> str:
        """The folder of the runtime files, relative to the user's remote home folder."""
        return f".amlexec/runtime/{self._runtime}"

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. Only missing files are sent."""
        self._stage("stage", paths.folder.name, plan, tree, ssh_send.run_of(paths))

    def _stage(self, verb: str, name: str, plan: Plan, tree: str, add: Callable[[TarFile], object]) -> None:
        """Send a snapshot with what `add` adds, for the run or the array `name`."""
        if not snapshots.has_file(self._project, tree, plan.script):
            raise no_script(self._project, plan)

        def look() -> Mapping[str, str]:
            facts, self._looked = self._looked or self._look(plan.target.python_location), {}
            return facts

        mirror = ssh_stage.Mirror(
            self._project, self.mirror, self._verbs, self._runtime, self._connection.name
        )
        ssh_stage.send(mirror, verb, name, tree, look, add)

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes] | None:
        """See `Target.start`."""
        del lock  # the caller keeps it until `begin` returns, when the supervisor is running
        text, before = ssh_launch.introduced(paths, launch, self._preparing(paths, plan, launch))
        words = (self._runtime, launch.python.path, *before, *launch.argv)
        if launch.is_followed:
            given = text.encode("utf-8", "surrogateescape")
            with self._stopping(paths):
                code, stderr = self._channels.launch(paths.folder.name, words, given, _BEGIN_TIMEOUT_S)
        else:
            code, _, stderr = self._begun(paths, text, words, _BEGIN_TIMEOUT_S)
        if code != 0:
            raise self._failed("the run could not be started", stderr)
        return None

    def _begun(self, paths: RunPaths, text: str, words: Sequence[str], timeout: float) -> Answer:
        """The answer of the verb `begin`."""
        given = text.encode("utf-8", "surrogateescape")
        with self._stopping(paths):
            return self._verbs.run("begin", paths.folder.name, *words, input=given, timeout=timeout)

    @contextmanager
    def _stopping(self, paths: RunPaths) -> Iterator[None]:
        """If interrupted, the run may have started: stop it, so that it is not reported as not started."""
        try:
            yield
        except KeyboardInterrupt:
            self.stop(paths, 0)
            raise

    def _preparing(self, paths: RunPaths, plan: Plan, launch: Launch) -> str:
        """Shell commands to run on the machine before the run starts; `$folder` is the run's folder."""
        del paths, plan, launch
        return ""

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`. The same call gets the new metrics of a running run."""
        asked = partial(self._verb, "state", paths.folder.name)
        return self._read(paths, live_metrics.taken(paths, asked))

    def bring_metrics(self, paths: RunPaths) -> None:
        """Get the new metrics of a run in a container, whose state the machine's engine has."""
        live_metrics.taken(paths, partial(self._verb, "metrics", paths.folder.name))

    def _read(self, paths: RunPaths, output: str) -> State:
        if output.strip() != "gone":
            return answers.read_state(output, "", self._connection.name)
        if paths.returned.exists():
            raise answers.downloaded_elsewhere(paths, self._connection.name)
        return self._gone()

    def _gone(self) -> State:
        return State("lost", why=f"its folder is no longer on {self._connection.name}")

    def records(self, start: str) -> list[tuple[str, State | None, str]]:
        """Every run on the machine whose id begins with `start`: its id, its state, and its record's text.

        An unreadable state is None. Raises like `state`.
        """
        with self._verbs.stream("records", start) as channel:
            found = self._read_records(channel.stdout)
            if channel.wait() != 0:
                raise self._failed("the runs on the machine can't be listed", channel.stderr)
        return found

    def _read_records(self, source: IO[bytes]) -> list[tuple[str, State | None, str]]:
        return list(answers.read_records(source, self._connection.name))

    def follow(
        self,
        paths: RunPaths,
        end_pipe: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. Shows local output first; reconnects after a lost connection."""
        del end_pipe
        reconnect = Reconnect(paths.folder.name)
        logs = {b"1": RunLog(paths.stdout, stdout), b"2": RunLog(paths.stderr, stderr)}
        for log in logs.values():
            log.show()
        while True:
            try:
                state = self._follow(paths, logs, reconnect)
            except UnreachableError as error:
                reconnect.lost(error)
            else:
                if state.phase == "ended":
                    self._shown = paths.folder.name
                elif state == self._gone():
                    # Another process that followed it has collected it and removed it from the machine.
                    for log in logs.values():
                        log.show_rest()
                return state

    def _follow(
        self, paths: RunPaths, logs: dict[bytes, RunLog], reconnect: Reconnect | None = None
    ) -> State:
        sizes = [log.position for log in logs.values()]
        brings = self._follow_brings_results
        with self._channels.follow(paths.folder.name, sizes, with_results=brings) as followed:
            channel = followed.stream
            while line := channel.stdout.readline(answers.LONGEST_LINE):
                if reconnect is not None:
                    reconnect.found()
                number, rest = answers.read_frame(line, self._connection.name)
                if number == b"S":
                    state = self._read(paths, rest.decode("utf-8", "replace"))
                    if brings:
                        self._channels.keep(followed)
                        if state.exit_code == 0 and not state.canceled:
                            self._connection.open_ahead()  # for `clean`, after the run is collected
                    return state
                if number == b"Q":
                    self._queued(rest.decode("utf-8", "replace"))
                if number in logs:
                    logs[number].copy(channel.stdout, int(rest))
            if channel.wait() != 0:
                raise self._failed("the run can't be followed", channel.stderr)
        raise UnreachableError("the connection ended", where=self._connection.name)

    def _queued(self, text: str) -> None:
        """The state of the run's job in a queue; processes have none."""

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`."""
        words = ("stop", paths.folder.name, str(grace), self._owner(paths))
        answer = self._verbs.run(*words, timeout=grace + self._stop_timeout)
        if answer.exit_code == _NOT_OURS:
            raise answers.of_another_project(paths.folder.name, self._connection.name)
        if answer.exit_code != 0:
            raise self._failed("the run could not be stopped", answer.stderr)
        return self._read(paths, answer.stdout)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. Completes the logs; every file's digest is checked."""
        logs = {b"1": RunLog(paths.stdout), b"2": RunLog(paths.stderr)}
        for path in (paths.stdout, paths.stderr):
            touch(path)
        if self._shown == paths.folder.name or self._follow(paths, logs) != self._gone():
            return self.fetch(paths)
        return []

    def fetch(self, paths: RunPaths, aliases: Sequence[str] = ()) -> list[NotCollected]:
        """Download what a run has written into its remote folder; returns what was not collected.

        `aliases` are further paths that the copy of the project had for the script.
        """
        with self._channels.results(paths.folder.name) as sent:
            return self._fetched(paths, aliases, sent)

    def _fetched(self, paths: RunPaths, aliases: Sequence[str], sent: Stream | None) -> list[NotCollected]:
        with incoming(paths) as downloaded:
            fetch = Fetch(self._verbs, paths.folder.name, downloaded, self._failed, sent)
            missing = fetch.all()
            missing += self._settled(downloaded, downloaded, paths)
            copies = (*fetch.copies, *aliases)
            return missing + bring(downloaded / "project", paths.outputs, copies, fetch.more)

    def _settled(self, downloaded: Path, folder: Path, paths: RunPaths) -> list[NotCollected]:
        """Move the metric logger's files from `folder`, in what was downloaded, into place."""
        del downloaded
        return put_in_place(folder, paths, [str(folder)])

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`. Nothing to do: `clean` removes the remote folder."""

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        removed = []
        # Another computer's run is kept until that computer has downloaded it; `forget` removes it.
        if (
            not paths.returned.exists()
            and self._verb("remove", paths.folder.name, self._owner(paths)).strip()
        ):
            removed.append(f"on {self._connection.name}")
        if paths.checkout.exists():
            remove_tree(paths.checkout)
            removed.append("here")
        return removed

    def forget(self, run_id: str) -> None:
        """Remove all files of a finished run from the machine."""
        self._verb("remove", run_id, "")

    def _owner(self, paths: RunPaths) -> str:
        """The required owner of a run that this project submitted; "" for all other runs."""
        return self.mirror if paths.record.exists() and not paths.returned.exists() else ""

    def _verb(self, *words: str, expects_more: bool = False) -> str:
        answer = self._verbs.run(*words, expects_more=expects_more)
        if answer.exit_code == _NOT_OURS:
            raise answers.of_another_project(words[1], self._connection.name)
        if answer.exit_code != 0:
            raise self._failed(f"`{words[0]}` failed on the machine", answer.stderr)
        return answer.stdout

    def _failed(self, what: str, stderr: str) -> TargetError:
        return answers.failure(what, stderr, self._connection.name)
