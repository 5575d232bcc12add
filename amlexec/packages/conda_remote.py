"""Install conda packages by a Python on another machine: its requests and its answers.

It is started with the text of `conda_installer.py` and of the modules that this imports, and nothing else.
Addresses and logins go to its standard input, and stay in its memory.
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
from amlexec.packages import conda_errors
from amlexec.packages.conda_logins import logins
from amlexec.packages.network import rattler_settings
from amlexec.packages.rattler_calls import awaited
from amlexec.packages.urls import is_loopback, public
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform

__all__ = ["InstallerAnswer", "arguments", "is_only_here", "request", "packed", "question"]

_PROGRAM = "conda_installer"
_SENT = ("rattler_calls", "conda_cache", "conda_link")
"""The modules that it imports; each only imports those before it."""
_LOADER = """\
for name, text in MODULES.items():
    module = sys.modules[name] = type(sys)(name)
    exec(text, vars(module))
"""


def arguments() -> tuple[str, ...]:
    """The arguments of the remote Python; its standard input is `question` or `request`."""
    texts = {f"{__package__}.{name}": _text(name) for name in _SENT}
    program = f"import sys\nMODULES = {texts!r}\n{_LOADER}exec({_text(_PROGRAM)!r})\n"
    return ("-I", "-B", "-c", program)


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.py").read_text("utf-8")


def is_only_here(record: RepoDataRecord) -> bool:
    """Whether only this machine can fetch a package: it is on its disk, or on its loopback."""
    return record.url.startswith("file:") or is_loopback(record.url)


def question(records: Sequence[RepoDataRecord], cache: str) -> bytes:
    """Request: which of these packages are missing from the remote cache? Answer: a list of file names."""
    return json.dumps(
        {"packages": [_as_json(record, record.url) for record in records], "cache": cache}
    ).encode()


def request(
    records: Sequence[RepoDataRecord],
    prefix: str,
    platform: Platform,
    network: Network,
    *,
    cache: str,
    sent: str,
) -> bytes:
    """Request: fetch packages into the remote folder `cache` and link them into the new folder `prefix`.

    Packages that only this machine can fetch are in the remote folder `sent`, unless `cache` has them.
    Answer: a list of name, version and build. The text may hold passwords.
    """
    packages: list[dict[str, Any]] = []
    shown: dict[str, str] = {}
    for record in records:
        address = f"file://{sent}/{record.file_name}" if is_only_here(record) else record.url
        packages.append(_as_json(record, address))
        shown |= {address: public(record.url), _channel(record): public(_channel(record))}
    proxies = tuple((name, value) for name, value in network.channel_proxies if not is_loopback(value))
    bundle = network.channel_ca_bundle
    with_logins = logins(record.url for record in records if not is_only_here(record))
    return json.dumps(
        {
            "packages": packages,
            "public": shown,
            "prefix": prefix,
            "cache": cache,
            "subdir": platform.subdir,
            "settings": rattler_settings(network._replace(channel_proxies=proxies)),
            "logins": json.dumps(with_logins) if with_logins else "",
            "certificates": Path(bundle).read_text("utf-8") if bundle else "",
        }
    ).encode()


def _as_json(record: RepoDataRecord, address: str) -> dict[str, Any]:
    return {**json.loads(record.to_json()), "url": address, "channel": _channel(record)}


def _channel(record: RepoDataRecord) -> str:
    return record.channel or record.url.rsplit("/", 2)[0]


@contextlib.contextmanager
def packed(records: Sequence[RepoDataRecord], network: Network) -> Iterator[IO[bytes]]:
    """The files of packages that only this machine can fetch, as a compressed archive in a temporary file.

    Its last member is an empty `~whole`, which marks a complete archive.

    Raises:
        TargetError: a package was removed from its channel.
    """
    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder, tempfile.TemporaryFile() as archive:
        # Level 0: packages are compressed already.
        with Tar.open(fileobj=archive, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=0) as written:
            for record in records:
                try:
                    written.add(_file(record, Path(folder), network), record.file_name, filter=_plain)
                except OSError as error:
                    message = f"failed to fetch {record.file_name}\n{error.strerror or error}"
                    raise conda_errors.not_installed(message, records, network) from error
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
        awaited(download_to_path, client(network), record.url, path)
    except Exception as error:  # rattler has a separate exception for each step
        message = f"failed to fetch {record.file_name}\n{error}"
        raise conda_errors.not_installed(message, [record], network) from None
    return str(path)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


class InstallerAnswer:
    """Parses the output of the remote Python, chunk by chunk."""

    def __init__(
        self,
        records: Sequence[RepoDataRecord],
        network: Network,
        where: str,
        at: Callable[[int, int], None] | None = None,
    ) -> None:
        """`where` names the machine in errors; `at` gets the bytes done and the bytes in total."""
        self._records, self._network, self._where, self._at = records, network, where, at
        self._rest = b""
        self._noise: list[str] = []
        self._end: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> None:
        """Parse the next chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self._noise.append(line.decode(errors="replace").strip())
        elif "at" in value:
            if self._at is not None:
                self._at(*value["at"])
        else:
            self._end = value

    def result(self, noise: str = "") -> Any:
        """The result; `noise` is other output of the remote Python.

        Raises:
            TargetError: as `conda_install.install`; or the output has no result.
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
            return conda_errors.mismatch(
                next(each for each in self._records if each.file_name == name), found
            )
        if "failed" in self._end:
            return conda_errors.not_installed(self._end["failed"][1], self._records, self._network)
        if "system" in self._end:
            reason, path = self._end["system"]
            return TargetError(f"{path or 'a file'} can't be written: {reason.lower()}")
        lines = [line for line in [*self._noise, *noise.splitlines()] if line.strip()]
        last = f": {lines[-1].strip().rstrip('.')}" if lines else ""
        return TargetError(
            f"the packages could not be installed, for an unknown reason{last}",
            hint="was the process killed, perhaps for lack of memory?",
        )
