"""The model registry: immutable versions of files, their origin, and names for them. Plain files."""
