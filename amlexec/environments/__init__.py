"""PREPARE: what an environment is made of, which packages that comes to, and why one has to be made."""
