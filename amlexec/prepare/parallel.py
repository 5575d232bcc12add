"""Environments on several machines, made ready side by side, while doit asks for one after the other.

A machine that is slow, or can't be reached, keeps nobody waiting but those who want something of it. What is
on this machine's engine is left to doit: there is one engine, and one disk.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from amlexec import kinds
from amlexec.console import say
from amlexec.errors import AmlexecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.prepare.prepare import Readiness
    from amlexec.prepare.project import EnvironmentRef, ProjectEnvironments

__all__ = ["ParallelPrepare"]


class ParallelPrepare:
    """Environments that are prepared in parallel, before doit asks for them."""

    def __init__(self, environments: ProjectEnvironments) -> None:
        """Starts nothing."""
        self._environments = environments
        self._jobs: dict[str, _Job] = {}
        self._process = os.getpid()

    def begin(self, names: Iterable[str], *, forced: str = "") -> None:
        """Start to prepare the environments of these run configurations, each in a thread.

        One alone is left to doit: there is nothing to gain. `forced` as of `preparation.prepare`.
        """
        wanted = []
        for name in names:
            try:
                known = self._environments.known(name, keep=True)
                if not known.is_yours and not kinds.of(known.kind).on_local_engine:
                    self._environments.store(known)  # what can be wrong with the files is told by the task
                    wanted.append((name, known))
            except AmlexecError:
                continue
        for name, known in wanted if len(wanted) > 1 else ():
            self._jobs[name] = _Job(self._environments, known, forced)

    def look(self, name: str) -> Readiness | None:
        """How the environment is; None where it was not started. Errors as of `ProjectEnvironments.look`."""
        job = self._job(name)
        return None if job is None else job.looked.result()

    def prepare(self, name: str) -> Readiness | None:
        """The environment, ready; None where it was not started. Raises as `ProjectEnvironments.prepare`."""
        job = self._job(name)
        return None if job is None else job.done.result()

    def _job(self, name: str) -> _Job | None:
        # In a process that doit has forked, there is none of these threads.
        return self._jobs.get(name) if os.getpid() == self._process else None


class _Job:
    """One environment. Its thread ends with the process: what it leaves half-made there is never used."""

    def __init__(self, environments: ProjectEnvironments, known: EnvironmentRef, forced: str) -> None:
        self.looked, self.done = _Answer(), _Answer()
        self._environments, self._known, self._forced = environments, known, forced
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        from amlexec.images import registry

        try:
            found = self._environments.look(self._known)
            self.looked.give(found)
            if not found.ready or self._forced:
                progress = _Named(self._known.name)
                where = registry.place()
                found = self._environments.prepare(
                    self._known, progress, pull_from=where, forced=self._forced
                )
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
        """Say it; the first answer counts."""
        if not self._is_there.is_set():
            self._answer = answer
            self._is_there.set()

    def result(self) -> Readiness:
        """Wait for it. Raises what was given in its stead."""
        self._is_there.wait()
        assert self._answer is not None
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class _Named:
    """Progress of one of several: each line says whose it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def step(self, text: str) -> None:
        """See `Progress.step`."""
        say(text if text.startswith(f"{self._name}: ") else f"{self._name}: {text}")

    def at(self, done: int, total: int) -> None:
        """See `Progress.at`: several bars would get in each other's way."""

    def close(self) -> None:
        """See `Progress.close`."""
