"""Bringing `outputs/` home, whatever is there already."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["bring_home"]


def bring_home(made: Path, home: Path) -> None:
    """Move the folder `made` to `home`; what is there already stays beside it. Twice is harmless."""
    if made.is_symlink() or not made.is_dir():
        return
    if home.exists():
        # Uploads of the metric logger, or half of an earlier move.
        _merge(made, home)
    else:
        made.rename(home)


def _merge(folder: Path, into: Path) -> None:
    for entry in list(os.scandir(folder)):
        there = into / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and there.is_dir() and not there.is_symlink():
            _merge(Path(entry.path), there)
            continue
        if there.is_dir() and not there.is_symlink():
            # A folder was uploaded under the name of a file that the script wrote: both are kept.
            there = into / f"{entry.name}.file"
        elif is_folder and (there.exists() or there.is_symlink()):
            there.rename(into / f"{entry.name}.uploaded")
        Path(entry.path).rename(there)
    folder.rmdir()
