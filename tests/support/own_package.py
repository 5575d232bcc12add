"""A package of a project that pip builds with nothing but the standard library.

For setuptools, pip would first make an environment, which takes longer than the rest of the pip section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

__all__ = ["write"]

_PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = """\
import os
import zipfile

NAME = "{name}"


def wheel(folder, files):
    about = f"{{NAME}}-3.dist-info"
    files[f"{{about}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 3\\n"
    files[f"{{about}}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{{about}}/RECORD"] = "".join(f"{{path}},,\\n" for path in [*files, f"{{about}}/RECORD"])
    made = f"{{NAME}}-3-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, made), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return made


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(f"{{NAME}}.py") as file:
        return wheel(wheel_directory, {{f"{{NAME}}.py": file.read()}})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory, {{f"{{NAME}}.pth": os.getcwd()}})
"""


def write(project: ProjectFolder, folder: str, name: str, text: str) -> None:
    """Write version 3 of a package of one module into a folder of the project."""
    project.write(f"{folder}/pyproject.toml", _PROJECT)
    project.write(f"{folder}/backend.py", _BACKEND.format(name=name))
    project.write(f"{folder}/{name}.py", text)
