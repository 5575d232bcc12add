"""List the sources of a package in a folder: the files that the project's ignore rules don't exclude.

Digest, lock, image and Dockerfile all use this list. The project's rules don't hold for folders outside of
it: there only files of version control and builds are excluded (`amlexec.digest.sources`).
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import digest, git
from amlexec.errors import TargetError
from amlexec.snapshots.listing import Work, begin
from amlexec.snapshots.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["files"]

# ruff: noqa: PTH118 - tens of thousands of files

_NEVER = ("*.runconfig", "*.compute")
_NEVER_AT_THE_TOP = ("artifacts", "aml_config", ".azureml")
"""Downloaded runs, and run configurations: an edit of them does not change the package."""
_PLACEHOLDER = ".amlexec-placeholder"
_CONFIGURATION = (
    "[core]\n\tbare = true\n\tfsmonitor = false\n\tignoreCase = false\n\tprecomposeUnicode = false\n"
)


def files(root: str, folder: str, left_out: Iterable[str] = ()) -> list[str]:
    """The file names in `folder` (absolute), relative to it and sorted; links are included.

    `root` is the project's folder; `left_out` are further files to exclude, relative to it.

    Raises:
        OSError: the folder can't be read.
        TargetError: git is not installed, or can't read a folder or an ignore file in it.
    """
    names = digest.sources(folder)
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(root))
    if inside == ".." or inside.startswith("../"):
        return names
    kept = _kept(os.path.realpath(root), "" if inside == "." else f"{inside}/", tuple(left_out))
    return [name for name in names if os.fsencode(name) in kept]


def _kept(root: str, prefix: str, left_out: tuple[str, ...]) -> set[bytes]:
    """The names below `prefix` that no rule ignores, relative to it."""
    with tempfile.TemporaryDirectory(prefix="amlexec-") as temporary:
        repository = Path(temporary)
        # The least that git accepts as a repository; faster than `git init`.
        for name in ("objects", "refs"):
            (repository / name).mkdir()
        (repository / "HEAD").write_text("ref: refs/heads/none\n", "ascii")
        (repository / "config").write_text(_CONFIGURATION, "ascii")
        work = begin(Store(temporary, 0, 0), root)
        anchor = f"/{_escaped(work.prefix)}"
        never = [f"--exclude={pattern}" for pattern in _NEVER]
        never += [f"--exclude={anchor}{name}" for name in _NEVER_AT_THE_TOP]
        never += [f"--exclude={anchor}{_escaped(name)}" for name in left_out]
        listed = _listed(work, [*work.rules, *never], prefix)
        if prefix and not listed:
            # The folder is ignored, but the user names it: then the rules hold only below it.
            (repository / "index").unlink(missing_ok=True)
            rules = Path(work.top, work.rule_file)
            alone = Work(work.store, os.path.join(root, prefix.rstrip("/")), "", work.rule_file)
            alone = alone._replace(top=alone.root)
            options = [*alone.rules, *(f"--exclude={pattern}" for pattern in _NEVER)]
            options += [f"--exclude-from={rules}"] if rules.is_file() else []
            return _listed(alone, options, "")
        return listed


def _escaped(path: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", path)


def _listed(work: Work, rules: list[str], prefix: str) -> set[bytes]:
    below = ["--", prefix] if prefix else []
    environment = work.store.environment(work.top)

    def run(*arguments: str, names: bytes = b"") -> bytes:
        process = git.start(["--literal-pathspecs", *arguments], folder=work.root, environment=environment)
        output = git.finish(process, names, work.must_have_rules)
        for note in output.notes:
            if note.endswith(("Permission denied", "Input/output error")):
                raise TargetError(
                    f"the sources of a package can't be listed: {note.removeprefix('warning: ')}",
                    hint="make it readable, or list it in .amlignore (without one, in .gitignore)",
                )
        return output.stdout

    seen: set[bytes] = set()
    while True:
        listed = run("ls-files", "-z", "--others", *rules, *below).split(b"\0")[:-1]
        nested = {name for name in listed if name.endswith(b"/")} - seen
        if not nested:
            break
        # A repository in the project: git lists its files only if the index has one of them.
        seen |= nested
        at = os.fsencode(work.prefix)
        entries = (b"100644 %s 0\t%s%s%s\0" % (b"1" * 40, at, name, _PLACEHOLDER.encode()) for name in nested)
        run("update-index", "-z", "--index-info", names=b"".join(entries))
    start = os.fsencode(prefix)
    return {name[len(start) :] for name in listed if not name.endswith(b"/")}
