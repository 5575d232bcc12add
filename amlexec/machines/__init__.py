"""Machines as compute targets: attach, trust and check them."""
