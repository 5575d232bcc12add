"""A machine over SSH: the connection, how to log in, and where secrets are kept."""
