"""Secrets outside the project: in a folder of the user, or in the system's keyring."""
