"""A request, as the server hands it to a scoring script."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, NamedTuple
from urllib.parse import parse_qsl

from .errors import AnswerError

__all__ = ["File", "Request", "json_of"]

_BOUNDARY = re.compile(r'boundary="?([^";]{1,200})"?')


class File(NamedTuple):
    """A part of a form."""

    filename: str
    content_type: str
    data: bytes


class Request(NamedTuple):
    """A request with its whole body. Names of headers are in lower case."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    identity: str = ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the body claims to be JSON."""
        return self.media_type in ("application/json", "text/json") or self.media_type.endswith("+json")

    def text(self) -> str:
        """The body as text. Raises AnswerError (400)."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise AnswerError(400, "the body is not UTF-8: byte {}".format(error.start)) from None

    def arguments(self) -> dict[str, Any]:
        """The query as JSON values: `a=1&b=[1]&c=x`."""
        found: dict[str, Any] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            try:
                found[name] = json.loads(value, parse_constant=_refused)
            except (ValueError, RecursionError):
                found[name] = value
        return found

    def form(self) -> dict[str, File]:
        """The parts of a body of type multipart/form-data, by name. Raises AnswerError (400)."""
        boundary = _BOUNDARY.search(self.headers.get("content-type", ""))
        if boundary is None:
            raise AnswerError(400, "the form's content type has no boundary")
        mark = b"--" + boundary[1].encode("latin-1", "replace")
        pieces = (b"\r\n" + self.body).split(b"\r\n" + mark)[1:]
        if not pieces or not pieces[-1].startswith(b"--"):
            raise AnswerError(400, "the form's end is missing")
        found = {}
        for piece in pieces[:-1]:
            head, blank, data = piece.partition(b"\r\n\r\n")
            named = re.search(rb'\bname="([^"]*)"', head)
            if not blank or named is None:
                raise AnswerError(400, "a part of the form has no name")
            file = re.search(rb'\bfilename="([^"]*)"', head)
            kind = re.search(rb"(?i)content-type:[ \t]*([^\r\n]+)", head)
            texts = [one[1].decode("utf-8", "replace") if one else "" for one in (named, file, kind)]
            found[texts[0]] = File(texts[1], texts[2], data)
        return found


def _refused(name: str) -> Any:
    raise ValueError("{} is not JSON".format(name))


def json_of(text: str) -> Any:
    """The value of a JSON text. Raises AnswerError (400) with the position of an error."""
    try:
        return json.loads(text, parse_constant=_refused)
    except json.JSONDecodeError as error:
        where = "line {}, column {}".format(error.lineno, error.colno)
        raise AnswerError(400, "the body is not JSON: {} at {}".format(error.msg, where)) from None
    except RecursionError:
        raise AnswerError(400, "the body is nested too deep") from None
    except ValueError as error:
        raise AnswerError(400, "the body is not JSON: {}".format(error)) from None
