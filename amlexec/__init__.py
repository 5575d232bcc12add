"""Run machine-learning experiments the way `make` and `tox` run builds."""

__version__ = "0.1.0"
