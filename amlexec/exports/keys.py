"""Names of metrics, parameters and tags as MLflow takes them. Two names never become the same one.

MLflow takes letters, digits, `_`, `-`, `.`, spaces, `/` and `:`, in normal paths of at most 250 characters.
Other characters become their number in hexadecimal between colons: `loss=x` is `loss:3d:x`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

__all__ = ["LONGEST_KEY", "key_of", "tag_key_of"]

LONGEST_KEY = 250
_FOREIGN = re.compile(r"[^\w.\- /]")
_ESCAPE = re.compile(r":[0-9a-f]*:")
_OWN = ("mlflow.", "amlexec.")
"""Tags that begin so are MLflow's and amlexec's."""
_KEPT = 200
"""Characters of a name that is too long; a digest follows."""


def key_of(name: str) -> str:
    """The key of a metric or a parameter."""
    # A colon is kept, except where the name could be taken for one with an escape.
    is_plain = not _FOREIGN.search(name.replace(":", "")) and not _ESCAPE.search(name)
    key = name if is_plain else _FOREIGN.sub(_escaped, name)
    if not _is_normal(key):
        key = re.sub(r"[/.:]", _escaped, name) if is_plain else re.sub(r"[^\w\- ]", _escaped, name)
        key = key or "::"
    if len(key) > LONGEST_KEY:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        key = f"{key[:_KEPT].rstrip('/. ')}:{digest}:"
    return key


def tag_key_of(name: str) -> str:
    """The key of a user's tag."""
    key = key_of(name)
    return key.replace(".", ":2e:", 1) if key.startswith(_OWN) else key


def _escaped(match: re.Match[str]) -> str:
    return f":{ord(match[0]):x}:"


def _is_normal(key: str) -> bool:
    normal = posixpath.normpath(key)
    return key == normal and normal != "." and not normal.startswith(("..", "/"))
