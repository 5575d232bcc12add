"""Recognize files and values of other tools, so that messages can name the tool."""

from __future__ import annotations

import re

from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.conda_spec import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.config.tree import Mapping

__all__ = [
    "is_of_another_system",
    "other_file",
    "placeholder",
    "selector",
    "selectors",
    "template",
    "whole_file",
]

_OTHER_SYSTEMS = re.compile(
    r"vc|ucrt|vs20\d\d_(runtime|win-(32|64))|vc14_runtime|wincertstore|win_inet_pton|pywin32|pywinpty|winpty|"
    r"msys2-conda-epoch|m2w64-.*|m2-.*|pyobjc-.*"
)
"""Packages for Windows or macOS alone."""
_SELECTOR = re.compile(
    r"#\s*\[\s*((not\s+)?(win|linux|osx|unix|win32|win64|linux64|aarch64|arm64|py\w*)\b[^\]]*)\]"
)
_TEMPLATE = re.compile(r"\{%|\{\{[\s.]|^\s*- .*\{\{\w")
_PLACEHOLDER = re.compile(r"<[^<>]+>")
_YOURS = re.compile(
    r"(YOUR|MY|REPLACE|ENTER|INSERT|CHANGE)[_-]?[A-Z0-9_-]*|TODO|FIXME|CHANGEME|X{3,}(\.X{3,})*|(xxx\.)+xxx"
)
_VARIABLE = re.compile(r"\$\{|\$\(|\{\{|#\{|%[A-Z_]+%|\$[A-Z_]{3,}")
_TOML = re.compile(r"\[\[?[A-Za-z][\w.-]*\]\]?")
_OF_PIP = re.compile(r"--?[a-z][\w-]*([ =]|$)|[A-Za-z0-9][\w.-]*(\[[\w,. -]*\])? ?(==|>=|~=|<=|!=|@ |;|$)")
_PINNED = re.compile(r"[=<>~]=|^-", re.MULTILINE)
_FILES = (
    ({"version", "metadata", "package"}, "a lock file of conda-lock"),
    ({"version", "environments", "packages"}, "a lock file of pixi"),
    ({"package", "requirements"}, "a recipe of conda-build"),
    ({"package", "build"}, "a recipe of conda-build"),
    ({"env_specs"}, "a file of anaconda-project"),
)


def placeholder(text: str) -> str:
    """`placeholder` or `template` for a text that still has to be replaced by a real value, else ""."""
    text = text.strip()
    if _PLACEHOLDER.search(text) or _YOURS.fullmatch(text):
        return "placeholder"
    return "template" if _VARIABLE.search(text) else ""


def is_of_another_system(spec: str) -> bool:
    """Whether a conda spec names a package that exists only for Windows or macOS."""
    return _OTHER_SYSTEMS.fullmatch(name_of(spec)) is not None


def selector(key: str) -> tuple[str, str]:
    """Message and hint for a key `sel(linux)`, which mamba and micromamba read; "" for others."""
    if not re.match(r"sel\s*\(", key):
        return "", ""
    return (
        f"'{key[:40]}' is a selector of mamba; conda and amlexec don't support it",
        "write the package as a separate item; environments are made for Linux",
    )


def selectors(text: str) -> Iterator[tuple[int, int, str]]:
    """Line, column and text of each comment that conda-build takes for a selector, such as `# [win]`."""
    if "# [" not in text and "#[" not in text:
        return
    for number, line in enumerate(text.splitlines(), 1):
        found = _SELECTOR.search(line) if "[" in line else None
        if found and line.lstrip().startswith("-"):
            yield number, found.start() + 1, found[0]


def template(text: str, line: int) -> int:
    """The number of the line with a template near `line` (from 1), or the first one; 0 for none."""
    lines = text.splitlines()
    if 0 < line <= len(lines) and _TEMPLATE.search(lines[line - 1]):
        return line
    return next((number for number, content in enumerate(lines, 1) if "{%" in content), 0)


def whole_file(text: str, line: int) -> tuple[int, int, str, str] | None:
    """Line, column, message and hint if a text that YAML can't parse is another tool's file, else None.

    `line` is where parsing failed.
    """
    at = template(text, line)
    if at:
        column = text.splitlines()[at - 1].find("{") + 1
        hint = "amlexec does not fill in templates: write the value itself"
        return at, column, "a template (Jinja, as in conda-build)", hint
    head = [line.strip() for line in text[:10_000].splitlines()]
    head = [line for line in head if line and line[0] != "#"]
    name = ""
    if "@EXPLICIT" in head:
        name = "a list of packages for conda create --file (`conda list --explicit`, conda-lock)"
    elif head and _TOML.fullmatch(head[0]):
        name = "a TOML file, like pyproject.toml, Pipfile and pixi.toml"
    elif head and all(map(_OF_PIP.match, head)) and _PINNED.search("\n".join(head)):
        name = "a requirements file of pip"
    if not name:
        return None
    hint = "write a conda environment file: dependencies, with a pip section"
    if "pip" in name:
        hint = "write a conda environment file with '- -r FILE' in its pip section"
    return 0, 0, f"the file is {name}", hint


def other_file(root: Mapping) -> str:
    """The name for another tool's file, recognized by its keys; "" if it has dependencies or is not known."""
    keys = root.entries.keys()
    if "dependencies" in keys:
        return ""
    return next((name for names, name in _FILES if names <= keys), "")
