"""One request to a replica from within its container: `--ask PATH`, with the body as standard input.

It prints the status and the body. As the container's health check, its exit code is all that counts.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from typing import Sequence

__all__ = ["ask"]

_TIMEOUT_S = 60.0


def ask(arguments: Sequence[str]) -> int:
    """0 if the answer's status is below 400."""
    port = int(os.environ.get("AMLEXEC_SERVICE_PORT", "8000"))
    if os.environ.get("AMLEXEC_SERVICE_CERTIFICATE"):
        # Nobody else is on a container's loopback, and the certificate is for the service's name.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=_TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    headers = {}
    key = os.environ.get("AMLEXEC_SERVICE_KEY", "")
    file = os.environ.get("AMLEXEC_SERVICE_KEY_FILE", "")
    if file:
        with open(file, encoding="ascii") as keys:
            key = keys.readline().strip()
    if key:
        headers["Authorization"] = "Bearer " + key
    body = None
    if len(arguments) > 1:
        body = sys.stdin.buffer.read()
        headers["Content-Type"] = arguments[1]
    try:
        connection.request("GET" if body is None else "POST", arguments[0], body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write("0\n{}".format(error))
        return 1
    sys.stdout.write("{}\n".format(answer.status))
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
    return int(answer.status >= 400)
