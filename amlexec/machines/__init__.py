"""Machines as compute targets: attached, trusted, examined."""
