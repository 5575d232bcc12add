"""The two files of an attached machine: written together or not at all, and removed by `detach`."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds, temporaries
from amlexec.errors import TargetError, UsageError
from amlexec.files import SMALL, read_regular
from amlexec.machines.target_text import SUFFIXES, compute_text, runconfig_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.machines.target_text import Attachment
    from amlexec.values import Project

__all__ = ["Detachment", "detach", "handles", "named_by", "occupied", "taken", "unshared", "write"]

_HANDLE = re.compile(r"amlexec:[0-9a-f]{32}\b")


class Detachment(NamedTuple):
    """What `detach` removed, and what it kept and why. Paths are relative to the project's root."""

    removed: tuple[str, ...]
    secrets: int
    """Number of secrets that were removed from the key store."""
    kept: tuple[tuple[str, str], ...]


def files(project: Project, name: str) -> tuple[str, ...]:
    """A target's two files, relative to the project's root."""
    return tuple(f"{project.folder}/{name}{suffix}" for suffix in SUFFIXES)


def occupied(project: Project, name: str) -> tuple[str, ...]:
    """Those of a target's two files that exist, broken links included."""
    return tuple(file for file in files(project, name) if os.path.lexists(f"{project.root}/{file}"))


def taken(name: str, existing: tuple[str, ...]) -> UsageError:
    """The error for a target whose files already exist."""
    verb = "exists" if len(existing) == 1 else "exist"
    return UsageError(
        f"{name!r} is taken: {' and '.join(existing)} already {verb}",
        hint="choose another name with -n, or replace them with --force",
    )


def write(project: Project, attachment: Attachment, *, force: bool = False) -> tuple[str, ...]:
    """Write both files of a target, or neither; returns their names, relative to the project's root.

    Raises:
        UsageError: a file exists and `force` is not given; or it is a folder.
        TargetError: a file can't be written. The old files are restored.
    """
    name = attachment.name
    texts = (compute_text(attachment), runconfig_text(name, attachment.kind))
    existing = occupied(project, name)
    if existing and not force:
        raise taken(name, existing)
    for file in existing:
        if Path(project.root, file).is_dir():
            hint = "choose another name with -n"
            raise UsageError("it is a folder, which is not replaced", where=file, hint=hint)
    try:
        with contextlib.ExitStack() as beside, contextlib.ExitStack() as undo:
            staged = [
                (_stage(Path(project.root, file), text, beside), Path(project.root, file))
                for file, text in zip(files(project, name), texts, strict=True)
            ]
            for new, path in staged:
                _publish(new, path, beside, undo, force=force)
            undo.pop_all()
    except FileExistsError:
        raise taken(name, occupied(project, name)) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TargetError(
            f"the files of {name} can't be written: {reason}",
            where=project.configuration,
            hint="nothing was changed; repeat the command when this is fixed",
        ) from error
    return files(project, name)


def _stage(path: Path, text: str, beside: contextlib.ExitStack) -> str:
    """Write the file's new content to a temporary file beside it, and return its path."""
    new = temporaries.write_beside(path, text, mode=0o666)
    beside.callback(temporaries.remove, new)
    return new


def _publish(
    new: str, path: Path, beside: contextlib.ExitStack, undo: contextlib.ExitStack, *, force: bool
) -> None:
    if not force or not os.path.lexists(path):
        temporaries.publish(new, path)
        undo.callback(path.unlink, missing_ok=True)
        return
    # At no time is there neither the old file nor the new one: this process may be killed.
    old = path.with_name(f".{path.name[:40]}.{temporaries.owner()}-0.new")
    beside.callback(old.unlink, missing_ok=True)
    _copy(path, old)
    Path(new).replace(path)
    undo.callback(old.replace, path)


def _copy(path: Path, to: Path) -> None:
    """The same file, link or pipe under another name."""
    try:
        os.link(path, to, follow_symlinks=False)
    except OSError:  # some file systems don't support hard links
        import shutil

        shutil.copy2(path, to, follow_symlinks=False)


def handles(project: Project, name: str) -> tuple[str, ...]:
    """The handles of secrets in a target's `.compute` file, even if the file has errors."""
    try:
        text = read_regular(Path(project.configuration, f"{name}.compute"), SMALL << 2).decode(
            errors="replace"
        )
    except FileNotFoundError:
        return ()
    return tuple(dict.fromkeys(_HANDLE.findall(text)))


def unshared(project: Project, old: Iterable[str], *, but: str = "") -> list[str]:
    """Those of the handles that no compute target of the project uses, except the target `but`."""
    from amlexec.config import load as config

    names = (name for name in config.compute_targets(project) if name != but)
    used = {handle for name in names for handle in handles(project, name)}
    return [handle for handle in old if handle not in used]


def named_by(project: Project, name: str) -> tuple[str, ...]:
    """The run configurations whose Target is `name`, sorted; those with errors are left out."""
    from amlexec.config import load as config
    from amlexec.errors import ConfigurationError

    found = []
    for configuration in config.run_configurations(project):
        try:
            declared = config.load(project, configuration, target=name).run_configuration.target
        except ConfigurationError:
            continue
        if declared == name:
            found.append(configuration)
    return tuple(found)


def detach(project: Project, name: str, *, force: bool = False) -> Detachment:
    """Remove a target: its secrets, its `.compute` file, and its `.runconfig` file unless it was edited.

    With `force`, an edited `.runconfig` file is removed, too. Secrets that another target of the project uses
    are kept.

    Raises:
        TargetError: a secret or a file can't be removed; `detach` can be repeated.
    """
    from amlexec.keystore import pending
    from amlexec.keystore import store as keystore

    with contextlib.suppress(TargetError):
        pending.remove_left()
    mine = handles(project, name)
    # First the secrets: the file has their only handles.
    secrets = unshared(project, mine, but=name)
    for handle in secrets:
        keystore.delete(handle)
    compute, runconfig = files(project, name)
    removed, kept = [compute], []
    if len(secrets) < len(mine):
        kept.append(("its secret", "another compute target uses it"))
    if os.path.lexists(f"{project.root}/{runconfig}"):
        if force or _is_generated(Path(project.root, runconfig), name):
            removed.append(runconfig)
        else:
            kept.append((runconfig, "it was edited"))
    for file in reversed(removed):
        try:
            Path(project.root, file).unlink()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise TargetError(f"{file} can't be removed: {reason}", where=project.root) from error
    return Detachment(tuple(removed), len(secrets), tuple(kept))


def _is_generated(path: Path, name: str) -> bool:
    try:
        # git may have changed the line ends.
        text = path.read_bytes().replace(b"\r\n", b"\n").decode()
    except (OSError, UnicodeDecodeError):
        return False
    return text in {runconfig_text(name, kind) for kind in kinds.ATTACHABLE}
