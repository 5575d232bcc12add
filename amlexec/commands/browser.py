"""Open a page in the user's browser."""

from __future__ import annotations

from amlexec import console

__all__ = ["open_page"]


def open_page(address: str) -> None:
    """Open an address; says so if there is no browser."""
    import webbrowser

    if not webbrowser.open(address):
        console.say("warning: there is no browser to open it")
