"""A log of requests and answers for later reports: sampled, redacted, rotated; off by default."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from typing import Any

from .requests import Request
from .script import Answer
from .settings import Settings

__all__ = ["RequestLog"]

_NAME = "requests.jsonl"
_KEPT = 5
_LONGEST = 1 << 16
"""Characters of a request or an answer; of longer ones, only the size is logged."""
_HIDDEN = "[redacted]"


class RequestLog:
    """Lines of JSON in a folder with the machine's name: `requests.jsonl`, and `….1` to `….5`, the older."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_on = bool(settings.log_folder) and settings.log_sample > 0
        # Replicas share the folder.
        self._folder = os.path.join(settings.log_folder, socket.gethostname())
        self._path = os.path.join(self._folder, _NAME)
        self._hidden = {name.lower() for name in settings.log_redact}

    def add(self, request: Request, answer: Answer, milliseconds: float) -> bool:
        """Log a request if it belongs to the sample; False if it can't be written."""
        if self._settings.log_sample < 1 and random.random() >= self._settings.log_sample:  # noqa: S311
            return True
        line: dict[str, Any] = {
            "time": round(time.time(), 3),
            "id": request.identity,
            "status": answer.status,
            "ms": round(milliseconds, 3),
            "models": ["{name}:{version}".format(**one) for one in self._settings.models],
            "input": self._told(request.body, request.query),
            "output": self._told(answer.body, ""),
        }
        try:
            self._write(json.dumps(line).encode() + b"\n")
        except OSError:
            return False
        return True

    def _told(self, body: bytes, query: str) -> Any:
        if len(body) > _LONGEST:
            return {"bytes": len(body)}
        try:
            return (
                self._redacted(json.loads(body or "null", parse_constant=str)) if body or not query else query
            )
        except (ValueError, RecursionError):
            # What is no JSON has no fields that could be left out.
            return {"bytes": len(body)} if self._hidden else body.decode("utf-8", "replace")

    def _redacted(self, value: Any) -> Any:
        if not self._hidden:
            return value
        if isinstance(value, dict):
            return {
                name: _HIDDEN if name.lower() in self._hidden else self._redacted(one)
                for name, one in value.items()
            }
        return [self._redacted(one) for one in value] if isinstance(value, list) else value

    def _write(self, line: bytes) -> None:
        try:
            is_full = os.stat(self._path).st_size + len(line) > self._settings.log_size
        except FileNotFoundError:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            is_full = False
        if is_full:
            for number in range(_KEPT - 1, 0, -1):
                older = "{}.{}".format(self._path, number)
                if os.path.exists(older):
                    os.replace(older, "{}.{}".format(self._path, number + 1))
            os.replace(self._path, self._path + ".1")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
