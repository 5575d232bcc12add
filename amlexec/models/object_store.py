"""A registry in an object store, through fsspec: s3://, az://, gs://.

A number is taken by a conditional write: "create this object unless it exists". Before the first one, it is
tried whether the store keeps that promise.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from amlexec import temporaries
from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular
from amlexec.models import cache
from amlexec.models.store import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from amlexec.models.content import Content, File

__all__ = ["ObjectStore"]

_CHUNK = 1 << 20
_EXTRA = "pip install 'amlexec[fsspec]'"
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""The schemes of object stores, and what fsspec needs for them."""
_SCHEMES = {*_PACKAGES, "memory"}


class ObjectStore:
    """The files of a registry as objects below a URL."""

    def __init__(self, url: str) -> None:
        """Opens nothing. Raises UsageError: the URL can't be used, or a package is missing."""
        scheme = url.partition("://")[0]
        if scheme not in _SCHEMES:
            hint = "name a folder, or a URL with file://, ssh://, s3://, az:// or gs://"
            raise UsageError(f"a registry of models can't be at {scheme}://", hint=hint)
        if urlsplit(url).password is not None:
            raise UsageError(
                "the URL of the registry has a password in it, which logs would show",
                hint="give it to the store as its own tools take it: in variables or files of credentials",
            )
        self._url = url
        self._fs, self._root = _opened(url)
        self._is_exclusive: bool | None = None

    @property
    def place(self) -> str:
        """Its URL."""
        return self._url

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        with self._errors(folder):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                self._must_exist()
                return []
            return sorted({name for path in found if (name := _last(path)) and name[0] != "."})
        raise AssertionError

    def tree(self, folder: str) -> dict[str, bytes | OSError]:
        """All files below a folder by relative path."""
        found: dict[str, bytes | OSError] = {}
        with self._errors(folder):
            by_path = {}
            for name, size in self._below(folder).items():
                if size > LARGEST:
                    found[name] = OSError(f"It is larger than {LARGEST >> 20} MB")
                else:
                    by_path[self._path(f"{folder}/{name}")] = name
            if by_path:
                contents = self._fs.cat(list(by_path), on_error="return")
                contents = contents if isinstance(contents, dict) else {next(iter(by_path)): contents}
                for path, content in contents.items():
                    if isinstance(content, FileNotFoundError):
                        continue  # another process has removed it
                    is_read = isinstance(content, bytes)
                    found[by_path[path]] = content if is_read else OSError(_words(content))
        return found

    def read(self, name: str) -> bytes | None:
        """A file; None if it does not exist."""
        with self._errors(name):
            return self._read(self._path(name))
        raise AssertionError

    def create(self, name: str, content: bytes) -> bool:
        """Make a file unless it exists; whether it was made."""
        with self._errors(name):
            if self._is_exclusive is None:
                self._is_exclusive = self._tried()
            if not self._is_exclusive:
                raise TargetError(
                    "this store can't create an object only if it is missing: two writers could take the "
                    "same version",
                    where=self._url,
                    hint="use a folder, a machine over SSH, or a store with conditional writes",
                )
            return self._created(name, content)
        raise AssertionError

    def _created(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        try:
            self._fs.pipe_file(path, content, mode="create")
        except Exception as error:
            # After a lost answer, a client writes again, and then finds what it has written itself.
            existing = self._read(path)
            if existing is None and not isinstance(error, FileExistsError):
                raise
            return existing == content
        return True

    def _tried(self) -> bool:
        """Whether the second of two writers of the same object is refused."""
        name = f"trials/{temporaries.owner()}-{os.urandom(4).hex()}"
        try:
            return self._created(name, b"1") and not self._created(name, b"2")
        finally:
            with contextlib.suppress(Exception):
                self._fs.rm_file(self._path(name))

    def _read(self, path: str) -> bytes | None:
        self._fs.invalidate_cache()
        try:
            content: bytes = self._fs.cat_file(path)
        except FileNotFoundError:
            return None
        return content

    def replace(self, name: str, content: bytes) -> None:
        """Write a file; an object appears whole."""
        with self._errors(name):
            self._fs.pipe_file(self._path(name), content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._errors(name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def put(self, content: Content, source: Path) -> None:
        """Store the files of a model. A file that is there already is compared."""
        real = source.resolve()
        with self._errors(f"contents/{content.digest}"):
            existing = self._below(f"contents/{content.digest}")
            for file in content.files:
                path = self._path(f"contents/{content.digest}/{file.path}")
                if existing.get(file.path) == file.size and self._hash(path) == file.sha256:
                    continue
                inner = file.path.partition("/")[2]
                self._upload(real / inner if inner else real, path, file)

    def _upload(self, source: Path, path: str, file: File) -> None:
        digest = sha256()
        with open_regular(source) as opened, self._fs.open(path, "wb") as target:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != file.sha256:
            self._fs.rm_file(path)
            raise TargetError(
                "the file has changed while it was registered",
                where=str(source),
                hint="register it once more",
            )

    def _hash(self, path: str) -> str:
        digest = sha256()
        with self._fs.open(path, "rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def holds(self, content: Content) -> bool:
        """Whether all files exist."""
        with self._errors(f"contents/{content.digest}"):
            return {file.path for file in content.files} <= self._below(f"contents/{content.digest}").keys()
        raise AssertionError

    def fetched(self, content: Content) -> Path:
        """A folder of the cache with the files, compared with their digests."""

        def fill(folder: Path) -> None:
            with self._errors(f"contents/{content.digest}"):
                for file in content.files:
                    path = self._path(f"contents/{content.digest}/{file.path}")
                    with self._fs.open(path, "rb") as opened:
                        cache.write(opened, folder, file)

        return cache.filled(content, f"{self._url}/contents/{content.digest}", fill)

    def drop(self, digest: str, is_needed: Callable[[], bool]) -> None:
        """Remove the files of a model, unless they are needed.

        Objects can't be put aside: who registers the same files at this moment may have to do it once more.
        """
        if is_needed():
            return
        with self._errors(f"contents/{digest}"), contextlib.suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm(self._path(f"contents/{digest}"), recursive=True)

    def _below(self, folder: str) -> dict[str, int]:
        """The files below a folder by relative path, with their sizes."""
        self._fs.invalidate_cache()
        start = self._path(folder)
        try:
            found = self._fs.find(start, detail=True)
        except FileNotFoundError:
            found = {}
        if not found:
            self._must_exist()
        return {
            path.removeprefix(f"{start}/"): int(about.get("size") or 0)
            for path, about in found.items()
            if path.startswith(f"{start}/") and about.get("type", "file") == "file"
        }

    def _must_exist(self) -> None:
        """Raise TargetError if there is no such bucket: an empty one has no models."""
        bucket = self._root.lstrip("/").partition("/")[0]
        if self._url.partition("://")[0] in _PACKAGES and not self._fs.exists(bucket):
            raise TargetError(f"there is no bucket or container {bucket!r}", where=self._url)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (TargetError, UsageError):
            raise
        except Exception as error:
            raise TargetError(
                f"the model registry can't be used: {_words(error)}", where=f"{self._url}/{name}"
            ) from error


def _opened(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        core: Any = import_module("fsspec.core")
    except ImportError:
        raise UsageError(f"a registry at {scheme}:// needs the package fsspec", hint=_EXTRA) from None
    try:
        opened, root = core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        hint = f"pip install {package}" if package else str(error)
        raise UsageError(f"a registry at {scheme}:// needs another package", hint=hint) from None
    except ValueError as error:
        raise UsageError(f"the registry {url!r} can't be used: {error}") from None
    except Exception as error:
        raise TargetError(f"the model registry can't be used: {_words(error)}", where=url) from error
    return opened, str(root).rstrip("/")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _words(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0][:300]
    return text or type(error).__name__
