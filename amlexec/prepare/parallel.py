"""Prepare environments on several machines in parallel, although doit runs its tasks one by one.

A slow or unreachable machine delays only its own tasks. Environments on the local engine are not prepared
here, but by their tasks: there is one engine, and one disk.
"""

from __future__ import annotations

import os
import threading

from amlexec import kinds
from amlexec.console import say
from amlexec.errors import AmlexecError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.prepare.prepare import Readiness
    from amlexec.prepare.project import EnvironmentRef, ProjectEnvironments

__all__ = ["ParallelPrepare"]


class ParallelPrepare:
    """Environments that are prepared in parallel, before doit asks for them."""

    def __init__(self, environments: ProjectEnvironments) -> None:
        """Start no thread yet."""
        self._environments = environments
        self._jobs: dict[str, _Job] = {}
        self._process = os.getpid()

    def begin(self, names: Iterable[str], *, forced: str = "") -> None:
        """Start to prepare the environments of these run configurations, each in a thread.

        A single one is left to its task: there is nothing to gain. `forced` as for `preparation.prepare`.
        """
        wanted = []
        for name in names:
            try:
                ref = self._environments.ref(name, keep=True)
                if not ref.is_yours and not kinds.of(ref.kind).on_local_engine:
                    self._environments.store(ref)  # raises if the files are wrong; the task reports that
                    wanted.append((name, ref))
            except AmlexecError:
                continue
        for name, ref in wanted if len(wanted) > 1 else ():
            self._jobs[name] = _Job(self._environments, ref, forced)

    def look(self, name: str) -> Readiness | None:
        """Its readiness; None if it was not started. Raises as `ProjectEnvironments.look`."""
        job = self._job(name)
        return None if job is None else job.looked.result()

    def prepare(self, name: str) -> Readiness | None:
        """The prepared environment; None if it was not started. Raises as `ProjectEnvironments.prepare`."""
        job = self._job(name)
        return None if job is None else job.done.result()

    def _job(self, name: str) -> _Job | None:
        # A process that doit has forked has none of these threads.
        return self._jobs.get(name) if os.getpid() == self._process else None


class _Job:
    """One environment. Its thread ends with the process: an unfinished build is never used."""

    def __init__(self, environments: ProjectEnvironments, ref: EnvironmentRef, forced: str) -> None:
        self.looked, self.done = _Answer(), _Answer()
        self._environments, self._ref, self._forced = environments, ref, forced
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        from amlexec.images import registry

        try:
            found = self._environments.look(self._ref)
            self.looked.give(found)
            if not found.ready or self._forced:
                progress = _Named(self._ref.name)
                where = registry.place()
                found = self._environments.prepare(self._ref, progress, pull_from=where, forced=self._forced)
            self.done.give(found)
        except BaseException as error:  # raised in the thread that waits for it
            self.looked.give(error)
            self.done.give(error)


class _Answer:
    """A result that a thread will give."""

    def __init__(self) -> None:
        self._is_there = threading.Event()
        self._answer: Readiness | BaseException | None = None

    def give(self, answer: Readiness | BaseException) -> None:
        """Set the result; only the first call counts."""
        if not self._is_there.is_set():
            self._answer = answer
            self._is_there.set()

    def result(self) -> Readiness:
        """Wait for the result. Raises the error if there is one."""
        self._is_there.wait()
        assert self._answer is not None
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class _Named:
    """The progress of one of several environments: each line begins with its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def step(self, text: str) -> None:
        """See `Progress.step`."""
        say(text if text.startswith(f"{self._name}: ") else f"{self._name}: {text}")

    def at(self, done: int, total: int) -> None:
        """See `Progress.at`: several bars can't share a line, so none is shown."""

    def close(self) -> None:
        """See `Progress.close`."""
