"""Whether locked packages can still be had: from this machine's cache, or from where they were."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from amlexec import digest
from amlexec.packages.conda_cache import lacking
from amlexec.packages.pip_offers import offered
from amlexec.packages.rattler_calls import awaited
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.packages.network import Network
    from amlexec.packages.requirements import Requirements
    from amlexec.packages.resolve import Resolution

__all__ = ["missing"]

# ruff: noqa: PTH118 - paths are texts of a lock

_AT_ONCE = 16
_ANSWER_TIMEOUT_S = 20.0
_REFUSED = frozenset({401, 403, 404, 410, 451})


def missing(
    resolution: Resolution, requirements: Requirements, root: str, network: Network, cache: Path
) -> list[str]:
    """The packages that can't be had any more, a sentence each, sorted.

    `root` is the project's folder, and `cache` the folder of `network.cache_folder`. Sources in repositories
    are not checked.
    """
    packages = cache / "packages"
    absent = set(awaited(lacking, resolution.records, packages) if packages.is_dir() else [])
    conda = [
        str(record.url)
        for record in resolution.records
        if not packages.is_dir() or record.file_name in absent
    ]
    files = [pin for pin in resolution.pins if pin.is_local]
    found = [sentence for pin in files if (sentence := _of_file(root, pin.location, pin.sha256))]
    fetched = [pin for pin in resolution.pins if not pin.is_local and pin.sha256]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found += filter(None, pool.map(lambda address: _of_address(address, network), conda))
        answers = pool.map(lambda pin: _of_address(pin.location, network), fetched)
        gone = {pin: answer for pin, answer in zip(fetched, answers, strict=True) if answer}
    if gone:
        for pin in offered(list(gone), requirements, resolution.python, network, cache):
            del gone[pin]
    return sorted([*found, *gone.values()])


def _of_file(root: str, location: str, sha256: str) -> str:
    path = os.path.join(root, location)
    try:
        if not sha256:
            return "" if os.path.exists(path) else f"{location} no longer exists"  # noqa: PTH110
        return "" if digest.of_file(path) == sha256 else f"{location} has other content now"
    except OSError as error:
        return f"{location} can't be read: {(error.strerror or str(error)).lower()}"


def _of_address(address: str, network: Network) -> str:
    if address.startswith(("/", "file:")):
        path = unquote(urlsplit(address).path)
        return "" if os.path.isfile(path) else f"{path} no longer exists"  # noqa: PTH113
    import requests

    bundle = network.channel_ca_bundle or network.ca_bundle
    try:
        answer = requests.head(
            address,
            timeout=_ANSWER_TIMEOUT_S,
            allow_redirects=True,
            proxies={name.removesuffix("_proxy"): str(value) for name, value in network.proxies} or None,
            verify=bundle or network.verifies_channels,
        )
    except (requests.RequestException, OSError) as error:
        return f"{public(address)} can't be reached: {type(error).__name__}"
    # Some servers don't answer HEAD: then only a download would tell.
    return f"{public(address)} is no longer available ({answer.status_code})" if _gone(answer) else ""


def _gone(answer: object) -> bool:
    return getattr(answer, "status_code", 0) in _REFUSED
