"""What the key store keeps, for tests that ask whether something is left in it."""

from __future__ import annotations

import json
from typing import NamedTuple

from amlexec.keystore import store as keystore

__all__ = ["StoredSecret", "stored_secrets"]


class StoredSecret(NamedTuple):
    """Something that the store keeps, without the secret."""

    handle: str
    kind: str
    """`password` or `key`."""
    about: str
    """What it is for, such as the name of a target."""


def stored_secrets() -> list[StoredSecret]:
    """By handle."""
    found = []
    # Names with a dot: what killed writers left.
    for path in (keystore.folder() / "passwords").glob("[!.]*"):
        about = json.loads(path.read_text("utf-8"))["about"]
        found.append(StoredSecret(f"amlexec:{path.name}", "password", about))
    for path in (keystore.folder() / "keys").glob("*.pub"):
        about = path.read_text("utf-8").split(maxsplit=2)[2].strip()
        found.append(StoredSecret(f"amlexec:{path.stem}", "key", about))
    return sorted(found)
