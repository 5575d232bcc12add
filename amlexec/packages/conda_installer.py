"""The program of a Python on another machine that installs conda packages there.

`conda_remote` sends it, with the modules that it imports. It reads a request, as JSON, from its standard
input, and prints one JSON value per line: `at` with the progress, and at the end `done` with the result, or
an error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.packages.conda_cache import lacking
from amlexec.packages.conda_link import DamagedError, link
from amlexec.packages.rattler_calls import awaited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rattler import RepoDataRecord
    from rattler.networking import Client

__all__: list[str] = []

_INTERVAL_S = 0.2


def _answer(request: Mapping[str, Any]) -> object:
    """Execute a request; returns the result."""
    records = _records(request["packages"])
    cache = Path(request["cache"])
    if "prefix" not in request:
        return awaited(lacking, records, cache)
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
