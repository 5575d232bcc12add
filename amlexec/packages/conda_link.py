"""Conda packages, fetched and linked into a folder: in this process, or by a Python on another machine.

That one is given the text of this file, and an order as JSON on its standard input; what it prints is one
JSON value per line. So nothing is imported here but Python's own modules and rattler.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import json
import os
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from rattler import RepoDataRecord
    from rattler.networking import Client

__all__ = ["DamagedError", "awaited", "link"]

_EVERY_SECONDS = 0.2
_CHUNK = 1 << 20
_REST_SECONDS = 1.0
"""The longest that the end of the interpreter waits for rattler."""


class DamagedError(Exception):
    """A package is not what it should be: its address, and the sha256 that it has."""


def awaited(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine of rattler's."""
    _rest_at_exit()
    return asyncio.run(work)


@functools.cache
def _rest_at_exit() -> None:
    # rattler's threads let go of Python's objects a moment after they have answered. One that does so while
    # the interpreter ends brings the process down with a signal.
    atexit.register(_rest)


def _rest() -> None:
    until, calm = time.monotonic() + _REST_SECONDS, 0
    while calm < 3 and time.monotonic() < until:
        time.sleep(0.005)
        calm = 0 if _is_busy() else calm + 1


def _is_busy() -> bool:
    """Whether another thread of this process runs; False where the system can't tell."""
    try:
        for thread in Path("/proc/self/task").iterdir():
            if int(thread.name) != threading.get_native_id():
                told = (thread / "stat").read_text("utf-8", "replace")
                if told.rpartition(")")[2].split()[0] != "S":
                    return True
    except OSError:
        pass  # no Linux, or a thread that has just ended
    return False


def link(
    records: Sequence[RepoDataRecord],
    prefix: Path,
    final_prefix: str,
    subdir: str,
    cache: Path,
    client: Client,
    tell: Callable[[int, int], None],
    public: Callable[[str], str],
) -> None:
    """Fetch packages into `cache` and link them into the new folder `prefix`, to be used at `final_prefix`.

    Scripts that packages want to run after linking are not run. `tell` is told how many of how many bytes of
    packages are done, from other threads. `public` takes the secrets out of an address.

    Raises:
        DamagedError: a package in a folder is not what the record says.
        rattler.exceptions: InstallerError, LinkError, IoError.
    """
    for record in records:
        _must_be_whole(record)
    awaited(_link(list(records), prefix, final_prefix, subdir, cache, client, _Reporter(records, tell)))
    for file in sorted((prefix / "conda-meta").glob("*.json")):
        _forget_this_machine(file, public)


async def _link(
    records: list[RepoDataRecord],
    prefix: Path,
    final_prefix: str,
    subdir: str,
    cache: Path,
    client: Client,
    reporter: Any,
) -> None:
    import rattler
    from rattler.package_cache import PackageCache, PackageCacheLayer, ValidationMode

    # What is linked is compared with what its package says of it, file by file: one that was damaged in
    # the cache is fetched again.
    layer = PackageCacheLayer(cache).with_validation_mode(ValidationMode.full())
    await rattler.install(
        records,
        target_prefix=prefix,
        package_cache=PackageCache.from_layers([layer]),
        platform=rattler.Subdir(subdir),
        execute_link_scripts=False,
        show_progress=False,
        client=client,
        reporter=reporter,
        alternative_target_prefix=final_prefix,
    )


