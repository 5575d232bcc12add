"""rattler's logins on this machine, for another machine that fetches packages for the user.

They are read from rattler's places: the file that RATTLER_AUTH_FILE names, or
`~/.rattler/credentials.json`, and `~/.netrc`. A keyring is not read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["logins"]


def logins(addresses: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The logins for the hosts of these addresses only, in the form of rattler's file."""
    variables = os.environ if environment is None else environment
    hosts = {host for address in addresses if (host := urlsplit(address).hostname)}
    home = Path(variables["HOME"]) if variables.get("HOME") else Path.home()
    found = _netrc(hosts, Path(variables.get("NETRC") or home / ".netrc"))
    store = Path(variables.get("RATTLER_AUTH_FILE") or home / ".rattler/credentials.json")
    try:
        stored = json.loads(store.read_text("utf-8"))
    except (OSError, ValueError):
        stored = {}
    if isinstance(stored, dict):
        found |= {
            name: login for name, login in stored.items() if any(_matches(name, host) for host in hosts)
        }
    return found


def _matches(name: str, host: str) -> bool:
    """Whether a name in the store (`host`, `*.domain` or an address) matches a host."""
    of = (urlsplit(name).hostname or "") if "://" in name else name.partition("/")[0].partition(":")[0]
    return of == host or (of.startswith("*.") and (host.endswith(of[1:]) or host == of[2:]))


def _netrc(hosts: Iterable[str], path: Path) -> dict[str, Any]:
    import netrc

    try:
        entries = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    found = {}
    for host in hosts:
        login = entries.authenticators(host)
        if login is not None:
            found[host] = {"BasicHTTP": {"username": login[0], "password": login[2] or ""}}
    return found
