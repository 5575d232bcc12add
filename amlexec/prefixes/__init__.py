"""Environments as conda prefixes on a machine over SSH: found, made, removed."""
