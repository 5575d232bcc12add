"""Secrets, outside the project: the `.compute` file has a handle, `amlexec:RANDOM`."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["is_handle", "pinned_hosts"]

_HANDLE = re.compile(r"amlexec:[0-9a-z]{16,64}")


def is_handle(text: str) -> bool:
    """Whether `text` is a handle of ours."""
    return _HANDLE.fullmatch(text) is not None


def folder() -> Path:
    """Where the key store is: AMLEXEC_KEYSTORE, else a folder of the user's."""
    given = os.environ.get("AMLEXEC_KEYSTORE")
    if given:
        return Path(given)
    import platformdirs

    return platformdirs.user_data_path("amlexec", appauthor=False) / "keystore"


def pinned_hosts(address: str) -> Path:
    """The file of the host keys that were pinned for an address."""
    return folder() / "hosts" / re.sub(r"[^A-Za-z0-9._:\[\]-]", "_", address)
