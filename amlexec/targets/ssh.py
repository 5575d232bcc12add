"""A run as a process of another machine, over SSH, in a folder of the user's there.

Its folder there is laid out as a run's folder is here, and the same supervisor watches it. What goes over is
what the machine lacks of the snapshot; what comes back are the logs, by byte offset, metrics and outputs.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError, UnreachableError
from amlexec.files import SMALL, read_regular, remove_tree, touch
from amlexec.kinds import is_prepared
from amlexec.owner import owner_of
from amlexec.snapshots import take as snapshot
from amlexec.snapshots import transfer
from amlexec.ssh.stdin import flowing
from amlexec.targets import answers, ssh_launch, ssh_send
from amlexec.targets.outputs import bring
from amlexec.targets.own_files import put_in_place
from amlexec.targets.reconnect import Reconnect
from amlexec.targets.run_folders import no_script, remote_shared_folder
from amlexec.targets.script_environment import handed, of_run, of_supervisor
from amlexec.targets.ssh_fetch import Fetch
from amlexec.targets.ssh_logs import RunLog
from amlexec.targets.ssh_verbs import Verbs
from amlexec.targets.target import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from amlexec.environments.store import EnvironmentStore
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.model import NotCollected, Plan, Project
    from amlexec.prepare.prepare import Readiness
    from amlexec.ssh.connection import SSHConnection
    from amlexec.targets.target import Launch

__all__ = ["SSHTarget"]

_NOT_OURS = 94
"""Exit code of `stop` and `remove`: the run is another project's."""
_AGAIN = 75
"""Exit code of `stage`: another snapshot came in between."""
_BEGIN_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 60.0
"""On top of the grace."""
_TRIES = 6


