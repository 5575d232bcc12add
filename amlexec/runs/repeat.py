"""A run that is to be repeated, and how far that is possible, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.targets.target import Launch

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

    def with_launch(self, launch: Launch) -> Repeat:
        """The same with the differences that only the target shows: the version of a Python of the user's."""
        before = self.run.python
        if launch.digest or self.run.environment_digest or before is None or not launch.python.version:
            return self
        if launch.python.version == before.version:
            return self
        sentence = (
            f"the run used Python {before.version} ({before.path}); "
            f"Python {launch.python.version} ({launch.python.path}) would be used"
        )
        return self._replace(differences=(*self.differences, sentence))

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
