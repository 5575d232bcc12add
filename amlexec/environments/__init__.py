"""Environments as values: spec, digest, lock file, build request, and the reason for a rebuild."""
