"""Fetch conda packages and link them into a folder: in this process, or by a Python on another machine.

That Python gets the text of this file and a request, as JSON on its standard input; it prints one JSON value
per line. So this module imports only the standard library and rattler.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import json
import os
import signal
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

__all__ = ["DamagedError", "awaited", "lacking", "link", "stem"]

_ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals whose handlers may raise an exception."""
_INTERVAL_S = 0.2
_CHUNK = 1 << 20
_REST_TIMEOUT_S = 1.0
"""How long the exit of the interpreter waits for rattler, at most."""
_STOP_TIMEOUT_S = 10.0
"""How long an installation that was interrupted, or failed, waits for what rattler has begun, at most."""


class DamagedError(Exception):
    """A package has the wrong content. Arguments: its address, and its actual sha256."""


def awaited(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine of rattler's. An interrupt cancels it."""
    _rest_at_exit()
    found = {int(number): signal.getsignal(number) for number in _ENDING}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    if not handlers or threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    interrupted: list[int] = []
    tasks: list[Any] = []

    # An exception raised while asyncio makes or closes its loop leaves half a loop, which prints a traceback
    # when it is collected. So an interrupt raises nothing until the loop is closed.
    def interrupt(number: int, _: object) -> None:
        interrupted.append(number)
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def cancelable() -> Any:
        if interrupted:
            work.close()
            raise asyncio.CancelledError
        tasks.append(asyncio.current_task())
        try:
            return await work
        finally:
            tasks.clear()

    for number in handlers:
        signal.signal(number, interrupt)
    try:
        return asyncio.run(cancelable())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if interrupted:
            handlers[interrupted[0]](interrupted[0], None)


@functools.cache
def _rest_at_exit() -> None:
    # rattler's threads release Python's objects shortly after they answered. Doing so while the interpreter
    # exits kills the process with a signal.
    atexit.register(_rest, _REST_TIMEOUT_S)


def _rest(timeout: float) -> None:
    """Wait until the other threads sleep, `timeout` seconds at most."""
    until, calm = time.monotonic() + timeout, 0
    while calm < 3 and time.monotonic() < until:
        time.sleep(0.005)
        calm = 0 if _is_busy() else calm + 1


def _is_busy() -> bool:
    """Whether another thread of this process runs; False if that is unknown."""
    try:
        for thread in Path("/proc/self/task").iterdir():
            if int(thread.name) != threading.get_native_id():
                status = (thread / "stat").read_text("utf-8", "replace")
                if status.rpartition(")")[2].split()[0] != "S":
                    return True
    except OSError:
        pass  # not Linux, or the thread has just ended
    return False


def link(
    records: Sequence[RepoDataRecord],
    prefix: Path,
    final_prefix: str,
    subdir: str,
    cache: Path,
    client: Client,
    progress: Callable[[int, int], None],
    public: Callable[[str], str],
    below: Sequence[str] = (),
) -> None:
    """Fetch packages into `cache` and link them into the folder `prefix`, to be used at `final_prefix`.

    Packages that `prefix` has are left alone. So are those whose names are in `below`: they are in a layer
    below this folder.

    Post-link scripts of packages are not run. `progress` gets the bytes done and the bytes in total; it is
    called from other threads. `public` removes the secrets from an address.

    Raises:
        DamagedError: a package in a folder does not match its record.
        rattler.exceptions: InstallerError, LinkError, IoError.
    """
    present = set((prefix / "conda-meta").glob("*.json"))
    missing = [
        record
        for record in records
        if record.name.normalized not in below
        and prefix / f"conda-meta/{stem(record.file_name)}.json" not in present
    ]
    for record in missing:
        _must_be_whole(record)
    reporter = _Reporter(missing, progress)
    try:
        awaited(_link(list(records), prefix, final_prefix, subdir, cache, client, reporter, below))
    except BaseException:
        # rattler's threads go on for a moment. The caller removes the folder, and they must not add to it.
        _rest(_STOP_TIMEOUT_S)
        raise
    for file in sorted(set((prefix / "conda-meta").glob("*.json")) - present):
        _forget_this_machine(file, public)


async def _link(
    records: list[RepoDataRecord],
    prefix: Path,
    final_prefix: str,
    subdir: str,
    cache: Path,
    client: Client,
    reporter: Any,
    below: Sequence[str],
) -> None:
    import rattler
    from rattler.package_cache import PackageCache, PackageCacheLayer, ValidationMode

    # Compare every file with its checksum in the package: packages that were damaged in the cache are
    # fetched again.
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
        # rattler still has to know them: the version of Python decides where modules go.
        ignored_packages=set(below) or None,
    )


class _Reporter:
    """rattler's callbacks; rattler calls only those that are defined."""

    def __init__(self, records: Sequence[RepoDataRecord], progress: Callable[[int, int], None]) -> None:
        self._progress = progress
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
        self._progress(sum(self._done.values()), sum(self._sizes.values()))


