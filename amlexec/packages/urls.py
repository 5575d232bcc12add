"""Addresses of packages, channels and indexes, and what in them must not be told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
"""Where an address begins in a text: looked for once in each run of such letters."""
_IN_A_TEXT = re.compile(rf"({_SCHEME})([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(rf"{_SCHEME}([^/?#\s\\]*)")
_HOST = re.compile(r"(\[[^\]]*\]|[^:@]*)(:\d*)?")
_UNCLEAR = re.compile(r"(.*)@((?:\[[^\]]*\]|[A-Za-z0-9._-]+)(?::\d*)?(?:/.*)?)", re.DOTALL)
"""A login that has a `/`, `?` or `#` in it, and what comes after it."""
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
"""The form that pip expands: https://pip.pypa.io/en/stable/reference/requirements-file-format/."""
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
"""User and password of an address, wherever it stands in a text."""
_PRIVATE = re.compile(rf"{_SCHEME}\S*|(?<!\S)-\S+")
"""Where a variable may be a password: in an address, or in an option."""
_CONDA_TOKEN = re.compile(r"/t/([A-Za-z0-9_-]+|\$\{[A-Z0-9_]+\})(?=/)")
"""https://docs.anaconda.com/anacondaorg/user-guide/work-with-accounts: a token stands in the path."""
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
"""The parameters of a shared access signature; they mean nothing without `sig`.
https://learn.microsoft.com/rest/api/storageservices/create-service-sas."""
_SIGNED = frozenset(["sig", "signature", "expires", "policy", "key-pair-id", "googleaccessid"])


class Secret(str):
    """Text that may hold a password: whoever prints the value that it is part of sees `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{HIDDEN}'" if secrets(self) else super().__repr__()


def is_address(text: str) -> bool:
    """Whether `text` is an address with a scheme, such as `https://host/path` or `git+ssh://host/path`."""
    return _ADDRESS.fullmatch(text) is not None


def is_readable(address: str) -> bool:
    """Whether it is clear what in an address is the host; `https://user:pa/ss@host` is not clear."""
    match = _ADDRESS.fullmatch(address)
    return match is None or _HOST.fullmatch(match[2].rpartition("@")[2]) is not None


def is_loopback(text: str) -> bool:
    """Whether an address in `text` means the machine that it is used on.

    What stands before the last `@` is a login, and no host. Hosts are read as `inet_aton` reads them:
    `127.1` and `2130706433` are 127.0.0.1, and `127.example.org` is a name like any other.
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
    # 0.0.0.0 is every network's address of a machine, and no part of the loopback.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def public(address: str) -> str:
    """An address without what may be secret: user and password, tokens, signatures.

    What is left says which file or channel is meant: a signature that was renewed changes nothing. Text
    that is no address is returned as it is.
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
    told = [one for one in query[1:].split("&") if one and not _is_signature(one, query)]
    return f"?{'&'.join(told)}" if told else ""


def _is_signature(parameter: str, query: str) -> bool:
    name = parameter.partition("=")[0].lower()
    if name in _AZURE and re.search(r"[?&]sig=", query, re.IGNORECASE):
        return True
    return name in _SIGNED or name.startswith(("x-amz-", "x-goog-")) or is_secret(name)


def _fragment(fragment: str) -> str:
    told = [one for one in fragment[1:].split("&") if one.partition("=")[0] in _FRAGMENTS]
    if re.fullmatch(r"#[0-9a-f]{32,64}", fragment):  # conda's `URL#MD5`
        told = [fragment[1:]]
    return f"#{'&'.join(told)}" if told else ""


def secrets(text: str) -> set[str]:
    """The secret values in the addresses that stand in `text`."""
    found: set[str] = set()
    for match in _IN_A_TEXT.finditer(text):
        authority, path, query = match[2], match[3], match[4] or ""
        user, at, _ = authority.rpartition("@")
        if at:
            # A user without a password is a token, except git's own.
            password = user.partition(":")[2]
            found |= {user, password} if password or user != "git" else set()
        found |= set(_CONDA_TOKEN.findall(path))
        found |= {one.partition("=")[2] for one in query[1:].split("&") if _is_signature(one, query)}
        if not is_readable(match[0]):
            found.add(match[0].partition("://")[2])
    return {value for value in found if value}


def hidden(text: str, addresses: Iterable[str]) -> str:
    """`text` with the secrets of `addresses` in it replaced by `***`, the longest first."""
    values = {value for one in addresses for value in secrets(one)}
    # A value of one or two letters would blank out half of the sentence.
    for value in sorted(values):
        if len(value) <= 2:
            text = text.replace(f":{value}@", f":{HIDDEN}@")
    return hide(text, (value for value in values if len(value) > 2))


def with_login_encoded(address: str) -> str:
    """An address whose user and password every program reads alike: what has a meaning there is encoded.

    Which `@`, `/` or `#` ends the login is guessed only where an address can't be read otherwise. Text that
    is no address, or can't be read at all, is returned as it is.
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
    """`text` with every `${NAME}` of a variable that is set replaced by its value, as pip does."""
    return _VARIABLE.sub(lambda match: variables.get(match[1]) or match[0], text)


def expand_public(text: str, variables: Mapping[str, str]) -> str:
    """`text` with the variables filled in that say what is meant; those of logins stay as they are.

    A variable belongs to a login if it stands before the `@` of an address, or as a token in its path, or if
    it stands in an address or an option and its name looks secret. So two texts are equal where they differ
    in nothing but logins, and what `public` leaves of it is free of secrets.
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
    """The pieces of a text: each with the variable's name, if it is one, and whether that is a login's."""
    if "${" not in text:
        yield text, "", False
        return
    logins = [match.span() for one in (_LOGIN, _CONDA_TOKEN) for match in one.finditer(text)]
    private = [match.span() for match in _PRIVATE.finditer(text)]
    at = 0
    for match in _VARIABLE.finditer(text):
        yield text[at : match.start()], "", False
        at, where = match.end(), match.start()
        in_login = any(begin <= where < end for begin, end in logins)
        in_private = any(begin <= where < end for begin, end in private)
        yield match[0], match[1], in_login or (in_private and is_secret(match[1]))
    yield text[at:], "", False
