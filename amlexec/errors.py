"""Every error that a user can see, with its exit code.

::

    AmlexecError
    ├── ScriptFailedError        1    the script ran and failed; its own code is in the record
    ├── TargetError              2    a target or a tool failed: amlexec could not do its part
    │   └── NoContactError       2    a machine could not be asked; runs on it may go on
    │       └── UnreachableError 2    it does not answer, or contact was lost; that may be temporary
    └── ConfigurationError       3    nothing has run: a declaration is wrong; all violations at once
        └── UsageError           3    nothing has run: the command line is wrong
            └── CannotRunError   3    nothing has run: this version can't run on such a target

An interrupt (Ctrl-C) is 130, as in every shell. Only `amlexec.cli` and the doit reporter turn errors into
text and exit codes; all other modules raise them.
"""

from __future__ import annotations

from amlexec.escaping import on_one_line
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.values import Violation

__all__ = [
    "INTERRUPTED",
    "AmlexecError",
    "CannotRunError",
    "ConfigurationError",
    "NoContactError",
    "ScriptFailedError",
    "TargetError",
    "UnreachableError",
    "UsageError",
]

INTERRUPTED = 130


class AmlexecError(Exception):
    """An error with its place and a hint.

    `message` is one sentence without a final period; `where` is a `file:line:column` or a host, or "";
    `hint` is what to do, or "".
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def lines(self) -> list[str]:
        """The error as it is printed: `WHERE: error: MESSAGE`, then `hint: HINT`."""
        place = f"{on_one_line(self.where)}: " if self.where else ""
        return [f"{place}error: {self.message}", *([f"  hint: {self.hint}"] if self.hint else [])]


class ScriptFailedError(AmlexecError):
    """The user's script ended with an exit code other than 0, or was killed by a signal."""

    exit_code = 1


class TargetError(AmlexecError):
    """A compute target, or a tool that amlexec needs, could not do its part."""

    exit_code = 2


class NoContactError(TargetError):
    """A machine could not be asked, for whatever reason. Runs on it may go on."""


class UnreachableError(NoContactError):
    """The machine does not answer, or contact with it was lost. Runs on it may go on."""


class ConfigurationError(AmlexecError):
    """One or more declarations are wrong. Nothing has run."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        violations: Iterable[Violation] = (),
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.violations = tuple(violations)

    def lines(self) -> list[str]:
        """Every violation, sorted by file and line; without any, the message itself."""
        if not self.violations:
            return super().lines()
        return [line for violation in sorted(self.violations) for line in violation.lines()]


class UsageError(ConfigurationError):
    """The command line is wrong. Nothing has run."""


class CannotRunError(UsageError):
    """This version can read this kind of compute target, but not run on it."""

    def __init__(self, name: str, kind: str, where: str, successor: str = "") -> None:
        hint = "name another target with -t"
        if successor:
            hint = (
                f"the service no longer exists; on a {successor.capitalize()} cluster, change three lines: "
                f"`type: {successor}`, and `address: HOST` and `username: USER` of its login node"
            )
        super().__init__(
            f"compute target {name!r} is of type {kind}, which this version can't run",
            where=where,
            hint=hint,
        )
