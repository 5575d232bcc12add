"""A conda channel in a folder, and wheels with an index of them in another: to solve and install for real.

The channel holds the Python that runs this; pip and setuptools with their compiled modules; six 1.16.0 and
1.17.0, idna 3.7 and 3.10 and tabulate, `noarch` and made of wheels; `prefixtool` 1.0 and 2.0, with its prefix
in a text and in a binary file; and `needs-old-six`, which needs six below 1.17, so that it and `six >=1.17`
have no solution.

The wheels are the same and `colorama`; `amlexec-test-greet` 1.0 and 1.1, which needs tabulate; and
`amlexec-test-orphan`, whose requirement is nowhere.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import html
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import interpreter, packages, recipe_folder, tools
from .packages import Entry, Package
from .places import CHANNEL, WHEELS, state

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_there", "ready", "remove"]

# In sets that can be fetched together: one project has one version in each.
_FETCHED = (
    ("pip", "setuptools", "six==1.17.0", "idna==3.10", "tabulate==0.9.0", "colorama==0.4.6"),
    ("six==1.16.0", "idna==3.7"),
)
# They are large, and most environments have pip: each build would compile them again.
_COMPILED = ("pip", "setuptools")
_NOT_IN_THE_CHANNEL = ("colorama", "amlexec_test")
_PREFIX = "/opt/" + "placehold_" * 24


def is_there() -> bool:
    """Whether both folders are there, made by this recipe of this Python."""
    return all(recipe_folder.is_there(state() / name, _recipe()) for name in (CHANNEL, WHEELS))


def ready() -> None:
    """Make both folders anew. Raises MissingError, ToolError."""
    if sys.platform != "linux":
        raise tools.MissingError("no conda channel: it is made of a Linux machine's own Python")
    print("making a conda channel and an index of wheels")
    new_wheels = recipe_folder.replaced(state() / WHEELS, _recipe)
    new_channel = recipe_folder.replaced(state() / CHANNEL, _recipe)
    with new_wheels as wheels, new_channel as channel:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            fetching = [pool.submit(_fetch, names, wheels) for names in _FETCHED]
            packages.write_package(channel, interpreter.package(), "conda")
            for done in fetching:
                done.result()
        for wheel in sorted(wheels.glob("*.whl")):
            if not wheel.name.startswith(_NOT_IN_THE_CHANNEL):
                package = packages.wheel_package(wheel)
                if package.name in _COMPILED:
                    packages.write_package(channel, _of_this_python(package), "conda")
                else:
                    packages.write_package(channel, package)
        for package in _hand_made():
            packages.write_package(channel, package)
        asyncio.run(_index(channel))
        _write_wheels(wheels)
        _write_simple_index(wheels)


def remove() -> None:
    """Remove both folders."""
    for name in (CHANNEL, WHEELS):
        recipe_folder.remove(state() / name)


def _recipe() -> str:
    """What the folders are made of and how."""
    more = f"{sys.base_prefix} {sys.version}"
    return recipe_folder.recipe(packages.__file__, interpreter.__file__, __file__, more=more)


def _fetch(names: tuple[str, ...], folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    tools.run([*pip, "--retries", "5", "--dest", folder, *names], f"fetching {' '.join(names)}")


def _of_this_python(package: Package) -> Package:
    """A `noarch: python` package as a package for this Python only, with its compiled modules."""
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    files = []
    for entry in package.files:
        moved = entry._replace(path=f"{library}/{entry.path}")
        files += [moved, *interpreter.compiled(moved)]
    for script in package.entry_points:
        name, module, function = re.split(r" = |:", script)
        text = (
            f"#!{_PREFIX}/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        files.append(Entry(f"bin/{name}", text.encode(), 0o755))
    minor = f"python {sys.version_info[0]}.{sys.version_info[1]}.*"
    return Package(package.name, package.version, "0", files, [minor], prefix=_PREFIX)


def _hand_made() -> Iterator[Package]:
    for version in ("1.0", "2.0"):
        script = f"#!{_PREFIX}/bin/python\nprint({_PREFIX!r}, {version!r})\n"
        files = [
            Entry("bin/prefixtool", script.encode(), 0o755),
            Entry("share/prefixtool.bin", b"\0" + _PREFIX.encode() + b"/share\0tail"),
        ]
        yield Package("prefixtool", version, "0", files, ["python >=3.10"], prefix=_PREFIX)
    yield Package("needs-old-six", "1.0", "0", depends=["six <1.17"], noarch="generic")


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, write_shards=False, write_zst=False, force=True)


def _write_wheels(folder: Path) -> None:
    for version in ("1.0", "1.1"):
        text = f"import tabulate\n\n\ndef greeting():\n    return 'greetings {version}'\n"
        packages.write_wheel(folder, "amlexec-test-greet", version, text, ["tabulate"])
    packages.write_wheel(folder, "amlexec-test-orphan", "1.0", "", ["amlexec-test-nowhere"])


def _write_simple_index(folder: Path) -> None:
    """An index as pip reads it: https://packaging.python.org/en/latest/specifications/simple-repository-api/."""
    projects: dict[str, list[Path]] = {}
    for wheel in sorted(folder.glob("*.whl")):
        projects.setdefault(wheel.name.partition("-")[0].replace("_", "-").lower(), []).append(wheel)
    for project, wheels in projects.items():
        links = [(f"../../{wheel.name}#sha256={_sha256(wheel)}", wheel.name) for wheel in wheels]
        _write_page(folder / "simple" / project, links)
    _write_page(folder / "simple", [(f"{project}/", project) for project in projects])


def _write_page(folder: Path, links: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    body = "".join(f'<a href="{html.escape(to)}">{html.escape(text)}</a><br>\n' for to, text in links)
    (folder / "index.html").write_text(f"<!DOCTYPE html>\n<html><body>\n{body}</body></html>\n", "utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
