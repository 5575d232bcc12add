"""Redact secrets: values of names that look secret, and values that are known secrets."""

from __future__ import annotations

import os
import re
from functools import lru_cache

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "HIDDEN",
    "forms",
    "hide",
    "hide_known",
    "is_secret",
    "learn",
    "redact",
    "redacted",
    "redacted_arguments",
]

HIDDEN = "***"

_SECRET_PARTS = (
    *("secret", "token", "credential", "apikey", "api_key", "accesskey", "access_key", "accountkey"),
    *("account_key", "privatekey", "private_key", "connectionstring", "connection_string"),
    *("connstr", "conn_str"),
)
"""A name with one of these anywhere is that of a secret."""
_SECRET_WORDS = frozenset({"key", "pwd", "pat", "sas", "auth"})
"""So is a name with one of these between underscores, or a word that has one of the next at its end."""
_SECRET_ENDS = ("pass", "passwd", "password", "passphrase")
_SHORTEST = 6
"""In characters. Redacting a shorter value would hide ordinary words, too."""
_SHORTEST_KNOWN = 4
"""In characters, of a known secret."""
_KNOWN: set[str] = set()
# Compiled for the first argument that may match.
_OPTION = r"(?s)--?([A-Za-z][\w.-]*)(?:=(.*))?"
_ASSIGNMENT = r"(?s)[+~]*([A-Za-z][\w.-]*)[=:](.+)"
_LOGIN = r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s@:]*:([^/\s@]+)@"
_SIGNED = r"[?&;]([\w.-]+)=([^&;#\s]+)"
_SWITCHES = frozenset({"", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"})
_HARMLESS = (
    r"tokens|tokeni|(^|_)(max|min|num|n|pad|bos|eos|sep|cls|mask|unk|special)(_.*)?_token"
    r"|token_(type|len|count|limit|dim|id)|(primary|foreign|sort|public|partition|group|join|index)_key"
    r"|key_(?!id$)|_(file|path|dir|folder|env|var|variable|name|type|ttl)$"
)
"""Names that look secret but are not (`--max-tokens`, `--tokenizer`), or name a place (`--token-file`).
Compiled when the first name looks secret."""


@lru_cache(maxsize=1000)  # every message of a command asks for each of its variables
def is_secret(name: str) -> bool:
    """Whether an environment variable of this name probably holds a secret."""
    # Without patterns: a submission asks for each variable, and to compile one takes longer.
    name = name.lower().removesuffix("\n")
    return any(part in name for part in _SECRET_PARTS) or any(
        word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in name.split("_")
    )


def redacted(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables with `***` in place of values that look secret."""
    return {name: HIDDEN if value and is_secret(name) else value for name, value in variables.items()}


def redact(text: str, variables: Iterable[tuple[str, str]]) -> str:
    """`text` with every secret value of `variables` in it replaced, the longest first."""
    return hide(text, (value for name, value in variables if is_secret(name) and len(value) >= _SHORTEST))


def redacted_arguments(
    arguments: Sequence[str], variables: Iterable[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """A command line with its secrets replaced, for logs and records; the script gets the original.

    `***` replaces values in the place of a secret (`--api-key X`, `--password=X`, `-token X`, `API_KEY=X`,
    `token:X`, `https://user:X@host`, `?sig=X`), their repetitions, and the secret values of `variables`.
    """
    hidden: list[str] = []
    secrets: set[str] = set()
    for value, places in _secrets_in(arguments):
        secrets |= {value} if len(value) >= _SHORTEST_KNOWN else set()
        hidden.append(places)
    return tuple(redact(hide(text, secrets), variables) for text in hidden)


def _secrets_in(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """For each argument: the secret in it or "", and the argument without it."""
    awaited = False
    for argument in arguments:
        if not awaited and not argument.startswith("-") and "=" not in argument and ":" not in argument:
            yield "", argument  # none of the patterns can match
            continue
        option, assigned = re.fullmatch(_OPTION, argument), re.fullmatch(_ASSIGNMENT, argument)
        value = ""
        was_awaited, awaited = awaited, False
        if was_awaited and (option is None or (option[2] is None and not _looks_like_option(argument))):
            value = argument
        elif option is not None and _is_secret_option(option[1]):
            awaited, value = option[2] is None, option[2] or ""
        elif assigned is not None and _is_secret_option(assigned[1]):
            value = assigned[2]
        elif login := re.search(_LOGIN, argument):
            value = login[1]
        elif signed := _signature(argument):
            value = signed
        if value.lower() in _SWITCHES:
            value = ""
        at_end = value and argument.endswith(value)
        yield value, argument[: -len(value)] + HIDDEN if at_end else hide(argument, {value} - {""})


def _signature(argument: str) -> str:
    """The first value in the query of an address that is a signature or another secret, or ""."""
    for parameter in re.finditer(_SIGNED, argument):
        name, value = parameter.groups()
        if name.lower() in {"sig", "signature"} or _is_secret_option(name):
            return value
    return ""


def _looks_like_option(argument: str) -> bool:
    return argument.startswith("--") or re.fullmatch(r"-[A-Za-z]", argument) is not None


def _is_secret_option(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").replace(".", "_")
    return is_secret(words) and not re.search(_HARMLESS, words, re.IGNORECASE)


def learn(*values: str) -> None:
    """Register known secrets: from now on, this process hides them in all its messages."""
    _KNOWN.update(value for value in values if len(value) >= _SHORTEST_KNOWN)


def hide_known(text: str) -> str:
    """`text` without the known secrets, and without those in the environment of this process."""
    values = set(_KNOWN)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and is_secret(name) and not os.path.exists(value):  # noqa: PTH110 - cheap
            values.add(value)
    return hide(text, values) if values else text


def hide(text: str, values: Iterable[str]) -> str:
    """`text` with these values replaced, in every form that a tool may print, the longest first."""
    every_form: set[str] = set()
    for value in values:
        every_form |= forms(value)
    for form in sorted(every_form, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def forms(value: str) -> set[str]:
    """A value itself, and its forms in an address, in JSON, TOML, Python, a shell, or on one line."""
    import json
    from urllib.parse import quote, quote_plus, unquote

    found = {value}
    for raw in {value, unquote(value)}:
        as_bytes = raw.encode("utf-8", "surrogateescape")
        found |= {raw, " ".join(raw.split()), as_bytes.decode("utf-8", "replace")}
        for encoded in (quote(as_bytes), quote(as_bytes, safe=""), quote_plus(as_bytes)):
            found |= {encoded, re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)}
        found |= {json.dumps(raw)[1:-1], json.dumps(raw, ensure_ascii=False)[1:-1], repr(raw)[1:-1]}
        found.add(raw.replace("\\", "\\\\"))
        found |= {raw.replace("'", "'\\''"), raw.replace("'", "'\"'\"'")}
        found.add("".join(f"\\U{ord(char):08x}" if ord(char) > 0x7E else char for char in raw))
    # Forms that are much shorter than the value could match ordinary text.
    return {value} | {form for form in found if len(form) >= min(len(unquote(value)), _SHORTEST_KNOWN)}
