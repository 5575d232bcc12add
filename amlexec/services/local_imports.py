"""The files that belong to a scoring script: modules beside it that it imports, and what the user names."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["included"]


def included(script: Path, more: Iterable[str]) -> list[tuple[Path, str]]:
    """Paths of files and folders, each with its path relative to the script's folder.

    Raises:
        UsageError: one is missing, or outside the script's folder; or the script is no Python.
    """
    folder = script.absolute().parent
    found = {script.name: folder / script.name}
    _add_imports(folder / script.name, folder, found)
    for text in more:
        inside = PurePosixPath(text)
        path = folder / text
        if inside.is_absolute() or ".." in inside.parts:
            raise UsageError(
                f"{text} is not in the folder of the scoring script", hint=f"copy it into {folder}"
            )
        if not path.exists():
            raise UsageError(f"there is no file or folder {text} beside {script.name}")
        found[str(inside)] = path
    return sorted(((path, inside) for inside, path in found.items()), key=lambda pair: pair[1])


def _add_imports(file: Path, folder: Path, found: dict[str, Path]) -> None:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UsageError(
            f"it is not valid Python: {error}", where=f"{file}:{line}" if line else str(file)
        ) from None
    for name in _imported(tree):
        module, package = folder / f"{name}.py", folder / name
        if module.is_file() and module.name not in found:
            found[module.name] = module
            _add_imports(module, folder, found)
        elif name not in found and package.is_dir() and any(package.glob("*.py")):
            found[name] = package
            for inner in sorted(package.rglob("*.py")):
                _add_imports(inner, folder, found)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
