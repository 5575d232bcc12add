"""RECORD: what is kept of every run, where, and how it is found again."""
