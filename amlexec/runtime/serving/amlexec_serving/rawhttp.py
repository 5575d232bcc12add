"""`AMLRequest`, `AMLResponse` and `@rawhttp`, as far as scoring scripts use them."""

from __future__ import annotations

import io
import json
from typing import Any, Callable, Mapping, TypeVar
from urllib.parse import parse_qsl

from .errors import AnswerError
from .requests import File, Request, json_of

__all__ = ["AMLRequest", "AMLResponse", "rawhttp"]

_F = TypeVar("_F", bound=Callable[..., Any])


def rawhttp(function: _F) -> _F:
    """Let `run` get the request, instead of its body."""
    function.amlexec_rawhttp = True  # type: ignore[attr-defined]
    return function


class _Headers(dict):  # type: ignore[type-arg]
    """Headers by name in any case."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class FileStorage(io.BytesIO):
    """An uploaded file."""

    def __init__(self, part: File) -> None:
        super().__init__(part.data)
        self.filename = part.filename
        self.content_type = part.content_type

    @property
    def stream(self) -> io.BytesIO:
        """Itself."""
        return self


class AMLRequest:
    """A request with the attributes of Flask's that scoring scripts use."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.method = request.method
        self.headers = _Headers(request.headers)
        self.args = dict(parse_qsl(request.query, keep_blank_values=True))
        self.query_string = request.query.encode()
        self.content_type = request.headers.get("content-type", "")
        self.path = "/score"
        self._parts = request.form() if request.media_type == "multipart/form-data" else {}

    @property
    def data(self) -> bytes:
        """The body."""
        return self._request.body

    def get_data(self, cache: bool = True, as_text: bool = False, **_: object) -> Any:  # noqa: ARG002
        """The body as bytes or text."""
        return self._request.text() if as_text else self._request.body

    @property
    def json(self) -> Any:
        """The body as a JSON value."""
        return self.get_json()

    def get_json(self, force: bool = False, silent: bool = False, **_: object) -> Any:
        """The body as a JSON value; with `silent`, None if it is none."""
        try:
            if not force and not self._request.is_json:
                raise AnswerError(415, "the content type is not application/json")
            return json_of(self._request.text())
        except AnswerError:
            if silent:
                return None
            raise

    @property
    def files(self) -> Mapping[str, FileStorage]:
        """The files of a form."""
        return {name: FileStorage(part) for name, part in self._parts.items() if part.filename}

    @property
    def form(self) -> Mapping[str, str]:
        """The other fields of a form."""
        if self._parts:
            parts = self._parts.items()
            return {name: one.data.decode("utf-8", "replace") for name, one in parts if not one.filename}
        if self._request.media_type == "application/x-www-form-urlencoded":
            return dict(parse_qsl(self._request.text(), keep_blank_values=True))
        return {}


class AMLResponse:
    """An answer with its status and headers. With `json_str`, the message is sent as JSON."""

    def __init__(
        self,
        message: Any,
        status_code: int = 200,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        **_: object,
    ) -> None:
        self.message = message
        self.status_code = int(status_code)
        self.headers = dict(response_headers or {})
        self.json_str = json_str

    def amlexec_answer(self) -> tuple[int, bytes, dict[str, str], str]:
        """Status, body, headers and content type."""
        headers = {str(name).lower(): str(value) for name, value in self.headers.items()}
        for name in ("content-length", "transfer-encoding", "connection"):
            headers.pop(name, None)
        kind = headers.pop("content-type", "")
        if self.json_str:
            return self.status_code, json.dumps(self.message).encode(), headers, kind or "application/json"
        if isinstance(self.message, (bytes, bytearray)):
            return self.status_code, bytes(self.message), headers, kind or "application/octet-stream"
        return self.status_code, str(self.message).encode(), headers, kind or "text/plain; charset=utf-8"
