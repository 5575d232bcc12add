"""The log of a build: the output of all steps, without secrets. Errors show its last lines."""

from __future__ import annotations

import re
from pathlib import Path

from amlexec import private_folders
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.urls import secrets
from amlexec.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from amlexec.environments.request import BuildRequest
    from amlexec.packages.requirements import RequirementEntry

__all__ = ["TAIL", "BuildLog"]

TAIL = 20
"""Lines of the log that an error shows."""
_USERINFO = re.compile(rb"(?<=://)[^/\s@]+@")


class BuildLog:
    """A log file; secrets given to `hide` are never written to it."""

    def __init__(self, path: Path) -> None:
        private_folders.make(path.parent)
        self.path = path
        self._file = open(path, "wb", opener=private_folders.opener)  # noqa: SIM115
        self._rest = b""
        self._secrets: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put(self._rest)
        self._file.close()

    def hide(self, *texts: str) -> None:
        """Redact the passwords in these addresses and lines from now on."""
        for text in texts:
            words = {secret for word in text.split() for secret in secrets(word.strip("'\""))}
            for login in re.findall(r"://([^/\s@]+)@", text):
                user, _, password = login.partition(":")
                words.add(password or user)
            # Some tools print a password decoded, others encoded as in the address.
            for form in {form for word in words for form in forms(word) if len(form) > 2}:
                self._secrets.add(form.encode("utf-8", "surrogateescape"))

    def line(self, text: str) -> None:
        """Write a line of amlexec's own."""
        self.write(f"{text}\n".encode())

    def write(self, chunk: bytes) -> None:
        """Write output of a program, by whole lines: a secret may arrive in two pieces."""
        whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        self._put(whole + newline)

    def _put(self, text: bytes) -> None:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, b"***")
        self._file.write(_USERINFO.sub(b"***@", text))
        self._file.flush()

    def tail(self) -> list[str]:
        """The last lines of the log."""
        self._put(self._rest)
        self._rest = b""
        return self.path.read_text("utf-8", "replace").splitlines()[-TAIL:]

    def failure(self, request: BuildRequest, code: int) -> TargetError:
        """The error for a failed pip, with the place of the line that caused it."""
        lines = self.tail()
        entry = _concerned(lines, request.requirements.entries)
        where = str(request.dependencies.place if entry is None else entry.place)
        reason = next((line for line in reversed(lines) if "ERROR" in line), f"exit code {code}")
        shown = "\n".join(f"  | {line}" for line in lines)
        return TargetError(
            f"pip failed: {reason.replace('ERROR: ', '')}\n{shown}",
            where=where,
            hint=f"the whole log is {self.path}",
        )


def _concerned(lines: list[str], entries: Sequence[RequirementEntry]) -> RequirementEntry | None:
    """The line of the pip section that caused a failure: the last one named in errors, else in the log."""
    errors = [line for line in lines if "ERROR" in line]
    for searched in (errors, lines):
        text = "\n".join(searched).replace("_", "-").lower()
        found = [
            (match.start(), number)
            for number, entry in enumerate(entries)
            if (name := (entry.name or Path(entry.path).name).replace("_", "-").lower())
            for match in re.finditer(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)
        ]
        if found:
            return entries[max(found)[1]]
    return None
