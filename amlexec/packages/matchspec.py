"""Conda specs as text: one spelling for each meaning, where conda itself makes no difference.

The rules are those of conda's MatchSpec,
https://docs.conda.io/projects/conda/en/stable/dev-guide/api/conda/models/match_spec/index.html. What is not
recognised keeps its spelling: an environment that is made once too often is better than a stale one.
"""

from __future__ import annotations

import re

from amlexec.packages.addresses import is_address, public

__all__ = ["canonical_channel", "canonical_spec", "channels", "name_of", "shown_version"]

DEFAULT_CHANNEL = "conda-forge"
"""For a file that names no channel."""

_CLAUSE = r"(?:==|>=|<=|!=|~=|=|>|<)?(?:\d+!)?(?:\*|[0-9A-Za-z_](?:[0-9A-Za-z_.+*-]*[0-9A-Za-z_*])?)"
_PLAIN = re.compile(
    rf"(?P<name>[A-Za-z0-9_.-]+?)\s*"
    rf"(?:(?:(?<=\s)|(?=[=<>!~]))(?P<version>{_CLAUSE}(?:[,|]{_CLAUSE})*)(?:(?:\s+|=)(?P<build>[A-Za-z0-9_.*]+))?)?"
)
_EMBEDDED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"\],]+")
_CHANNEL = re.compile(r"(?P<channel>[^\s\[\]]+)::(?P<rest>.+)", re.DOTALL)


def canonical_spec(text: str) -> str:
    """One conda spec: `NumPy = 1.26` and `numpy 1.26.*` are both `numpy 1.26.*`."""
    text = " ".join(text.split())
    match = _CHANNEL.fullmatch(text)
    if match is not None:
        return f"{canonical_channel(match['channel'])}::{canonical_spec(match['rest'])}"
    if is_address(text):
        return public(text)
    closed = re.sub(r"\s*([,|])\s*", r"\1", text)
    closed = re.sub(r"(==|>=|<=|!=|~=|(?<![=<>!~])[=<>])\s+(?![=<>!~])", r"\1", closed)
    match = _PLAIN.fullmatch(closed)
    if match is None:
        return _EMBEDDED.sub(lambda address: public(address[0]), text)
    return " ".join(filter(None, [match["name"].lower(), *_version(match["version"] or "", match["build"])]))


def _version(version: str, build: str | None) -> tuple[str, ...]:
    clauses = re.split(r"([,|])", version.lower())
    if build is None:
        clauses[::2] = [_clause(clause) for clause in clauses[::2]]
        if "|" not in clauses:  # all of them must hold, in whatever order
            return () if clauses == ["*"] else (",".join(sorted(set(clauses[::2]))),)
    elif len(clauses) == 1 and re.fullmatch(r"={0,2}[^=<>!~*]+", clauses[0]):
        # With a build behind it, `=1.26` means exactly this version.
        clauses = [f"=={clauses[0].lstrip('=')}"]
    return ("".join(clauses), *([build] if build else []))


def _clause(clause: str) -> str:
    version = clause.lstrip("=")
    operator = clause[: len(clause) - len(version)]
    if version[:1] in {"<", ">", "!", "~"} or operator not in {"", "=", "=="}:
        return clause
    if version in {"", "*"}:
        return "*"
    if "*" in version:
        return version if operator != "==" and re.fullmatch(r"[^*]*[^.*]\.\*", version) else clause
    return f"{version}.*" if operator == "=" else f"=={version}"


def name_of(spec: str) -> str:
    """The package's name in a spec, lower case; "" where it can't be told."""
    rest = spec.rpartition("::")[2].strip()
    if is_address(rest):
        file = rest.partition("#")[0].rpartition("/")[2]
        return file.rsplit("-", 2)[0].lower() if file.count("-") >= 2 else ""
    match = re.match(r"[A-Za-z0-9_.-]+", rest)
    return match[0].lower() if match else ""


def shown_version(before: str, after: str) -> tuple[str, str]:
    """The versions in two canonical specs of one package, as a sentence says them: `1.26` and `2.0`."""
    first, second = (spec.partition(" ")[2] or "any" for spec in (before, after))
    for form in (r"([^*<>!~=|, ]+)\.\*", r"==([^*<>!~=|, ]+)"):
        matches = [re.fullmatch(form, version) for version in (first, second)]
        if all(matches):
            first, second = (match[1] for match in matches if match)
            return first, second
    first, second = (re.sub(r"^([^*<>!~=|, ]+)\.\*$", r"=\1", version) for version in (first, second))
    return first, second


def canonical_channel(text: str) -> str:
    """A channel by its name, address or path, without what is secret and without a slash at the end."""
    text = text.strip()
    return public(text).rstrip("/") or text


def channels(texts: list[str]) -> tuple[str, ...]:
    """The channels in order, each once; conda-forge where there are none.

    `nodefaults` asks conda to add no channel of its own; amlexec never adds any.
    """
    told = dict.fromkeys(canonical_channel(text) for text in texts)
    told.pop("nodefaults", None)
    return tuple(told) or (DEFAULT_CHANNEL,)
