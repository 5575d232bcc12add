"""Modules of Python's standard library that are taken for conda packages.

A channel can have a package of any name, and the large ones have many that are called like a module: GNU's
readline, gzip, gettext and time, or Zope's DateTime. So only a bare name can be a mistake, and it is called
one only where conda-forge and conda's own channels have no package of that name.
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
"""Modules that people import, and names that neither conda-forge nor conda's channels have."""
_PACKAGES = frozenset(
    [
        # Libraries and programs that exports of an environment name.
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
        # What there is for older Pythons, and what has grown beyond the module.
        *("argparse", "asyncio", "configparser", "contextvars", "dataclasses", "datetime", "enum"),
        *("graphlib", "importlib", "ipaddress", "pathlib", "selectors", "statistics", "tomllib", "typing"),
        *("unittest", "zoneinfo"),
    ]
)
"""Names of modules that channels have packages for, or well may."""


def is_module(spec: str) -> bool:
    """Whether a conda spec is surely the name of a module: no channel, version or build is asked for."""
    return spec in _NO_PACKAGES


def may_be_module(spec: str) -> bool:
    """Whether a conda spec is the name of a module of which it is not known whether it is a package too."""
    return spec in sys.stdlib_module_names and spec not in _PACKAGES and not is_module(spec)
