"""A run that is to be repeated, and how far that is possible, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.targets.target import Launch
    from amlexec.values import Plan

__all__ = ["ACCEPT", "Repeat", "must_be_runnable"]

ACCEPT = "--accept-changes"
_FRAMEWORKS = ("Python", "PySpark")


def must_be_runnable(run: Run) -> None:
    """Check what of a record becomes a command. Raises ValueError: it may come from anywhere."""
    parts = run.script_name.split("/")
    if run.script_name.startswith("/") or ".." in parts or not run.script_name:
        raise ValueError(f"script_name is {run.script_name[:80]!r}; expected a path in the project")
    if run.framework not in _FRAMEWORKS:
        raise ValueError(f"framework is {run.framework!r}; expected {' or '.join(_FRAMEWORKS)}")
    if any("=" in name or not name for name in run.environment_variables):
        raise ValueError("environment_variables has a name that no variable can have")
    texts = (run.script_name, *run.arguments, *run.environment_variables, *run.environment_variables.values())
    if any("\0" in text for text in texts):
        raise ValueError("a part of its command has a NUL character")


class Repeat(NamedTuple):
    """A run to repeat."""

    run: Run
    differences: tuple[str, ...] = ()
    """What can't be as it was, a sentence each with what is used instead."""
    is_accepted: bool = False
    """Whether the user accepts differences."""

    def without_environment(self, target: str) -> Repeat:
        """The same for a target where the user manages the Python."""
        if self.run.environment_digest is None:
            return self
        where = f"the Python of {target} would be used, which amlexec does not prepare"
        sentence = f"the run used an environment that amlexec had prepared; {where}"
        return self._replace(differences=(*self.differences, sentence))

    def with_launch(self, launch: Launch, plan: Plan) -> Repeat:
        """The same with the differences that only the target shows: those of a Python of the user's."""
        before = self.run.python
        if launch.digest or self.run.environment_digest or before is None or not launch.python.version:
            return self
        now = f"{launch.python.version} ({launch.python.path})"
        if launch.python.version != before.version:
            sentence = f"the run used Python {before.version} ({before.path}); Python {now} would be used"
            return self._replace(differences=(*self.differences, sentence))
        # Packages on another machine are recorded, but not compared: that would take a round trip.
        if not kinds.of(plan.target.kind).is_here or not (changes := self._changed_packages(launch, plan)):
            return self
        sentence = f"packages of Python {now} have changed: {changes}"
        return self._replace(differences=(*self.differences, sentence))

    def _changed_packages(self, launch: Launch, plan: Plan) -> str:
        from amlexec.environments import python_packages, resolved_lock

        text = resolved_lock.recall(plan.project, self.run.environment_lock or "")
        if text is None or self.run.python is None:
            return ""
        try:
            before = python_packages.parsed(text)
        except ValueError:
            return ""
        is_same = launch.python.path == self.run.python.path
        path = launch.python.path
        now = python_packages.listed(before.places) if is_same else python_packages.of_interpreter(path)
        return python_packages.changes(before, now)

    def must_be_accepted(self) -> None:
        """Raise TargetError if something can't be as it was, unless the user accepts it."""
        if not self.differences or self.is_accepted:
            return
        first, *more = self.differences
        if more:
            listed = "".join(f"\n  - {sentence}" for sentence in self.differences)
            message = f"{self.run.run_id} can't be repeated exactly:{listed}"
        else:
            message = f"{self.run.run_id} can't be repeated exactly: {first}"
        raise TargetError(message, hint=f"{ACCEPT} runs it that way; nothing has been started")
