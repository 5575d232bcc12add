"""PREPARE: whether an environment is up to date, why not, and the build, for every store."""
