"""Walks through folders of any depth, and their removal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from amlexec import file_trees

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def deep(root: Path, depth: int, name: str = "d") -> None:
    """A chain of folders, with a file in the last."""
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


@pytest.mark.parametrize(("depth", "name"), [(1200, "d"), (30, "d" * 255)])
def test_a_walk_of_any_depth(tmp_path: Path, depth: int, name: str) -> None:
    deep(tmp_path / "tree", depth, name)
    (tmp_path / "tree" / "z").mkdir()
    (tmp_path / "tree" / "away").symlink_to("/etc")
    found = list(file_trees.walk(tmp_path / "tree"))
    assert len(found) == depth + 2
    assert found[0].folders == [name, "z"]
    assert [folder.path for folder in found[-2:]] == ["/".join([name] * depth), "z"]
    file_trees.remove_tree(tmp_path / "tree")
    assert names(tmp_path) == []


def test_removing_a_link_keeps_its_target(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    for name in ("link", "tree", "nothing"):
        file_trees.remove_tree(tmp_path / name)
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["file"]


def test_an_unreadable_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(file_trees.walk(tmp_path / "nothing"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        list(file_trees.walk(tmp_path / "link"))
    problems: list[OSError] = []
    assert list(file_trees.walk(tmp_path / "link", problems.append)) == []
    assert len(problems) == 1