def _must_be_whole(record: RepoDataRecord) -> None:
    # rattler checks downloads, but not packages that it copies from a folder.
    if not record.url.startswith("file:") or record.sha256 is None:
        return
    try:
        found = _sha256(Path(urllib.parse.unquote(urllib.parse.urlsplit(record.url).path)))
    except OSError:
        return  # it may be in the cache; if not, the installation reports the error
    if found != record.sha256.hex():
        raise DamagedError(record.url, found)


def _forget_this_machine(file: Path, public: Callable[[str], str]) -> None:
    """Remove from a record in `conda-meta` what differs between machines, and secrets."""
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


# The rest is for a Python on another machine.


def _answer(request: Mapping[str, Any]) -> object:
    """Execute a request; returns the result."""
    records = _records(request["packages"])
    cache = Path(request["cache"])
    if "prefix" not in request:
        return awaited(lacking(records, cache))
    link(
        records,
        Path(request["prefix"]),
        request["prefix"],
        request["subdir"],
        cache,
        _client(request),
        _Progress(),
        lambda address: str(request["public"].get(address, address)),
    )
    return [[record.name.source, str(record.version), str(record.build)] for record in records]


def _records(packages: Sequence[Mapping[str, Any]]) -> list[RepoDataRecord]:
    """Records from their JSON, as rattler writes it."""
    import rattler

    # rattler reads them only as the index of a channel.
    repodata: dict[str, Any] = {"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}}
    for package in packages:
        name = package["fn"]
        kind = "packages.conda" if name.endswith(".conda") else "packages"
        repodata[kind][name] = {key: package[key] for key in package if key not in {"fn", "url", "channel"}}
    channel = rattler.Channel("https://channel.invalid")
    data = rattler.RepoData.from_path(_in_memory(json.dumps(repodata)))
    records = {record.file_name: record for record in data.into_repo_data(channel)}
    return [
        rattler.RepoDataRecord(records[each["fn"]], each["fn"], each["url"], each["channel"])
        for each in packages
    ]


async def lacking(records: Sequence[RepoDataRecord], cache: Path) -> list[str]:
    """The file names of packages that are missing from the cache, or incomplete in it."""
    from rattler.package_cache import PackageCache

    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = await PackageCache(cache).index()
    return [
        record.file_name
        for record in records
        if not index.contains_record(record) or not _is_whole(cache / stem(record.file_name))
    ]


def stem(file_name: str) -> str:
    """rattler's name for the folder of a package, and for its record in a prefix."""
    for ending in (".conda", ".tar.bz2"):
        if file_name.endswith(ending):
            return file_name[: -len(ending)]
    return file_name


def _is_whole(folder: Path) -> bool:
    """Whether an unpacked package has all the files in its own list."""
    try:
        json.loads((folder / "info/index.json").read_text("utf-8"))
        if not (folder / "info/paths.json").exists():  # an old package
            return all((folder / name).exists() for name in (folder / "info/files").read_text().splitlines())
        entries = json.loads((folder / "info/paths.json").read_text("utf-8"))["paths"]
        return all(_is_intact(folder / entry["_path"], entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_intact(path: Path, entry: Mapping[str, Any]) -> bool:
    if entry.get("path_type") != "hardlink":
        return os.path.lexists(path)
    if entry.get("size_in_bytes", path.stat().st_size) != path.stat().st_size:
        return False
    return entry.get("sha256") in {None, _sha256(path)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _client(request: Mapping[str, Any]) -> Client:
    """rattler's client, with logins and certificates that are in no file."""
    for name, key in (("RATTLER_AUTH_FILE", "logins"), ("SSL_CERT_FILE", "certificates")):
        if request[key]:
            # Only for rattler: /proc/PID/environ shows the environment at the start, not this.
            os.environ[name] = _in_memory(request[key])
    from rattler import Config
    from rattler.networking import Client

    return Client.from_config(Config.from_toml(request["settings"]), user_agent="amlexec")


def _in_memory(text: str) -> str:
    """A path where only this process can read the text; it is never on a disk."""
    descriptor = os.memfd_create("request")
    os.write(descriptor, text.encode())
    return f"/proc/self/fd/{descriptor}"


class _Progress:
    """Prints the progress some times a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last > _INTERVAL_S or done == total:
            self._last = now
            try:
                _print({"at": [done, total]})
            except BrokenPipeError:
                # The client is gone. An exception would not stop rattler's threads.
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
    except Exception as error:  # the client has to know any error
        _print({"failed": [type(error).__name__, str(error)]})


if __name__ == "__main__":
    _main()
    # Everything is printed. A normal exit could crash in rattler's threads.
    os._exit(0)
