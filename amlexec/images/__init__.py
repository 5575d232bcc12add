"""Environments as Docker images: find, build, push, pull, remove."""
