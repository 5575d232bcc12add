"""Put the page together: one HTML document, without other files and without a network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from functools import cache
from pathlib import Path
from typing import Any

from amlexec.escaping import on_one_line

__all__ = ["Parts", "document", "in_script", "live_document", "live_policy", "scripts", "style"]

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = (
    "text.js",
    "source.js",
    "state.js",
    "drawing.js",
    "runs.js",
    "curves.js",
    "relations.js",
    "differences.js",
    "details.js",
    "main.js",
)
"""In this order they are one script, in a function of its own."""
# Chromium's language may be `en-US@posix`, with which uPlot does not even load.
_BEFORE_LIBRARY = b"""
let language = 'en-US';
try {
  [language] = Intl.getCanonicalLocales(navigator.language);
} catch {
  // as above
}
const uPlot = ((navigator) => {"""
_AFTER_LIBRARY = b"return uPlot;\n})({ language });"
_LEVEL = 4
"""Of compression: half the time of the usual 6, for 3 % more bytes."""


class Parts:
    """The data of a page: `main` is read at once, the others when they are needed."""

    def __init__(
        self, main: dict[str, Any], curves: bytes, details: dict[str, Any], code: dict[str, Any]
    ) -> None:
        self.main, self.curves, self.details, self.code = main, curves, details, code


def document(parts: Parts) -> bytes:
    """The page as a file."""
    data = [
        _block("data-curves", "application/octet-stream", _packed(parts.curves)),
        _block("data-details", "application/octet-stream", _packed(_encoded(parts.details))),
        _block("data-code", "application/octet-stream", _packed(_encoded(parts.code))),
    ]
    return _document(parts.main, data, _policy())


def live_document(main: dict[str, Any]) -> bytes:
    """The page of a live server, which asks the server for everything but `main`."""
    return _document(main, [], live_policy())


@cache
def live_policy() -> str:
    """The content security policy of the live page. It may ask its own server."""
    return f"{_policy()}; connect-src 'self'"


def _policy() -> str:
    return (
        f"default-src 'none'; script-src '{_hash(scripts())}'; style-src '{_hash(style())}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _document(main: dict[str, Any], data: list[bytes], policy: str) -> bytes:
    title = html.escape(on_one_line(f"Runs of {main.get('project', '')}"))
    body = _asset("page.html")
    # The policy comes first: it only holds for what follows. The tables are drawn before the rest arrives.
    return b"".join(
        [
            b'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'.encode(),
            b'<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            b'<meta name="color-scheme" content="light dark">\n',
            b'<meta name="referrer" content="no-referrer">\n',
            f"<title>{title}</title>\n<style>".encode(),
            style(),
            b"</style>\n</head>\n",
            body,
            _block("data-main", "application/json", in_script(main)),
            b"<script>",
            scripts(),
            b"</script>\n",
            *data,
            b"</body>\n</html>\n",
        ]
    )


def scripts() -> bytes:
    """The page's only script."""
    own = b"\n".join(_asset(name) for name in _SCRIPTS)
    library = [_BEFORE_LIBRARY, _asset("uplot/uPlot.iife.min.js"), _AFTER_LIBRARY]
    return b"\n".join([b"(() => {\n'use strict';", *library, own, b"})();\n"])


def style() -> bytes:
    """The page's only style sheet."""
    return b"\n".join([_asset("uplot/uPlot.min.css"), _asset("page.css")])


def in_script(value: object) -> bytes:
    """A value as strict JSON that is safe within a `<script>` element: ASCII, and no tag can begin in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("ascii")


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _packed(data: bytes) -> bytes:
    # Without a time, so that the same runs make the same page.
    return base64.b64encode(gzip.compress(data, _LEVEL, mtime=0))


def _block(name: str, kind: str, content: bytes) -> bytes:
    return b"".join([f'<script type="{kind}" id="{name}">'.encode(), content, b"</script>\n"])


def _hash(content: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


def _asset(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()
