"""Debian's Chromium without a screen, unpacked into a folder of its own: nothing is installed on the machine.

`apt-get` finds out which of the packages that it needs this machine lacks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from . import tools
from .places import state

__all__ = ["environment", "is_there", "program", "ready", "remove"]

_FOLDER = "browser"
_RECIPE = "recipe.txt"
_PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
_LIBRARIES = ("*-linux-gnu*", "*-linux-gnu*/pulseaudio")
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/lib/chromium/locales", "usr/share/icons")


def program() -> str:
    """The path of the browser."""
    return str(state() / _FOLDER / "usr/lib/chromium/chromium-headless-shell")


def environment() -> dict[str, str]:
    """The variables that it needs to find its libraries and fonts."""
    root = state() / _FOLDER
    # libpulse has a part of itself in a folder of its own.
    libraries = [str(path) for at in _LIBRARIES for path in sorted((root / "usr/lib").glob(at))]
    return {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(root / "fonts.conf")}


def is_there() -> bool:
    """Whether it is there, made by this recipe."""
    try:
        return (state() / _FOLDER / _RECIPE).read_text("utf-8") == _recipe()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Fetch and unpack it anew. Raises MissingError, ToolError."""
    if sys.platform != "linux" or not Path("/etc/debian_version").exists():
        raise tools.MissingError("no browser: it is made of Debian's packages")
    folder = state() / _FOLDER
    new = folder.with_name(f"{_FOLDER}.new-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    packages = new / "packages"
    (packages / "partial").mkdir(parents=True)
    print("fetching Chromium")
    try:
        tools.fetch(packages, *_PACKAGES)
        for package in sorted(packages.glob("*.deb")):
            tools.run(["dpkg-deb", "-x", package, new], f"unpacking {package.name}")
        shutil.rmtree(packages)
        for path in _LEFT_OUT:
            shutil.rmtree(new / path, ignore_errors=True)
        (new / "fonts.conf").write_text(_fonts(folder), "utf-8")
        (new / _RECIPE).write_text(_recipe(), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove() -> None:
    """Remove its folder."""
    shutil.rmtree(state() / _FOLDER, ignore_errors=True)


def _fonts(folder: Path) -> str:
    folders = (folder / "usr/share/fonts", Path("/usr/share/fonts"))
    listed = "".join(f"<dir>{path}</dir>" for path in folders)
    # Without a family of that name: what a desktop calls its own font.
    usual = "<match><edit name='family' mode='append_last'><string>DejaVu Sans</string></edit></match>"
    families = {"DejaVu Sans": ("sans-serif", "system-ui"), "DejaVu Sans Mono": ("monospace", "ui-monospace")}
    aliases = "".join(
        f"<alias binding='same'><family>{name}</family><prefer><family>{font}</family></prefer></alias>"
        for font, names in families.items()
        for name in names
    )
    cache = f"<cachedir>{folder}/fonts.cache</cachedir>"
    return f"<fontconfig>{listed}{aliases}{usual}{cache}</fontconfig>\n"


def _recipe() -> str:
    return f"{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} {state()}"
