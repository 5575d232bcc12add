"""A request to a service."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "send"]

_TIMEOUT_S = 3600.0
_MOST_ANSWER = 1 << 30


class Answer(NamedTuple):
    """What a service answered."""

    status: int
    body: bytes

    @property
    def is_fine(self) -> bool:
        """Whether it is no error."""
        return self.status < 400


def send(
    host: str, port: int, key: str, body: bytes, content_type: str, *, context: ssl.SSLContext | None = None
) -> Answer:
    """POST a body to /score.

    Raises:
        TargetError: nobody answers.
    """
    connection: http.client.HTTPConnection
    if context is not None:
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    headers = {"Content-Type": content_type, "User-Agent": "amlexec"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        connection.request("POST", "/score", body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(_MOST_ANSWER))
    except (OSError, http.client.HTTPException) as error:
        raise TargetError(f"the service does not answer: {error}", where=f"{host}:{port}") from None
    finally:
        connection.close()
