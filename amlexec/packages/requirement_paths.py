"""Paths in the lines of a pip section: find their files, and digest them."""

from __future__ import annotations

import os
import re

from amlexec import digest
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["SHARE", "BadLineError", "Finder", "Measured", "digest_of_packages", "is_archive", "looks_local"]


# ruff: noqa: PTH110, PTH111, PTH112, PTH113, PTH118, PTH208 - pathlib costs a run 3 ms

SHARE = "/azureml-share/"
"""The path of a target's shared folder in containers."""
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar")
_DRIVE = re.compile(r"([A-Za-z]):[\\/](.*)", re.DOTALL)


class BadLineError(Exception):
    """A line that is invalid, or whose file can't be read."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Measured(NamedTuple):
    """The digests of a file or folder. `manifest` is "" for a file."""

    content: str
    manifest: str = ""
    files: tuple[str, ...] = ()
    """For a folder with sources: the files that count, relative to it."""


class Finder:
    """Finds the file on this machine for a path in a line."""

    def __init__(self, root: str, shared: str) -> None:
        self._root = root
        self._shared = shared

    def shown(self, path: str) -> str:
        """A path for a message, with `/`: relative to the project's root if it is inside."""
        inside = path == self._root or path.startswith(self._root.rstrip(os.sep) + os.sep)
        return (os.path.relpath(path, self._root) if inside else path).replace(os.sep, "/")

    def find(self, text: str, folder: str) -> str:
        """The absolute path for `text` in a file in `folder`.

        Raises:
            BadLineError: the path is not on this machine.
        """
        if text.startswith("file:"):
            from urllib.parse import unquote, urlsplit

            parts = urlsplit(text)
            if parts.netloc not in {"", "localhost"}:
                raise BadLineError(
                    f"{text} is a file on the machine {parts.hostname}", "copy it into the project"
                )
            text = unquote(parts.path)
        if text.startswith(SHARE):
            return self._in_share(text)
        drive = _DRIVE.fullmatch(text)
        if drive is not None and os.name != "nt":
            return self._on_drive(text, drive)
        if os.name != "nt" and "\\" in text and "/" not in text:
            text = text.replace("\\", "/")
        return os.path.normpath(os.path.join(folder, os.path.expanduser(text)))

    def _in_share(self, text: str) -> str:
        if not self._shared:
            raise BadLineError(
                f"{text} is in the shared folder, but the compute target has none",
                "set nativeSharedDirectory in the .compute file, or copy the file into the project",
            )
        return os.path.normpath(os.path.join(self._shared, text[len(SHARE) :]))

    def _on_drive(self, text: str, drive: re.Match[str]) -> str:
        # Windows' drives, as WSL mounts them.
        path = f"/mnt/{drive[1].lower()}/{drive[2]}".replace("\\", "/")
        if os.path.exists(path):
            return os.path.normpath(path)
        name = drive[2].replace("\\", "/").rpartition("/")[2]
        raise BadLineError(
            f"{text} is a path on a Windows machine; this machine is not Windows",
            f"copy it into the project and write ./{name}",
        )


def relative_to(folder: str) -> str:
    """A hint for a missing file."""
    return f"paths here are relative to {folder}"


def is_archive(text: str) -> bool:
    """Whether a name is of a wheel or packed sources."""
    return text.lower().endswith(_ARCHIVES)


def looks_local(text: str) -> bool:
    """Whether pip treats `text` as a path: https://pip.pypa.io/en/stable/cli/pip_install/."""
    if text.startswith("file:") or _DRIVE.match(text):
        return True
    if " @ " in text or _is_named(text):
        return False
    return text.startswith((".", "~")) or "/" in text or "\\" in text or is_archive(text)


def _is_named(text: str) -> bool:
    """Whether the text is a name, with or without extras, followed by an operator."""
    match = re.match(r"[A-Za-z0-9._-]+", text)
    rest = text[match.end() :].lstrip() if match else ""
    if rest.startswith("["):
        rest = rest.partition("]")[2].lstrip()
    return rest[:1] in set("@<>=!~")


def must_be_installable(
    path: str, shown: str, sources: Callable[[str], Sequence[str]] = digest.sources
) -> tuple[str, ...]:
    """The files that count in a folder with the sources of a package; none for a wheel or packed sources.

    `sources` lists the files of such a folder that count.

    Raises:
        BadLineError: the path does not exist, can't be read, or is of another kind.
    """
    try:
        if os.path.isdir(path):
            names = {"pyproject.toml", "setup.py"} & set(os.listdir(path))
            if not names:
                raise BadLineError(
                    f"{shown or '.'} has neither pyproject.toml nor setup.py, so pip cannot install it",
                    "name a folder with one of them",
                )
            files = tuple(sources(path))
            if not names & set(files):
                raise BadLineError(
                    f"an ignore rule excludes {min(names)} of {shown or '.'}, so pip cannot install it",
                    "change the rule in .amlignore, or without one, in .gitignore",
                )
            return files
        if not os.path.lexists(path):
            raise BadLineError(f"there is no {shown}")
        if not is_archive(path):
            raise BadLineError(
                f"{shown} is neither a wheel nor packed sources",
                f"write `-r {shown}` if it is a requirements file",
            )
    except OSError as error:
        raise BadLineError(f"{shown} cannot be read: {error.strerror}") from None
    return ()


def measure(path: str, shown: str, sources: Callable[[str], Sequence[str]] = digest.sources) -> Measured:
    """Digest a wheel, packed sources, or a folder with the sources of a package.

    Arguments and errors are those of `must_be_installable`.
    """
    files = must_be_installable(path, shown, sources)
    try:
        if os.path.isdir(path):
            return Measured(digest.of_tree(path, files), digest.of_manifest(path, files), files)
        return Measured(digest.of_file(path))
    except OSError as error:
        raise BadLineError(f"{shown} cannot be read: {error.strerror}") from None


def must_hold_packages(path: str, shown: str) -> None:
    """Raise BadLineError if the file or folder for `--find-links` does not exist."""
    if not os.path.exists(path):
        raise BadLineError(f"{shown} cannot be read: No such file or directory")


def digest_of_packages(path: str, shown: str) -> str:
    """The digest of the names and contents of the wheels and packed sources in a folder.

    Raises:
        BadLineError: the folder does not exist, or can't be read.
    """
    try:
        if os.path.isfile(path):
            return digest.of_file(path)
        names = sorted(name for name in os.listdir(path) if is_archive(name))
        parts = [[name, digest.of_file(os.path.join(path, name))] for name in names]
    except OSError as error:
        raise BadLineError(f"{shown} cannot be read: {error.strerror}") from None
    return digest.of_bytes(digest.canonical_json(parts))
