"""Addresses of packages, channels and indexes, and the secrets in them."""

from __future__ import annotations

import re

from amlexec.light_typing import TYPE_CHECKING
from amlexec.redaction import HIDDEN, hide, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Secret",
    "expand",
    "expand_public",
    "hidden",
    "is_address",
    "is_loopback",
    "is_readable",
    "public",
    "secrets",
    "unset_variables",
    "with_login_encoded",
]

_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://"
"""Where an address begins in a text: matched once in each run of such letters."""
_IN_A_TEXT = re.compile(rf"({_SCHEME})([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(rf"{_SCHEME}([^/?#\s\\]*)")
_HOST = re.compile(r"(\[[^\]]*\]|[^:@]*)(:\d*)?")
_UNCLEAR = re.compile(r"(.*)@((?:\[[^\]]*\]|[A-Za-z0-9._-]+)(?::\d*)?(?:/.*)?)", re.DOTALL)
"""A login that contains a `/`, `?` or `#`, and the rest of the address."""
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
"""The form that pip expands: https://pip.pypa.io/en/stable/reference/requirements-file-format/."""
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
"""User and password of an address, anywhere in a text."""
_PRIVATE = re.compile(rf"{_SCHEME}\S*|(?<!\S)-\S+")
"""Where a variable may be a password: in an address, or in an option."""
_CONDA_TOKEN = re.compile(r"/t/([A-Za-z0-9_-]+|\$\{[A-Z0-9_]+\})(?=/)")
"""https://docs.anaconda.com/anacondaorg/user-guide/work-with-accounts: a token in the path."""
_HASHES = frozenset(["md5", "sha1", "sha256", "sha384", "sha512"])
_FRAGMENTS = _HASHES | {"egg", "subdirectory"}
_AZURE = frozenset(
    [
        "sig",
        "sv",
        "ss",
        "srt",
        "sr",
        "se",
        "st",
        "sp",
        "spr",
        "sip",
        "si",
        "skoid",
        "sktid",
        "skt",
        "ske",
        "sks",
        "skv",
        "saoid",
        "suoid",
        "scid",
        "sdd",
        "ses",
    ]
)
"""The parameters of a shared access signature; they have no meaning without `sig`.
https://learn.microsoft.com/rest/api/storageservices/create-service-sas."""
_SIGNED = frozenset(["sig", "signature", "expires", "policy", "key-pair-id", "googleaccessid"])


class Secret(str):
    """Text that may hold a password: its repr, also inside of another value, shows `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{HIDDEN}'" if secrets(self) else super().__repr__()


def is_address(text: str) -> bool:
    """Whether `text` is an address with a scheme, such as `https://host/path` or `git+ssh://host/path`."""
    return _ADDRESS.fullmatch(text) is not None


def is_readable(address: str) -> bool:
    """Whether the host of an address is unambiguous; in `https://user:pa/ss@host` it is not."""
    match = _ADDRESS.fullmatch(address)
    return match is None or _HOST.fullmatch(match[2].rpartition("@")[2]) is not None


def is_loopback(text: str) -> bool:
    """Whether an address in `text` refers to the machine that uses it.

    The part before the last `@` is a login, not a host. Hosts are parsed like `inet_aton`:
    `127.1` and `2130706433` are 127.0.0.1, and `127.example.org` is an ordinary name.
    """
    return any(_is_own(match[1].rpartition("@")[2]) for match in _AUTHORITY.finditer(text))


def _is_own(authority: str) -> bool:
    import socket
    from ipaddress import ip_address

    match = _HOST.match(authority)
    host = match[1].strip("[]").lower().rstrip(".") if match else ""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ip_address(host)
    except ValueError:
        if not re.fullmatch(r"[0-9a-fx.]+", host):
            return False
        try:
            address = ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    # 0.0.0.0 means all networks of a machine; it is not part of the loopback.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def public(address: str) -> str:
    """An address without its secrets: user and password, tokens, signatures.

    The rest identifies the file or channel: a renewed signature makes no difference. Text that is not an
    address is returned unchanged.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    scheme, authority, path, query, fragment = (part or "" for part in match.groups())
    if not is_readable(address):
        return f"{scheme}{HIDDEN}"
    host = authority.rpartition("@")[2].lower()
    return f"{scheme.lower()}{host}{_CONDA_TOKEN.sub('', path)}{_query(query)}{_fragment(fragment)}"


def _query(query: str) -> str:
    parts = [part for part in query[1:].split("&") if part and not _is_signature(part, query)]
    return f"?{'&'.join(parts)}" if parts else ""


def _is_signature(parameter: str, query: str) -> bool:
    name = parameter.partition("=")[0].lower()
    if name in _AZURE and re.search(r"[?&]sig=", query, re.IGNORECASE):
        return True
    return name in _SIGNED or name.startswith(("x-amz-", "x-goog-")) or is_secret(name)


def _fragment(fragment: str) -> str:
    parts = [part for part in fragment[1:].split("&") if part.partition("=")[0] in _FRAGMENTS]
    if re.fullmatch(r"#[0-9a-f]{32,64}", fragment):  # conda's `URL#MD5`
        parts = [fragment[1:]]
    return f"#{'&'.join(parts)}" if parts else ""


def secrets(text: str) -> set[str]:
    """The secret values in the addresses in `text`."""
    found: set[str] = set()
    for match in _IN_A_TEXT.finditer(text):
        authority, path, query = match[2], match[3], match[4] or ""
        user, at, _ = authority.rpartition("@")
        if at:
            # A user without a password is a token, except git's user `git`.
            password = user.partition(":")[2]
            found |= {user, password} if password or user != "git" else set()
        found |= set(_CONDA_TOKEN.findall(path))
        found |= {part.partition("=")[2] for part in query[1:].split("&") if _is_signature(part, query)}
        if not is_readable(match[0]):
            found.add(match[0].partition("://")[2])
    return {value for value in found if value}


def hidden(text: str, addresses: Iterable[str]) -> str:
    """`text` with the secrets of `addresses` replaced by `***`, the longest first."""
    values = {value for address in addresses for value in secrets(address)}
    # Replacing a value of one or two letters everywhere would make the text unreadable.
    for value in sorted(values):
        if len(value) <= 2:
            text = text.replace(f":{value}@", f":{HIDDEN}@")
    return hide(text, (value for value in values if len(value) > 2))


def with_login_encoded(address: str) -> str:
    """An address with an encoded user and password, so that every program parses it alike.

    The `@`, `/` or `#` that ends the login is guessed only if the address is ambiguous. Text that is not an
    address, or can't be parsed, is returned unchanged.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    scheme, rest = match[1], address[len(match[1]) :]
    authority = match[2]
    if "@" in authority and _HOST.fullmatch(authority.rpartition("@")[2]):
        login, tail = authority.rpartition("@")[0], rest[len(authority.rpartition("@")[0]) + 1 :]
    elif not _HOST.fullmatch(authority) and (guessed := _UNCLEAR.fullmatch(rest)):
        login, tail = guessed[1], guessed[2]
    else:
        return address
    user, colon, password = login.partition(":")
    return f"{scheme}{_encoded(user)}{colon}{_encoded(password)}@{tail}"


def _encoded(text: str) -> str:
    from urllib.parse import quote

    is_encoded = re.fullmatch(r"(%[0-9A-Fa-f]{2}|[^%])*", text) is not None
    return quote(
        text.encode("utf-8", "surrogateescape"), safe="!$&'()*+,;=-._~" + ("%" if is_encoded else "")
    )


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every `${NAME}` of a set variable replaced by its value, as in pip."""
    return _VARIABLE.sub(lambda match: variables.get(match[1]) or match[0], text)


def expand_public(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its variables expanded, except those of logins.

    A variable belongs to a login if it is before the `@` of an address, or a token in its path, or if it is
    in an address or an option and its name looks secret. So texts that differ only in logins become equal,
    and `public` of the result is free of secrets.
    """
    return "".join(
        variables.get(name) or part if name and not is_login else part
        for part, name, is_login in _parts(text)
    )


def unset_variables(text: str, variables: Mapping[str, str], *, logins: bool = True) -> list[str]:
    """The names of the variables in `text` that are not set or empty; with or without those of logins."""
    return [
        name
        for _, name, is_login in _parts(text)
        if name and not variables.get(name) and (logins or not is_login)
    ]


def _parts(text: str) -> Iterator[tuple[str, str, bool]]:
    """The pieces of a text, each with the name of its variable or "", and whether it belongs to a login."""
    if "${" not in text:
        yield text, "", False
        return
    logins = [match.span() for pattern in (_LOGIN, _CONDA_TOKEN) for match in pattern.finditer(text)]
    private = [match.span() for match in _PRIVATE.finditer(text)]
    at = 0
    for match in _VARIABLE.finditer(text):
        yield text[at : match.start()], "", False
        at, where = match.end(), match.start()
        in_login = any(begin <= where < end for begin, end in logins)
        in_private = any(begin <= where < end for begin, end in private)
        yield match[0], match[1], in_login or (in_private and is_secret(match[1]))
    yield text[at:], "", False
