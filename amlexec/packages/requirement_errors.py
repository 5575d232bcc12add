"""Errors for invalid lines of a pip section, with a hint at what was probably meant."""

from __future__ import annotations

import re

from amlexec.escaping import quoted
from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.requirement_paths import BadLineError
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

__all__ = [
    "must_be_from_here",
    "must_be_text",
    "no_requirement",
    "of_bounded_length",
    "public_text",
    "shown",
    "unknown_option",
]

_OF_PIP_INSTALL = frozenset(
    [
        *("-U", "--upgrade", "--upgrade-strategy", "--user", "-t", "--target", "--prefix", "--root", "-I"),
        *("--ignore-installed", "--force-reinstall", "--no-deps", "--no-cache-dir", "--cache-dir", "-q"),
        *("--quiet", "-v", "--verbose", "--no-input", "--no-build-isolation", "--break-system-packages"),
        *("--disable-pip-version-check", "--default-timeout", "--timeout", "--proxy", "--retries"),
        *(
            "--compile",
            "--no-compile",
            "--no-warn-script-location",
            "--use-deprecated",
            "--progress-bar",
            "--src",
        ),
        *("--ignore-requires-python", "--python-version", "--platform", "--abi", "--implementation"),
    ]
)
_OF_PIP_TOOLS = frozenset(
    [
        *("--generate-hashes", "--output-file", "-o", "--no-emit-index-url", "--emit-index-url"),
        *("--no-emit-trusted-host", "--emit-trusted-host", "--allow-unsafe", "--no-allow-unsafe"),
        *(
            "--annotate",
            "--strip-extras",
            "--no-strip-extras",
            "--no-annotate",
            "--annotation-style",
            "--no-header",
        ),
        *("--resolver", "--build-isolation", "--rebuild", "--reuse-hashes", "--no-reuse-hashes"),
        *("--pip-args", "--unsafe-package", "--emit-find-links", "--no-emit-find-links", "--emit-options"),
        *("--no-emit-options", "--all-extras", "--extra", "--no-config", "--newline", "--max-rounds"),
    ]
)
_LONGEST = 10_000
"""In characters, of a requirement."""
_LONGEST_WORD = 100
_ADDRESS = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://\S+")
_NO_LETTERS = "0123456789+.-"
_BUILT_BY_CONDA = re.compile(
    r"/croot/|/feedstock_root/|/conda-bld/|/tmp/build/[0-9a-f]{6,}/|/ci_py|/Users/runner/"
)


def public_text(text: str) -> str:
    """A line without the secrets in its addresses."""
    if "://" not in text:
        return text
    # A scheme begins with a letter; characters before it are no part of the address.
    return _ADDRESS.sub(lambda match: public(match[0].lstrip(_NO_LETTERS)), text)


def shown(text: str) -> str:
    """A line for a message: in quotes, shortened, without the secrets in its addresses."""
    return quoted(public_text(text))


def must_be_text(text: str) -> None:
    """Raise BadLineError if a requirement or path contains control characters."""
    if any(ord(char) < 32 and (char != "\t" or "\\" in text or text[1:2] == ":") for char in text):
        hint = "inside double quotes '\\' begins an escape: write single quotes, or '/'"
        raise BadLineError(f"{shown(text)} contains a control character", hint)


def of_bounded_length(text: str) -> str:
    """Return `text`; raise BadLineError if it is too long for the parser of markers, which is recursive."""
    if len(text) > _LONGEST:
        raise BadLineError(f"{shown(text)} is too long for a requirement")
    return text


def must_be_from_here(text: str, address: str) -> None:
    """Raise BadLineError for the path of a conda package's build, which `pip freeze` writes."""
    path = address.partition("://")[2]
    if _BUILT_BY_CONDA.search(path):
        name = re.match(r"[\w.-]*", text)
        raise BadLineError(
            f"{shown(text)} was written by pip freeze in a conda environment: the path is on another machine",
            f"write {name[0] if name else 'NAME'}==VERSION; `pip list --format=freeze` writes such lines",
        )


def no_requirement(text: str) -> BadLineError:
    """The error for an invalid requirement, with a hint at what was probably meant."""
    text = text.strip()
    name = re.match(r"[\w.-]+(\[[^\]]*\])?", text)
    rest = text[name.end() :].lstrip() if name else ""
    hint = "write name, name==version or a URL"
    if text.startswith("pip install "):
        hint = "leave out 'pip install'"
    elif "{{" in text or "{%" in text:
        return BadLineError(f"{shown(text)} is a template (Jinja)", "write the value itself")
    elif re.match(r"(=\s*['\"{]|(==?)?\s*\^)", rest):
        return BadLineError(
            f"{shown(text)} is not a pip requirement; it is syntax of Poetry or Pipenv",
            "write 'name>=1.2,<2' for ^1.2, name for '*'",
        )
    elif (rest[:1] == "=" and rest[:2] not in {"==", "=>", "=<"}) or rest[:3] == "== ":
        hint = "pip writes '==' where conda writes '='"
    elif rest[:2] in {"=>", "=<"}:
        hint = f"write '{rest[1]}=' for '{rest[:2]}'"
    elif re.search(r"\S#", text):
        hint = "write a blank before the '#' of a comment"
    elif "*" in rest and re.match(r"[<>~]", rest):
        hint = "use '*' only after == and !="
    elif len(text) == 2 and text[1] == ":":
        hint = "inside double quotes '\\' begins an escape: write single quotes, or '/'"
    return BadLineError(f"{shown(text)} is not a pip requirement", hint)


def unknown_option(word: str, text: str, known: Sequence[str], elsewhere: Container[str]) -> BadLineError:
    """The error for an option that pip refuses in the line `text`; `elsewhere`: options of separate lines."""
    if not word.startswith("-"):
        return BadLineError(
            f"{public_text(word)!r} follows an option in {public_text(text)!r}",
            "write the requirement as a separate entry",
        )
    if word in elsewhere:
        return BadLineError(f"{word} follows a requirement", "write it as a separate entry")
    if word in _OF_PIP_INSTALL:
        return BadLineError(
            f"{word} is an option of the command pip install, not of a requirements file",
            "leave it out: amlexec calls pip itself",
        )
    if word in _OF_PIP_TOOLS:
        return BadLineError(
            f"{word} is an option of pip-compile (pip-tools), not of a requirements file",
            "leave it out; `amlexec lock` writes packages with their hashes",
        )
    from difflib import get_close_matches

    guess = get_close_matches(word, known, 1) if 2 < len(word) < _LONGEST_WORD else []
    hint = (
        f"did you mean {guess[0]}?"
        if guess
        else f"known options: {', '.join(option for option in known if option[1] == '-')}"
    )
    return BadLineError(f"{quoted(word)[1:-1]} is not an option of requirements files", hint)
