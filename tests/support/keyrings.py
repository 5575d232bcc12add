"""A system keyring for the tests: keyring's own interface, over a file that PASSWORDS_OF_TEST names."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

__all__ = ["FileKeyring"]


class FileKeyring(KeyringBackend):
    """Locked while a file `locked` stands beside its own."""

    priority = 5

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write({**self._all(), f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        kept = self._all()
        if kept.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError("not there")
        self._write(kept)

    def _all(self) -> dict[str, str]:
        path = _path()
        if path.with_name("locked").exists():
            raise KeyringLocked("locked")
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _write(self, passwords: dict[str, str]) -> None:
        _path().write_text(json.dumps(passwords))


def _path() -> Path:
    return Path(os.environ["PASSWORDS_OF_TEST"])
