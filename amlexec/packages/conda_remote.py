"""Conda packages, fetched and linked by a Python on another machine: what it is given, what it answers.

It executes `linking.py`, whose text is all that it is started with. Addresses and logins go to its standard
input, and from there into its memory alone.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from amlexec.errors import TargetError
from amlexec.packages import conda_errors, conda_link
from amlexec.packages.conda_logins import logins
from amlexec.packages.network import rattler_settings
from amlexec.packages.urls import is_loopback, public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform

__all__ = ["InstallerAnswer", "arguments", "is_only_here", "request", "packed", "question"]


def arguments() -> tuple[str, ...]:
    """What the other machine's Python is started with; the standard input is `question` or `request`."""
    return ("-I", "-B", "-c", Path(conda_link.__file__).read_text("utf-8"))


def is_only_here(record: RepoDataRecord) -> bool:
    """Whether a package can be fetched by this machine alone: it is on its disk, or on its loopback."""
    return record.url.startswith("file:") or is_loopback(record.url)


def question(records: Sequence[RepoDataRecord], cache: str) -> bytes:
    """Which of these packages has the folder `cache` there not? The answer is a list of file names."""
    return json.dumps({"packages": [_told(one, one.url) for one in records], "cache": cache}).encode()


def request(
    records: Sequence[RepoDataRecord],
    prefix: str,
    platform: Platform,
    network: Network,
    *,
    cache: str,
    sent: str,
) -> bytes:
    """Fetch packages into the folder `cache` there and link them into the new folder `prefix`.

    What is only here is taken from the folder `sent`, where it is not in `cache`. The answer is a list of
    name, version and build. The text may hold passwords.
    """
    packages: list[dict[str, Any]] = []
    shown: dict[str, str] = {}
    for one in records:
        address = f"file://{sent}/{one.file_name}" if is_only_here(one) else one.url
        packages.append(_told(one, address))
        shown |= {address: public(one.url), _channel(one): public(_channel(one))}
    there = tuple((name, value) for name, value in network.channel_proxies if not is_loopback(value))
    bundle = network.channel_ca_bundle
    with_logins = logins(one.url for one in records if not is_only_here(one))
    return json.dumps(
        {
            "packages": packages,
            "public": shown,
            "prefix": prefix,
            "cache": cache,
            "subdir": platform.subdir,
            "settings": rattler_settings(network._replace(channel_proxies=there)),
            "logins": json.dumps(with_logins) if with_logins else "",
            "certificates": Path(bundle).read_text("utf-8") if bundle else "",
        }
    ).encode()


def _told(record: RepoDataRecord, address: str) -> dict[str, Any]:
    return {**json.loads(record.to_json()), "url": address, "channel": _channel(record)}


def _channel(record: RepoDataRecord) -> str:
    return record.channel or record.url.rsplit("/", 2)[0]


@contextlib.contextmanager
def packed(records: Sequence[RepoDataRecord], network: Network) -> Iterator[IO[bytes]]:
    """The files of packages that are only here, as a compressed archive; a file that is gone afterwards.

    Its last member is an empty `~whole`.

    Raises:
        TargetError: a package is gone from its channel.
    """
    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder, tempfile.TemporaryFile() as archive:
        # They are compressed already.
        with tarfile.open(
            fileobj=archive, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=0
        ) as written:
            for record in records:
                try:
                    written.add(_file(record, Path(folder), network), record.file_name, filter=_plain)
                except OSError as error:
                    told = f"failed to fetch {record.file_name}\n{error.strerror or error}"
                    raise conda_errors.not_installed(told, records, network) from error
            written.addfile(tarfile.TarInfo("~whole"))
        archive.seek(0)
        yield archive


def _file(record: RepoDataRecord, folder: Path, network: Network) -> str:
    if record.url.startswith("file:"):
        return unquote(urlsplit(record.url).path)
    from rattler.package_streaming import download_to_path

    from amlexec.packages.network import client

    path = folder / record.file_name
    try:
        conda_link.awaited(download_to_path(client(network), record.url, path))
    except Exception as error:  # rattler has an exception of its own for each step of it
        told = f"failed to fetch {record.file_name}\n{error}"
        raise conda_errors.not_installed(told, [record], network) from None
    return str(path)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


class InstallerAnswer:
    """What the other machine's Python prints, chunk by chunk."""

    def __init__(
        self,
        records: Sequence[RepoDataRecord],
        network: Network,
        where: str,
        at: Callable[[int, int], None] | None = None,
    ) -> None:
        """`where` is what errors call the machine; `at` is told how many of how many bytes are done."""
        self._records, self._network, self._where, self._at = records, network, where, at
        self._rest = b""
        self._noise: list[str] = []
        self._end: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> None:
        """Take what has come."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            self._noise.append(line.decode(errors="replace").strip())
        elif "at" in told:
            if self._at is not None:
                self._at(*told["at"])
        else:
            self._end = told

    def result(self, noise: str = "") -> Any:
        """What it said at its end; `noise` is what else came from there.

        Raises:
            TargetError: as `installing.install`; or it came to no end.
        """
        if "done" in self._end:
            return self._end["done"]
        error = self._error(noise)
        error.where = error.where or self._where
        raise error

    def _error(self, noise: str) -> TargetError:
        if "damaged" in self._end:
            address, found = self._end["damaged"]
            name = unquote(urlsplit(address).path).rpartition("/")[2]
            return conda_errors.mismatch(next(one for one in self._records if one.file_name == name), found)
        if "failed" in self._end:
            return conda_errors.not_installed(self._end["failed"][1], self._records, self._network)
        if "system" in self._end:
            reason, path = self._end["system"]
            return TargetError(f"{path or 'a file'} can't be written there: {reason.lower()}")
        said = [line for line in [*self._noise, *noise.splitlines()] if line.strip()]
        last = f": {said[-1].strip().rstrip('.')}" if said else ""
        return TargetError(
            f"the packages could not be installed there, and nothing says why{last}",
            hint="was the process ended, for want of memory perhaps?",
        )
