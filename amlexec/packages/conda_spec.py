"""Conda specs as text: check them, and give equivalent specs the same spelling.

The rules are those of conda's MatchSpec,
https://docs.conda.io/projects/conda/en/stable/dev-guide/api/conda/models/match_spec/index.html. Unknown
forms keep their spelling: an unnecessary rebuild is better than a stale environment.
"""

from __future__ import annotations

import re

from amlexec.escaping import quoted
from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.urls import is_address, public

if TYPE_CHECKING:
    from rattler import MatchSpec

__all__ = [
    "BadSpecError",
    "canonical_channel",
    "canonical_spec",
    "channels",
    "check",
    "name_of",
    "parsed",
    "shown_version",
]

DEFAULT_CHANNEL = "conda-forge"
"""The channel of a file that names none."""

_CLAUSE = r"(?:==|>=|<=|!=|~=|=|>|<)?(?:\d+!)?(?:\*|[0-9A-Za-z_](?:[0-9A-Za-z_.+*-]*[0-9A-Za-z_*])?)"
_PLAIN = re.compile(
    rf"(?P<name>[A-Za-z0-9_.-]+?)\s*"
    rf"(?:(?:(?<=\s)|(?=[=<>!~]))(?P<version>{_CLAUSE}(?:[,|]{_CLAUSE})*)(?:(?:\s+|=)(?P<build>[A-Za-z0-9_.*]+))?)?"
)
_USUAL = re.compile(
    r"[a-z0-9_][a-z0-9_.-]{0,80}(?:(?:==?|>=|<=?|>)[0-9]{1,9}(?:\.[0-9]{1,9}){0,5})?|"
    r"[a-z0-9_][a-z0-9_.-]{0,80}=[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}=[a-z0-9_]{1,80}"
)
"""The most common lines; they are valid. A check by rattler would cost its import, 20 ms."""
_LONGEST = 1000
"""In characters, of a spec that is not an address. rattler's parser is recursive."""
_EMBEDDED = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://[^\s'\"\],]+")
_CHANNEL = re.compile(r"(?P<channel>[^\s\[\]]+)::(?P<rest>.+)", re.DOTALL)


