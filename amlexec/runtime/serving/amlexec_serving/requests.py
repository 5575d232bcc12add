"""A request, as the server hands it to a scoring script."""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Mapping, NamedTuple
from urllib.parse import parse_qsl

from .errors import AnswerError

__all__ = ["File", "Request", "json_of", "text_of"]

_BOUNDARY = re.compile(r'boundary="?([^";]{1,200})"?')


class File(NamedTuple):
    """A part of a form."""

    filename: str
    content_type: str
    data: bytes


class Request:
    """A request with its whole body."""

    __slots__ = ("_headers", "body", "identity", "method", "query", "raw_headers")

    def __init__(
        self, method: str, query: str, raw_headers: Mapping[bytes, bytes], body: bytes, identity: str = ""
    ) -> None:
        self.method = method
        self.query = query
        self.raw_headers = raw_headers
        self.body = body
        self.identity = identity
        self._headers: Mapping[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names are in lower case."""
        if self._headers is None:
            raw = self.raw_headers.items()
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
        return self._headers

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return _media_type(self.raw_headers.get(b"content-type", b""))

    @property
    def is_json(self) -> bool:
        """Whether the body claims to be JSON."""
        return _is_json(self.media_type)

    def text(self) -> str:
        """The body as text. Raises AnswerError (400)."""
        return text_of(self.body)

    def arguments(self) -> dict[str, Any]:
        """The query as JSON values: `a=1&b=[1]&c=x`."""
        found: dict[str, Any] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            try:
                found[name] = _decoded(value)
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


@functools.lru_cache(maxsize=64)
def _media_type(content_type: bytes) -> str:
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


@functools.lru_cache(maxsize=64)
def _is_json(media_type: str) -> bool:
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def text_of(data: bytes) -> str:
    """A body, or a part of a form, as text. Raises AnswerError (400)."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise AnswerError(400, "the body is not UTF-8: byte {}".format(error.start)) from None


def _refused(name: str) -> Any:
    raise ValueError("{} is not JSON".format(name))


_decoded = json.JSONDecoder(parse_constant=_refused).decode


def json_of(text: str) -> Any:
    """The value of a JSON text. Raises AnswerError (400) with the position of an error."""
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        where = "line {}, column {}".format(error.lineno, error.colno)
        raise AnswerError(400, "the body is not JSON: {} at {}".format(error.msg, where)) from None
    except RecursionError:
        raise AnswerError(400, "the body is nested too deep") from None
    except ValueError as error:
        raise AnswerError(400, "the body is not JSON: {}".format(error)) from None
