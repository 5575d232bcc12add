"""A Maven repository in a folder: packages with a class-path resource and a Python module in them."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["TOP", "write_package", "write_repository"]

TOP = "org.example:top:1.0"
"""What is in `write_repository`, and needs `org.example:base:1.0`."""
_POM = """\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version>
  <dependencies>{3}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def write_package(folder: Path, coordinate: str, depends: Iterable[str] = ()) -> Path:
    """Write a package: a resource `ARTIFACT.txt` and a Python module ARTIFACT with `VERSION`; its jar."""
    group, artifact, version = coordinate.split(":")
    place = folder.joinpath(*group.split("."), artifact, version)
    place.mkdir(parents=True, exist_ok=True)
    jar = place / f"{artifact}-{version}.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        archive.writestr(f"{artifact}.txt", version)
        archive.writestr(f"{artifact}.py", f"VERSION = {version!r}\n")
    dependencies = "".join(_DEPENDENCY.format(*one.split(":")) for one in depends)
    jar.with_suffix(".pom").write_text(_POM.format(group, artifact, version, dependencies), "utf-8")
    return jar


def write_repository(folder: Path) -> None:
    """Write `org.example:top:1.0`, and `org.example:base:1.0`, which it needs."""
    write_package(folder, "org.example:base:1.0")
    write_package(folder, TOP, ["org.example:base:1.0"])