class BadSpecError(Exception):
    """A line of the conda section that is not a valid spec."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def check(text: str) -> None:
    """Raise BadSpecError if `text` is not a valid conda spec; all commands use this check."""
    text = text.strip()
    if not _USUAL.fullmatch(text):
        parsed(text)


def parsed(text: str) -> MatchSpec:
    """A conda spec, parsed by rattler.

    Raises:
        BadSpecError: it is not valid.
    """
    text = text.strip()
    _must_be_for_conda(text)
    import rattler
    from rattler import exceptions

    try:
        if _is_file(text):
            return rattler.MatchSpec.from_url(text)
        return rattler.MatchSpec(text)
    except (
        exceptions.InvalidMatchSpecError,
        exceptions.InvalidPackageNameError,
        exceptions.InvalidUrlError,
        exceptions.InvalidVersionSpecError,
        exceptions.InvalidChannelError,
    ) as error:
        raise BadSpecError(f"{_shown(text)} is not a conda spec", _hint(text)) from error


def _is_file(text: str) -> bool:
    """Whether a spec is the address of a package; `https://host/channel::name` is not."""
    return (is_address(text) or text.startswith("file:")) and "::" not in text


def _must_be_for_conda(text: str) -> None:
    """Raise for texts that rattler would misread or fail on."""
    below = "move it below '- pip:'"
    if not text:
        raise BadSpecError("an empty text is not a conda spec", "remove the line")
    if text.startswith("-"):
        raise BadSpecError(f"{_shown(text)} is an option of pip", below)
    if text.startswith(("pip install ", "conda install ")):
        raise BadSpecError(f"{_shown(text)} is a command", "write only the package")
    if _is_file(text):
        if not text.partition("?")[0].partition("#")[0].endswith((".conda", ".tar.bz2")):
            raise BadSpecError(f"{_shown(text)} is not a conda package", below)
        return
    if len(text) > _LONGEST:
        raise BadSpecError(f"{_shown(text)} is too long for a conda spec")
    _must_have_a_name(text)


def _must_have_a_name(text: str) -> None:
    below = "move it below '- pip:'"
    name = re.split(r"[\s=<>!~\[]", text.rpartition("::")[2], maxsplit=1)[0]
    if "{{" in text or "{%" in text:
        hint = "conda env files have no templates: write the value itself"
        raise BadSpecError(f"{_shown(text)} is a template (Jinja, as in conda-build)", hint)
    if " @ " in text or "@" in name:
        raise BadSpecError(f"{_shown(text)} is a pip requirement, not a conda spec", below)
    if ":" in name:
        raise BadSpecError(f"{_shown(text)} is not a conda spec", _hint(text))
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise BadSpecError(f"{_shown(text)} is not a conda spec", _hint(text))
    if "^" in text:
        hint = "write 'NAME >=1.2,<2' for Poetry's ^1.2"
        raise BadSpecError(f"{_shown(text)} is not a conda spec: '^' is Poetry's", hint)
    if len(text.split("[", 1)[0].split()) > 3 and not re.search(r"[<>=,|]", text):
        raise BadSpecError(f"{_shown(text)} is not a conda spec", _hint(text))


def _hint(text: str) -> str:
    if is_address(text):
        return "write it in the pip section"
    if re.match(r"[\w.-]+\[[\w\s,.-]+\]", text):
        return "only pip has extras: use conda's separate packages, or move it below '- pip:'"
    if ";" in text:
        return "only pip has markers after ';': move it below '- pip:'"
    if "===" in text or "=>" in text or "=<" in text:
        return "write NAME=VERSION, NAME==VERSION or 'NAME >=VERSION'"
    return "write name, name=version or 'name >=version'"


def _shown(text: str) -> str:
    return quoted(_EMBEDDED.sub(lambda address: public(address[0]), text))


def canonical_spec(text: str) -> str:
    """The canonical spelling of a conda spec: `NumPy = 1.26` and `numpy 1.26.*` are both `numpy 1.26.*`."""
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
        if "|" not in clauses:  # all of them must hold, so the order does not matter
            return () if clauses == ["*"] else (",".join(sorted(set(clauses[::2]))),)
    elif len(clauses) == 1 and re.fullmatch(r"={0,2}[^=<>!~*]+", clauses[0]):
        # With a build after it, `=1.26` means exactly this version.
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
    """The package's name in a spec, in lower case; "" if unknown."""
    rest = spec.rpartition("::")[2].strip()
    if is_address(rest):
        file = rest.partition("#")[0].rpartition("/")[2]
        return file.rsplit("-", 2)[0].lower() if file.count("-") >= 2 else ""
    match = re.match(r"[A-Za-z0-9_.-]+", rest)
    return match[0].lower() if match else ""


def shown_version(before: str, after: str) -> tuple[str, str]:
    """The versions in two canonical specs of one package, for a message: `1.26` and `2.0`."""
    first, second = (spec.partition(" ")[2] or "any" for spec in (before, after))
    for form in (r"([^*<>!~=|, ]+)\.\*", r"==([^*<>!~=|, ]+)"):
        matches = [re.fullmatch(form, version) for version in (first, second)]
        if all(matches):
            first, second = (match[1] for match in matches if match)
            return first, second
    first, second = (re.sub(r"^([^*<>!~=|, ]+)\.\*$", r"=\1", version) for version in (first, second))
    return first, second


def canonical_channel(text: str) -> str:
    """A channel by its name, address or path, without secrets and without a slash at the end."""
    text = text.strip()
    return public(text).rstrip("/") or text


def channels(texts: list[str]) -> tuple[str, ...]:
    """The channels in order, without duplicates; conda-forge if there are none.

    `nodefaults` asks conda to add no channel of its own; amlexec never adds any.
    """
    names = dict.fromkeys(canonical_channel(text) for text in texts)
    names.pop("nodefaults", None)
    return tuple(names) or (DEFAULT_CHANNEL,)
