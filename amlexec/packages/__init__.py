"""Packages: which ones an environment needs, where they come from, and how they get into a folder."""
