"""Environments as Docker images: found, made, shared through a registry, removed."""
