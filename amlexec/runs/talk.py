"""Where a submission prints."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Talk"]


class Talk(Protocol):
    """Where a submission prints: the console, or a test's list."""

    def say(self, line: str) -> None:
        """Print a line about the run."""

    def warn(self, line: str) -> None:
        """Print a warning."""

    def stdout(self, chunk: bytes) -> None:
        """Print the script's standard output."""

    def stderr(self, chunk: bytes) -> None:
        """Print the script's standard error."""
