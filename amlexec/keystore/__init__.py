"""Secrets, outside the project: a folder of the user, or the system's keyring."""
