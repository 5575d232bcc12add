"""Translate rattler's errors to messages about the user's conda dependencies."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import AmlexecError, ConfigurationError, TargetError
from amlexec.packages.conda_spec import canonical_spec, name_of
from amlexec.packages.urls import hidden, public
from amlexec.values import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rattler import Channel, Gateway, RepoDataRecord

    from amlexec.dependencies import Line
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform

__all__ = [
    "SolveRequest",
    "ChannelSource",
    "mismatch",
    "no_cache",
    "not_installed",
    "unreachable",
    "unsolvable",
]

_TREE_LINES = 10
"""A tree may have thousands of lines; the first ones matter."""
_VERSIONS = 5


class ChannelSource(NamedTuple):
    """A channel: its address, with the password, and the line that names it."""

    address: str
    line: Line


class SolveRequest(NamedTuple):
    """The input of a solve."""

    channels: list[Channel]
    sources: list[ChannelSource]
    lines: list[Line]
    specs: list[Any]
    """rattler's MatchSpec of each line."""
    platform: Platform


async def unsolvable(message: str, request: SolveRequest, gateway: Gateway) -> ConfigurationError:
    """The error for unsolvable specs: every line that fails by itself, else the conflict."""
    import rattler

    subdirs = [rattler.Subdir(request.platform.subdir), rattler.Subdir("noarch")]
    violations = []
    for line, spec in zip(request.lines, request.specs, strict=True):
        name = name_of(line.text)
        if not name or name.startswith("__"):
            continue
        found = await gateway.query(request.channels, subdirs, [name], recursive=False)
        # With strict priority the first channel that has the name is the only one that counts.
        records = next((records for records in found if records), [])
        if not records:
            violations.append(_missing(line, name, request, await gateway.names(request.channels, subdirs)))
        elif not any(spec.matches(record) for record in records):
            violations.append(_no_version(line, name, records))
    if not violations:
        violations = [_conflict(message, request)]
    first = min(violations)
    return ConfigurationError(first.message, where=str(first.place), hint=first.hint, violations=violations)


def _missing(line: Line, name: str, request: SolveRequest, names: Iterable[Any]) -> Violation:
    channels = ", ".join(dict.fromkeys(public(source.line.text) for source in request.sources))
    message = f"there is no conda package {name} for {request.platform.subdir} in {channels}"
    if name in sys.stdlib_module_names:
        hint = f"{name} is a module of Python's standard library: remove the line"
    else:
        from difflib import get_close_matches

        guess = get_close_matches(name, [known.normalized for known in names], 1, 0.8)
        hint = f"did you mean {guess[0]}? " if guess else ""
        hint += "Packages of PyPI belong in the pip section; packages of another channel need that channel"
    return Violation(line.place, "error", message, hint)


def _no_version(line: Line, name: str, records: Sequence[RepoDataRecord]) -> Violation:
    newest = sorted({record.version for record in records}, reverse=True)
    versions = ", ".join(str(version) for version in newest[:_VERSIONS]) + (
        ", ..." if len(newest) > _VERSIONS else ""
    )
    wanted = canonical_spec(line.text).partition(" ")[2]
    message = (
        f"there is no {name} {wanted} among the conda packages" if wanted else f"no {name} fits {line.text}"
    )
    return Violation(line.place, "error", message, f"available: {versions}")


def _conflict(message: str, request: SolveRequest) -> Violation:
    tree = message.partition("because of: ")[2] or message
    lines = [line.rstrip() for line in tree.splitlines() if line.strip()]
    if len(lines) > _TREE_LINES:
        lines = [*lines[:_TREE_LINES], f"... {len(lines) - _TREE_LINES} more lines"]
    reasons = "\n  ".join(public_text(line) for line in lines)
    concerned = [
        line for line in request.lines if re.search(rf"(?<![\w.-]){re.escape(name_of(line.text))}[ ,]", tree)
    ]
    place = (concerned or request.lines)[-1].place
    where = ", ".join(f"{line.text} (line {line.place.line})" for line in concerned if line.place.line)
    hint = f"change one of: {where}" if len(concerned) > 1 else "use less exact versions, or other packages"
    return Violation(place, "error", f"the conda packages cannot be installed together:\n  {reasons}", hint)