class SSHTarget:
    """Runs on a Linux machine that the user manages."""

    def __init__(self, project: Project, connection: SSHConnection) -> None:
        self._project = project
        self._connection = connection
        self._runtime = ssh_send.runtime_digest()
        self._verbs = Verbs(connection, self._runtime)
        self._looked: dict[str, str] = {}
        """What was found out last, for the `check` and the `stage` that come next."""
        self._shown = ""
        """The run whose logs are here whole, since we have followed it to its end."""
        # The mirror of a project there belongs to this folder of this machine.
        self.mirror = owner_of(project)
        """The name of the project's copy there: nobody else's projects have it."""

    def store(self, plan: Plan) -> EnvironmentStore | None:
        """See `Target.store`. What it asks first finds out what `check` has to know, in one round trip."""
        if not is_prepared(plan.target):
            return None
        look = partial(self._look_before, plan.target.python_location)
        return ssh_launch.LookingStore(self._connection, look)

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """See `Target.check`."""
        # What `store` was asked for has told it already.
        looked = (environment and self._looked) or self._look_before(plan.target.python_location)
        home = looked["home"]
        launch = ssh_launch.launch(
            plan,
            looked,
            environment,
            site=f"{home}/{self.runtime}/site",
            shared=self._shared(plan, home),
            machine=self._connection.name,
        )
        return self._with_spark(plan, launch) if plan.framework == "PySpark" else launch

    def _with_spark(self, plan: Plan, launch: Launch) -> Launch:
        from amlexec.targets import spark_launch

        return spark_launch.remote(plan, launch, self._connection)

    def _shared(self, plan: Plan, home: str) -> str:
        return remote_shared_folder(self._project, plan.target, home)

    def _look(self, python: str, environment: str = "") -> dict[str, str]:
        """What the machine has of what a run needs, and of an environment by its folder's name there."""
        answer = self._verb("look", python, self._runtime, self.mirror, environment)
        return answers.read_look(answer, self._connection.name)

    def _look_before(self, python: str, environment: str = "") -> dict[str, str]:
        """The same, for a run that is to be a process there. Raises TargetError where none can be."""
        looked = self._looked = self._look(python, environment)
        system = looked.get("system", "")
        if not system.startswith("Linux"):
            raise TargetError(
                f"runs need Linux, and this machine is {system or 'something else'}",
                where=self._connection.name,
            )
        return looked

    @property
    def runtime(self) -> str:
        """Where, below the user's home there, lies what travels into a run."""
        return f".amlexec/runtime/{self._runtime}"

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """See `Target.stage`. Only what the machine lacks is sent."""
        if plan.script not in snapshot.files(self._project, tree):
            raise no_script(self._project, plan)
        for number in range(_TRIES):
            looked, self._looked = self._looked or self._look(plan.target.python_location), {}
            # Where others keep sending other snapshots, this one goes past the copy that all share.
            is_alone = number == _TRIES - 1
            old = "" if is_alone else looked.get("tree", "")
            changes = transfer.difference(self._project, old, tree)
            if changes is None:
                # What is there is a snapshot that is not known here any more: begin anew.
                self._verb("forget", self.mirror)
                continue
            mirror = f"{self.mirror}.{paths.folder.name}.once" if is_alone else self.mirror
            pack = partial(
                ssh_send.pack, self._project, changes, paths.record, runtime="runtime" not in looked
            )
            code, said = self._send(pack, paths.folder.name, self._runtime, mirror, old, tree, self.mirror)
            if code == 0:
                self._verbs.arrived()
                return
            if code != _AGAIN:
                raise self._failed("the snapshot could not be sent", said)
        raise TargetError(
            "something there keeps changing the project's copy while a run is made from it",
            where=self._connection.name,
        )

    def _send(self, pack: Callable[[IO[bytes]], None], *words: str) -> tuple[int, str]:
        """Let the machine make a run of what `pack` writes: the exit code, and what it said."""
        with flowing(pack) as archive, self._verbs.stream("stage", *words, input=archive) as channel:
            ssh_send.show_waiting(channel.stdout, self._connection.name)
            return channel.wait(), channel.stderr

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, held: Held) -> IO[bytes] | None:
        """See `Target.start`."""
        del held  # by us: `begin` returns when the supervisor can be seen
        run = paths.folder.name
        home = launch.environment["PYTHONPATH"].partition("/.amlexec/")[0]
        folder = f"{home}/.amlexec/runs/{run}"
        environment = {**launch.environment, **of_run(run, folder)}
        given = handed(environment, launch.python.path)
        own = {**given.variables, **of_supervisor(run, folder)}
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in own.items())
        shared = environment.get("AZUREML_NATIVE_SHARE_DIRECTORY")
        if shared:
            text += f"mkdir -p {shlex.quote(shared)} || exit 2\n"
        text += self._preparing(paths, plan, launch)
        record = read_regular(paths.record, SMALL << 3, follow=False).decode("utf-8", "surrogateescape")
        text += f"record={shlex.quote(record.rstrip())}\n"
        try:
            answer = self._verbs.run(
                *("begin", run, self._runtime, launch.python.path, *given.before, *launch.argv),
                input=text.encode("utf-8", "surrogateescape"),
                timeout=_BEGIN_TIMEOUT_S,
            )
        except KeyboardInterrupt:
            # It may have begun: nobody shall be told that it has not while it runs.
            self.stop(paths, 0)
            raise
        if answer.exit_code != 0:
            raise self._failed("the run could not be started", answer.stderr)
        return None

    def _preparing(self, paths: RunPaths, plan: Plan, launch: Launch) -> str:
        """Shell text for what has to be done there before the run begins; `$folder` is the run's folder."""
        del paths, plan, launch
        return ""

    def state(self, paths: RunPaths) -> State:
        """See `Target.state`."""
        return self._read(paths, self._verb("state", paths.folder.name))

    def _read(self, paths: RunPaths, said: str) -> State:
        if said.strip() != "gone":
            return answers.read_state(said, "", self._connection.name)
        if paths.returned.exists():
            raise answers.brought_home(paths, self._connection.name)
        return self._gone()

    def _gone(self) -> State:
        return State("lost", why=f"its folder is no longer on {self._connection.name}")

    def records(self, start: str) -> list[tuple[str, State | None, str]]:
        """Every run there whose id begins with `start`: its id, its state, and the text of its record.

        The state is None where it can't be read. Raises as `state` does.
        """
        with self._verbs.stream("records", start) as channel:
            found = list(answers.read_records(channel.stdout, self._connection.name))
            if channel.wait() != 0:
                raise self._failed("the runs there can't be listed", channel.stderr)
        return found

    def follow(
        self,
        paths: RunPaths,
        bell: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """See `Target.follow`. What is here already is shown first; a cut is waited out and gone on after."""
        del bell
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
                    # Another process that followed it too has brought it home, and cleaned up there.
                    for log in logs.values():
                        log.show_rest()
                return state

    def _follow(
        self, paths: RunPaths, logs: dict[bytes, RunLog], reconnect: Reconnect | None = None
    ) -> State:
        sizes = [str(log.position) for log in logs.values()]
        with self._verbs.stream("follow", paths.folder.name, *sizes) as channel:
            while line := channel.stdout.readline(answers.LONGEST_LINE):
                if reconnect is not None:
                    reconnect.found()
                number, rest = answers.read_frame(line, self._connection.name)
                if number == b"S":
                    return self._read(paths, rest.decode("utf-8", "replace"))
                if number in logs:
                    logs[number].copy(channel.stdout, int(rest))
            if channel.wait() != 0:
                raise self._failed("the run can't be followed", channel.stderr)
        raise UnreachableError("the connection ended", where=self._connection.name)

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`."""
        words = ("stop", paths.folder.name, str(grace), self._owner(paths))
        answer = self._verbs.run(*words, timeout=grace + _STOP_TIMEOUT_S)
        if answer.exit_code == _NOT_OURS:
            raise self._of_others(paths.folder.name)
        if answer.exit_code != 0:
            raise self._failed("the run could not be stopped", answer.stderr)
        return self._read(paths, answer.stdout)

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. The logs are brought to their full length; every file is checked."""
        logs = {b"1": RunLog(paths.stdout), b"2": RunLog(paths.stderr)}
        for path in (paths.stdout, paths.stderr):
            touch(path)
        if self._shown == paths.folder.name or self._follow(paths, logs) != self._gone():
            return self.fetch(paths)
        return []

    def fetch(self, paths: RunPaths, aliases: Sequence[str] = ()) -> list[NotCollected]:
        """Bring home what a run has written into its folder there; what did not come, and why.

        `aliases` are further paths that its copy of the project had for the script.
        """
        came = paths.folder / "incoming"
        remove_tree(came)
        came.mkdir(mode=0o700)
        try:
            fetch = Fetch(self._verbs, paths.folder.name, came, self._failed)
            missing = fetch.all()
            missing += self._settled(came, came, paths)
            copies = (*fetch.copies, *aliases)
            return missing + bring(came / "project", paths.outputs, copies, fetch.more)
        finally:
            remove_tree(came)

    def _settled(self, came: Path, folder: Path, paths: RunPaths) -> list[NotCollected]:
        """Put what the metric logger has written in its place; `folder` is a run's folder that has come."""
        del came
        return put_in_place(folder, paths, [str(folder)])

    def release(self, paths: RunPaths) -> None:
        """See `Target.release`. A process that has ended holds nothing; its folder there is for `clean`."""

    def clean(self, paths: RunPaths) -> list[str]:
        """See `Target.clean`."""
        removed = []
        # What somebody else has submitted has to get home there too: `forget` removes it.
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
        """Remove all that a run that is over has left there."""
        self._verb("remove", run_id, "")

    def _owner(self, paths: RunPaths) -> str:
        """Whose a run has to be that is known here; "" for one that is not, or was submitted elsewhere."""
        return self.mirror if paths.record.exists() and not paths.returned.exists() else ""

    def _of_others(self, run_id: str) -> TargetError:
        return TargetError(
            f"the run {run_id} there was not submitted from this project: nothing is done with it",
            where=self._connection.name,
            hint="if the project was moved or copied, name the machine: --from TARGET",
        )

    def _verb(self, *words: str) -> str:
        answer = self._verbs.run(*words)
        if answer.exit_code == _NOT_OURS:
            raise self._of_others(words[1])
        if answer.exit_code != 0:
            raise self._failed(f"`{words[0]}` failed there", answer.stderr)
        return answer.stdout

    def _failed(self, what: str, said: str) -> TargetError:
        return answers.failure(what, said, self._connection.name)