class _Reporter:
    """rattler's callbacks; it asks for what is defined and for nothing else."""

    def __init__(self, records: Sequence[RepoDataRecord], tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._sizes = {record.name.normalized: record.size or 1 for record in records}
        self._names: dict[int, str] = {}
        self._done: dict[str, int] = {}

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        self._names[operation] = package_name
        return operation

    def on_download_start(self, cache_entry: int) -> int:
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:  # noqa: ARG002
        self._at(download_idx, progress)

    def on_link_start(self, operation: int, package_name: str) -> int:
        self._names[operation] = package_name
        return operation

    def on_link_complete(self, index: int) -> None:
        self._at(index, self._sizes.get(self._names.get(index, ""), 0))

    def _at(self, index: int, done: int) -> None:
        self._done[self._names.get(index, "")] = done
        self._tell(sum(self._done.values()), sum(self._sizes.values()))


def _must_be_whole(record: RepoDataRecord) -> None:
    # rattler checks what it downloads, and not what it copies from a folder.
    if not record.url.startswith("file:") or record.sha256 is None:
        return
    try:
        found = _sha256(Path(urllib.parse.unquote(urllib.parse.urlsplit(record.url).path)))
    except OSError:
        return  # it may be in the cache; if not, the installation says what is wrong
    if found != record.sha256.hex():
        raise DamagedError(record.url, found)


def _forget_this_machine(file: Path, public: Callable[[str], str]) -> None:
    """Take out of a record in `conda-meta` what differs between machines, and what is secret."""
    record = json.loads(file.read_text("utf-8"))
    for key in ("extracted_package_dir", "package_tarball_full_path"):
        record.pop(key, None)
    if isinstance(record.get("link"), dict):
        record["link"] = {"source": "", "type": 1}
    for key in ("url", "channel"):
        if isinstance(record.get(key), str):
            record[key] = public(record[key])
    file.unlink()
    file.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")


# What follows is for a Python on another machine.


def _answer(request: Mapping[str, Any]) -> object:
    """Do what an order says; what is told of it at its end."""
    records = _records(request["packages"])
    cache = Path(request["cache"])
    if "prefix" not in request:
        return awaited(_lacking(records, cache))
    link(
        records,
        Path(request["prefix"]),
        request["prefix"],
        request["subdir"],
        cache,
        _client(request),
        _Teller(),
        lambda address: str(request["public"].get(address, address)),
    )
    return [[one.name.source, str(one.version), str(one.build)] for one in records]


def _records(packages: Sequence[Mapping[str, Any]]) -> list[RepoDataRecord]:
    """Records, each as the JSON that rattler writes of one."""
    import rattler

    # rattler reads them in one form only: as what a channel has.
    told: dict[str, Any] = {"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}}
    for one in packages:
        kind = "packages.conda" if one["fn"].endswith(".conda") else "packages"
        told[kind][one["fn"]] = {key: one[key] for key in one if key not in {"fn", "url", "channel"}}
    channel = rattler.Channel("https://channel.invalid")
    data = rattler.RepoData.from_path(_in_memory(json.dumps(told)))
    found = {record.file_name: record for record in data.into_repo_data(channel)}
    return [
        rattler.RepoDataRecord(found[one["fn"]], one["fn"], one["url"], one["channel"]) for one in packages
    ]


async def _lacking(records: Sequence[RepoDataRecord], cache: Path) -> list[str]:
    """The file names of those that the cache has not, or not whole."""
    from rattler.package_cache import PackageCache

    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = await PackageCache(cache).index()
    return [
        record.file_name
        for record in records
        if not index.contains_record(record) or not _is_whole(cache / _stem(record.file_name))
    ]


def _stem(file_name: str) -> str:
    """What rattler calls the folder of a package."""
    for ending in (".conda", ".tar.bz2"):
        if file_name.endswith(ending):
            return file_name[: -len(ending)]
    return file_name


def _is_whole(folder: Path) -> bool:
    """Whether an unpacked package has the files that it says it has."""
    try:
        json.loads((folder / "info/index.json").read_text("utf-8"))
        if not (folder / "info/paths.json").exists():  # of old packages
            return all((folder / name).exists() for name in (folder / "info/files").read_text().splitlines())
        told = json.loads((folder / "info/paths.json").read_text("utf-8"))["paths"]
        return all(_is_as_told(folder / one["_path"], one) for one in told)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_as_told(path: Path, told: Mapping[str, Any]) -> bool:
    if told.get("path_type") != "hardlink":
        return os.path.lexists(path)
    if told.get("size_in_bytes", path.stat().st_size) != path.stat().st_size:
        return False
    return told.get("sha256") in {None, _sha256(path)}


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _client(request: Mapping[str, Any]) -> Client:
    """rattler's client, with logins and certificates that no file has."""
    for name, key in (("RATTLER_AUTH_FILE", "logins"), ("SSL_CERT_FILE", "certificates")):
        if request[key]:
            # For rattler alone: a process that is not there yet shows what it was started with, not this.
            os.environ[name] = _in_memory(request[key])
    from rattler import Config
    from rattler.networking import Client

    return Client.from_config(Config.from_toml(request["settings"]), user_agent="amlexec")


def _in_memory(text: str) -> str:
    """A path at which this process, and no other, reads that text; it is on no disk."""
    held = os.memfd_create("request")
    os.write(held, text.encode())
    return f"/proc/self/fd/{held}"


class _Teller:
    """Prints how far it is, some times a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last > _EVERY_SECONDS or done == total:
            self._last = now
            try:
                _print({"at": [done, total]})
            except BrokenPipeError:
                # Whoever gave the order is gone. An exception would end nothing: rattler's threads go on.
                os._exit(1)


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _main() -> None:
    request = json.load(sys.stdin)
    try:
        _print({"done": _answer(request)})
    except DamagedError as error:
        _print({"damaged": list(error.args)})
    except OSError as error:
        _print({"system": [error.strerror or str(error), str(error.filename or "")]})
    except Exception as error:  # whatever it is, who gave the order has to know
        _print({"failed": [type(error).__name__, str(error)]})


if __name__ == "__main__":
    _main()
    # All is said: rattler's threads may not meet the end of the interpreter.
    os._exit(0)
