"""Handing runs to other systems."""
