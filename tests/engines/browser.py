"""Debian's Chromium without a screen, unpacked into a folder of its own: nothing is installed on the machine.

`apt-get` finds out which of the packages that it needs this machine lacks.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from . import recipe_folder, tools
from .places import state

__all__ = ["environment", "is_there", "program", "ready", "remove"]

_PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
_LIBRARIES = ("*-linux-gnu*", "*-linux-gnu*/pulseaudio")
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/lib/chromium/locales", "usr/share/icons")


def program() -> str:
    """The path of the browser."""
    return str(_folder() / "usr/lib/chromium/chromium-headless-shell")


def environment() -> dict[str, str]:
    """The variables that it needs to find its libraries and fonts."""
    root = _folder()
    # libpulse has a part of itself in a folder of its own.
    libraries = [str(path) for at in _LIBRARIES for path in sorted((root / "usr/lib").glob(at))]
    return {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(root / "fonts.conf")}


def is_there() -> bool:
    """Whether it is there, made by this recipe."""
    return recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Fetch and unpack it anew. Raises MissingError, ToolError."""
    if sys.platform != "linux" or not Path("/etc/debian_version").exists():
        raise tools.MissingError("no browser: it is made of Debian's packages")
    print("fetching Chromium")
    with recipe_folder.replaced(_folder(), _recipe) as new:
        packages = new / "packages"
        (packages / "partial").mkdir(parents=True)
        tools.fetch(packages, *_PACKAGES)
        for package in sorted(packages.glob("*.deb")):
            tools.run(["dpkg-deb", "-x", package, new], f"unpacking {package.name}")
        shutil.rmtree(packages)
        for path in _LEFT_OUT:
            shutil.rmtree(new / path, ignore_errors=True)
        (new / "fonts.conf").write_text(_fonts(_folder()), "utf-8")


def remove() -> None:
    """Remove its folder."""
    recipe_folder.remove(_folder())


def _folder() -> Path:
    return state() / "browser"


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
    return recipe_folder.recipe(__file__, more=str(state()))
