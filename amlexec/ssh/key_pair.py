"""New key pairs, made by `ssh-keygen` and kept in the key store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.keystore import store as keystore
from amlexec.ssh import program

if TYPE_CHECKING:
    from amlexec.keystore.store import KeyPair

__all__ = ["new_key_pair"]


def new_key_pair(about: str, handle: str = "") -> KeyPair:
    """Make an ed25519 key pair; the private half stays in the store. `handle`: as for `keystore.put`.

    Raises:
        TargetError: `ssh-keygen` is not installed, or the store can't be written.
    """
    comment = " ".join(about.split()) or "amlexec"
    folder, prefix = keystore.keys_folder(), keystore.scratch_name()
    with tempfile.TemporaryDirectory(dir=folder, prefix=prefix, suffix=".new") as scratch:
        path = Path(scratch, "key")
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        done = program.run(command)
        if done.code:
            raise TargetError(f"ssh-keygen failed: {done.stderr.strip()}")
        private, public = path.read_bytes(), path.with_suffix(".pub").read_bytes()
    return keystore.put_key_pair(private, public, handle)
