"""Image references in Docker's syntax.

https://pkg.go.dev/github.com/distribution/reference
"""

from __future__ import annotations

import re

__all__ = ["is_reference", "short"]

_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PATH = rf"{_PART}(?:/{_PART})*"
_TAG = r"(?a:\w[\w.-]{0,127})"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_LONGEST = 512


def is_reference(text: str) -> bool:
    """Whether a text can name an image: `[HOST/]PATH[:TAG][@DIGEST]`, or an image's id."""
    if len(text) > _LONGEST:
        return False
    name, at, digest = text.partition("@")
    if at and not re.fullmatch(_DIGEST, digest):
        return False
    before, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not re.fullmatch(_TAG, tag):
        return False
    path = f"{before}{slash}{last}"
    host, slash, rest = path.partition("/")
    # `library/debian` is a path: its first part does not look like a host.
    if slash and (re.search(r"[.:A-Z\[]", host) or host == "localhost"):
        return re.fullmatch(_HOST, host) is not None and re.fullmatch(_PATH, rest) is not None
    return re.fullmatch(_PATH, path) is not None


def short(text: str) -> str:
    """A name as Docker writes it: `docker.io/library/debian:12` -> `debian:12`."""
    hub = text.removeprefix("docker.io/")
    return hub.removeprefix("library/") if hub != text else text
