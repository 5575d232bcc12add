"""Projects with dependencies."""

from __future__ import annotations

from tests.support.declared import declared, own_channel, own_network, package_cache

__all__ = ["declared", "own_channel", "own_network", "package_cache"]
