"""The files of the page. They know nothing of the service: the script asks for it, with the key."""

from __future__ import annotations

import os

__all__ = ["FILES", "HEADERS"]

_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (
        "content-security-policy",
        _POLICY,
    ),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)


def _read(name: str) -> tuple[str, bytes]:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page", name), "rb") as file:
        return _KINDS[name.rpartition(".")[2]], file.read()


FILES = {
    "/": _read("index.html"),
    "/docs": _read("docs.html"),
    "/page/service.js": _read("service.js"),
    "/page/service.css": _read("service.css"),
}
"""Content type and content by path."""
