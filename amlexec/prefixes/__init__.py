"""Environments as conda prefixes on a machine over SSH: find, build, remove."""
