"""Options that commands about services share, and what they print."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.services.request import Answer

__all__ = [
    "add_data",
    "add_models",
    "body_of",
    "must_be_replicas",
    "sample_of",
    "script_of",
    "show",
    "size_of",
]

_MOST_INPUT = 1 << 30
_MOST_REPLICAS = 100
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmg]?)b?", re.IGNORECASE)


def add_models(verb: argparse.ArgumentParser) -> None:
    """Add `--model`, several times, as `models`, and `--registry`."""
    verb.add_argument(
        "--model",
        action="append",
        default=[],
        dest="models",
        metavar="MODEL",
        help="NAME:VERSION or NAME:ALIAS of the registry, or a file or folder; can be repeated",
    )
    verb.add_argument(
        "--registry",
        metavar="PLACE",
        help="folder or URL of the registry (default: AMLEXEC_MODELS, else the project's own)",
    )


def add_data(verb: argparse.ArgumentParser) -> None:
    """Add `-d` as `data`, and `--content-type`."""
    verb.add_argument("-d", "--data", metavar="TEXT|@FILE", help="body of the request; @- is standard input")
    verb.add_argument("--content-type", default="application/json", help="type of the body")


def body_of(arguments: argparse.Namespace) -> bytes:
    """The body that `-d` names. Raises UsageError."""
    text = arguments.data or ""
    return sys.stdin.buffer.read(_MOST_INPUT) if text == "@-" else _content(text)


def sample_of(text: str | None) -> str:
    """The sample that `--sample` names, as text. Raises UsageError."""
    try:
        return _content(text or "").decode()
    except UnicodeDecodeError:
        raise UsageError("the sample is not text in UTF-8", where="--sample") from None


def _content(text: str) -> bytes:
    """The bytes of `TEXT`, or of the file in `@FILE`. Raises UsageError if it can't be read."""
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"{text[1:]} can't be read: {error.strerror}") from None


def script_of(text: str) -> Path:
    """The path of a scoring script. Raises UsageError."""
    path = Path(text)
    if not path.is_file():
        raise UsageError(
            f"there is no scoring script {text}", hint="it is a Python file with init() and run(data)"
        )
    return path


def show(answer: Answer) -> None:
    """Print the body of an answer; its status, if it is an error, as a message."""
    console.data(answer.body.decode("utf-8", "backslashreplace").rstrip("\n"))
    if not answer.is_fine:
        console.say(f"the service answered {answer.status}")


def must_be_replicas(number: int) -> None:
    """Raise UsageError if it is no number of replicas."""
    if not 0 < number <= _MOST_REPLICAS:
        raise UsageError(f"{number} is not a number of replicas from 1 to {_MOST_REPLICAS}")


def size_of(text: str | None) -> int:
    """The number of bytes of a size such as `2g`; 0 for none. Raises UsageError."""
    if not text:
        return 0
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size such as 512m or 2g")
    return int(float(match[1]) * 1024 ** " kmg".index(match[2].lower() or " "))
