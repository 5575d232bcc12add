"""A machine over SSH: the connection, and how to log in."""
