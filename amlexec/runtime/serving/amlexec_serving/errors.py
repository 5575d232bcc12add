"""Errors that become answers, with their HTTP status."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

__all__ = ["AnswerError", "InvalidError", "passable"]


class AnswerError(Exception):
    """An error for the client."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.fields: Sequence[Mapping[str, Any]] = ()


class InvalidError(AnswerError):
    """Values of the wrong type: 422, with the fields."""

    def __init__(self, fields: Sequence[Mapping[str, Any]]) -> None:
        first = fields[0]
        more = " (and {} more)".format(len(fields) - 1) if len(fields) > 1 else ""
        super().__init__(422, "{}: {}{}".format(first["field"], first["message"], more))
        self.fields = fields


def passable(error: BaseException) -> Exception:
    """An error as a future takes it: none that would end the server's loop, such as that of `sys.exit`."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(repr(error))
