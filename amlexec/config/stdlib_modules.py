"""Modules of Python's standard library that users mistake for conda packages.

A channel can have a package of any name, and the large ones have many with the name of a module: GNU's
readline, gzip, gettext and time, or Zope's DateTime. So only a bare name can be a mistake, and it counts as
one only if conda-forge and conda's own channels have no package of that name.
"""

from __future__ import annotations

import sys

__all__ = ["is_module", "may_be_module"]

_NO_PACKAGES = frozenset(
    [
        *("collections", "csv", "functools", "io", "itertools", "json", "logging", "math", "os", "os.path"),
        *("pickle", "random", "re", "shutil", "string", "subprocess", "sys", "threading", "urllib"),
    ]
)
"""Common modules without a package of that name in conda-forge or conda's own channels."""
_PACKAGES = frozenset(
    [
        # Libraries and programs that occur in exported environments.
        *(
            "bz2",
            "bzip2",
            "curses",
            "gettext",
            "glob",
            "gzip",
            "lzma",
            "nt",
            "readline",
            "resource",
            "select",
        ),
        *("sqlite", "sqlite3", "ssl", "time", "tk", "tkinter", "uuid", "zlib"),
        # Backports for older Pythons, and packages that grew beyond the module.
        *("argparse", "asyncio", "configparser", "contextvars", "dataclasses", "datetime", "enum"),
        *("graphlib", "importlib", "ipaddress", "pathlib", "selectors", "statistics", "tomllib", "typing"),
        *("unittest", "zoneinfo"),
    ]
)
"""Names of modules that are, or may be, packages in a channel."""


def is_module(spec: str) -> bool:
    """Whether a conda spec is certainly a module's name, without channel, version or build."""
    return spec in _NO_PACKAGES


def may_be_module(spec: str) -> bool:
    """Whether a conda spec is a module's name that may also be a package in some channel."""
    return spec in sys.stdlib_module_names and spec not in _PACKAGES and not is_module(spec)
