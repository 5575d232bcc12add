"""Fetch conda packages and link them into a folder, by this process.

`conda_remote` also sends this module to a Python on another machine, so it imports only the standard library,
rattler, and modules that are sent, too.
"""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.packages.conda_cache import sha256_of, stem
from amlexec.packages.rattler_calls import awaited, wait_for_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rattler import RepoDataRecord
    from rattler.networking import Client

__all__ = ["DamagedError", "link"]

_STOP_TIMEOUT_S = 10.0
"""How long an installation that was interrupted, or failed, waits for what rattler has begun, at most."""


class DamagedError(Exception):
    """A package has the wrong content. Arguments: its address, and its actual sha256."""


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
        _check_content(record)
    reporter = _Reporter(missing, progress)
    try:
        awaited(_link, list(records), prefix, final_prefix, subdir, cache, client, reporter, below)
    except BaseException:
        # rattler's threads go on for a moment. The caller removes the folder, and they must not add to it.
        wait_for_threads(_STOP_TIMEOUT_S)
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


def _check_content(record: RepoDataRecord) -> None:
    # rattler checks downloads, but not packages that it copies from a folder.
    if not record.url.startswith("file:") or record.sha256 is None:
        return
    try:
        found = sha256_of(Path(urllib.parse.unquote(urllib.parse.urlsplit(record.url).path)))
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