def public_text(text: str) -> str:
    """A line of rattler's output without the secrets in its addresses."""
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"),]+", lambda match: public(match[0]), text)


def unreachable(message: str, sources: Sequence[ChannelSource], network: Network) -> AmlexecError:
    """The error for a channel that can't be reached or gives a wrong answer."""
    causes = _causes(message, [*(source.address for source in sources), *network.addresses])
    source = next((each for each in sources if _named_in(each.address, message)), sources[0])
    name = public(source.line.text)
    address = public(source.address)
    shown = name if name.rstrip("/") == address.rstrip("/") else f"{name} ({address})"
    where = str(source.line.place)
    if re.search(r"\b(401|403)\b", message):
        return TargetError(
            f"the channel {shown} requires a password: {causes[-1]}",
            where=where,
            hint="put it into ~/.netrc, or into rattler's store: `pixi auth login`, RATTLER_AUTH_FILE",
        )
    if re.search(r"\b404\b|could not find subdir|No such file", message):
        return TargetError(
            f"there is no channel {shown}", where=where, hint=f"{causes[0]}; check the spelling"
        )
    hint = "check the network, HTTPS_PROXY and the channel's address"
    if "certificate" in message.lower():
        hint = "set SSL_CERT_FILE to the file with your network's certificates"
    return TargetError(f"the channel {shown} cannot be reached: {causes[-1]}", where=where, hint=hint)


def _named_in(address: str, message: str) -> bool:
    bare = public(address).partition("://")[2].rstrip("/")
    return bare in public_text(message).replace("/t/********", "") or bare in message


def _causes(message: str, addresses: Iterable[str]) -> list[str]:
    lines = [line.removeprefix("Caused by:").strip() for line in message.splitlines() if line.strip()]
    return [public_text(hidden(line, addresses)).rstrip(".") for line in lines] or ["no reason was given"]


def not_installed(message: str, records: Sequence[RepoDataRecord], network: Network) -> TargetError:
    """The error for an installation that failed."""
    causes = _causes(message, [*(record.url for record in records), *network.addresses])
    file = re.search(r"failed to fetch (\S+)", message)
    record = next((each for each in records if file and each.file_name == file[1]), None)
    if "No space left" in message:
        return TargetError(
            "the disk is full: the conda packages cannot be unpacked", hint="free some space and try again"
        )
    if record is None:
        return TargetError(f"the conda packages cannot be installed: {causes[-1]}")
    if found := re.search(r"expected [0-9a-f]{64}, got ([0-9a-f]{64})", message):
        return mismatch(record, found[1])
    name = record.name.normalized
    if re.search(r"\b404\b|\b410\b|No such file", message):
        return TargetError(
            f"{record.file_name} is no longer in its channel {public(record.channel or record.url)}",
            hint=f"`amlexec lock -c NAME --upgrade {name}` takes an available one",
        )
    return TargetError(
        f"{record.file_name} cannot be fetched from {public(record.url)}: {causes[-1]}",
        hint="check the network, HTTPS_PROXY and SSL_CERT_FILE, and try again",
    )


def mismatch(record: RepoDataRecord, found: str) -> TargetError:
    """The error for a package whose content differs from the solved or locked one."""
    expected = record.sha256.hex() if record.sha256 else "another"
    return TargetError(
        f"{public(record.url)} has the sha256 {found}; expected {expected}",
        hint="the download is damaged, or the channel replaced the file; "
        f"`amlexec lock -c NAME --upgrade {record.name.normalized}` accepts the new file",
    )


def no_cache(folder: Path, error: OSError) -> TargetError:
    """The error for a cache that can't be written."""
    return TargetError(
        f"cannot make the folder {folder}: {error.strerror}",
        hint="set AMLEXEC_CACHE to a writable folder",
    )
