"""How to log in to a machine: the settings of a `.compute` file as values for OpenSSH."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec import redaction
from amlexec.errors import ConfigurationError

if TYPE_CHECKING:
    from amlexec.values import ComputeTarget

__all__ = ["Login", "PlainPassword", "is_user", "login_of", "split_address"]

_WORKBENCH = re.compile(r"AzureMlSecret=.*|[^#]+#[^#]+#[0-9a-f]{32}", re.DOTALL)
"""A handle of a secret that Azure ML Workbench stored, in both of its forms."""
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
_USER = re.compile(r"(?!.*\\\Z)[^\s\0@:'\"`$;&<>|(){}!\\-][^\s\0'\"`$;&<>|(){}!]*")
"""User names that OpenSSH accepts on a command line, such as `CORP\\ada`, without a leading dash."""


class PlainPassword(str):
    """A password written in the `.compute` file itself. Its repr is `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Login(NamedTuple):
    """A user at a machine. Printing it shows no secret."""

    alias: str
    """The machine's name in messages: the target's name, or `user@host`."""
    host: str
    """A name that DNS or `~/.ssh/config` knows, or an address."""
    user: str = ""
    """"" for the user of `~/.ssh/config`, or else the local user name."""
    port: int = 0
    """0 for the port of `~/.ssh/config`, or else 22."""
    secret: str = ""
    """Handle of a password in the key store, or of the passphrase of `private_key`; or a `PlainPassword`."""
    private_key: str = ""
    """Path of a private key file, or the handle of a private key in the key store."""
    known_hosts: str = ""
    """Path of the file of pinned host keys; "" for OpenSSH's own files."""

    @property
    def address(self) -> str:
        """`host`, or `[host]:port`, as known_hosts files write it."""
        return f"[{self.host}]:{self.port}" if self.port not in {0, 22} else self.host


def login_of(target: ComputeTarget) -> Login:
    """The login that a `.compute` file declares.

    Raises:
        ConfigurationError: the address is missing or invalid, or the user name is invalid.
    """
    from amlexec.keystore import store as keystore

    host, port = split_address(target.address, str(target.place))
    if target.username and not is_user(target.username):
        raise ConfigurationError(
            f"username {target.username!r} is not a valid user name", where=str(target.place)
        )
    login = Login(alias=target.name, host=host, user=target.username, port=port)
    pinned = keystore.pinned_hosts(login.address)
    return login._replace(
        secret=_secret(target.password),
        private_key=_private_key(target.private_key),
        known_hosts=str(pinned) if pinned.exists() else "",
    )


def is_user(text: str) -> bool:
    """Whether a text can be a user name on OpenSSH's command line."""
    return _USER.fullmatch(text) is not None


def split_address(address: str, where: str = "") -> tuple[str, int]:
    """Host and port (0 where none is given) of `host`, `host:port`, `[host]:port` or an IPv6 address.

    Raises:
        ConfigurationError: the text has none of these forms.
    """
    text = address.strip()
    match = re.fullmatch(r"\[(?P<host>[^]]*)\](:(?P<port>\d+))?", text)
    match = match or re.fullmatch(r"(?P<host>[^:]*)(:(?P<port>\d+))?", text)
    host, port = (match["host"], int(match["port"] or 0)) if match else (text, 0)
    if not _HOST.fullmatch(host) or port > 65535 or (match and match["port"] and not port):
        raise ConfigurationError(
            f"address {address!r} is not a host" if text else "the compute target has no address",
            where=where,
            hint="write `address: HOST` or `address: HOST:PORT`",
        )
    return host, port


def _secret(value: str) -> str:
    from amlexec.keystore import store as keystore

    if not value or _WORKBENCH.fullmatch(value):
        return ""
    if keystore.is_handle(value):
        return value
    redaction.learn(value)
    return PlainPassword(value)


def _private_key(value: str) -> str:
    from amlexec.keystore import store as keystore

    if not value or _WORKBENCH.fullmatch(value):
        return ""
    return value if keystore.is_handle(value) else os.path.expanduser(value)  # noqa: PTH111 - a string it stays
