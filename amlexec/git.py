"""Run git, and read the state of the user's own repository."""

from __future__ import annotations

import contextlib
import os

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "GitError",
    "GitOutput",
    "WorkingCopy",
    "abandoned",
    "describe",
    "describing",
    "finish",
    "git",
    "must_be_files",
    "start",
    "top_level",
]

# Settings of the user or the machine must not change a snapshot: line endings, filters, hooks, templates,
# signatures, global ignore rules. HOME is for git before 2.32, which ignores GIT_CONFIG_GLOBAL.
_OWN_SETTINGS = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": os.devnull,
    "XDG_CONFIG_HOME": os.devnull,
}


_SILENT_TIMEOUT_S = 2.0
"""How long git may take before whoever waits is told."""


class GitError(TargetError):
    """git failed; `output` is its whole stderr, `code` its exit code."""

    def __init__(self, message: str, *, hint: str = "", output: str = "", code: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.output = output
        self.code = code


class GitOutput(NamedTuple):
    """The output of a successful git. `notes` are the lines of its stderr."""

    stdout: bytes
    notes: tuple[str, ...]


class WorkingCopy(NamedTuple):
    """The state of a folder in the user's own repository."""

    commit: str
    """Full id of the checked out commit; "" if there is none yet."""
    dirty: bool
    """Whether the folder differs from the commit; new files count unless they are ignored."""


def git(
    arguments: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    input: bytes = b"",  # noqa: A002 (the name that subprocess uses)
) -> bytes:
    """Run git in `folder`, with no configuration but the repository's; returns its stdout.

    Raises TargetError if git is not installed, GitError with git's last line if it fails.
    """
    return finish(start(arguments, folder=folder, environment=environment), input).stdout


def start(
    arguments: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    inherit: Iterable[int] = (),
    own_settings: bool = True,
) -> subprocess.Popen[bytes]:
    """Start git without waiting for it, to run several at a time; call `finish` later.

    `inherit` are descriptors that git inherits. Without `own_settings` the user's configuration holds. With
    it, files that git writes are private: git stores only the executable bit of a mode, and private files
    must not become readable for others.
    """
    import subprocess

    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    variables |= _OWN_SETTINGS if own_settings else {}
    try:
        return subprocess.Popen(
            ["git", *arguments],
            cwd=folder,
            env=variables | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(inherit),
            umask=0o077 if own_settings else -1,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if not os.path.isdir(folder):  # noqa: PTH112 (pathlib is not needed here otherwise)
            raise TargetError(f"the folder {folder} no longer exists") from error
        raise TargetError(
            "git is not installed", hint="install git 2.25 or newer and make sure that it is on PATH"
        ) from error


def finish(
    process: subprocess.Popen[bytes],
    input: bytes = b"",  # noqa: A002
    waiting: Callable[[], object] | None = None,
) -> GitOutput:
    """Send `input` to a started git, and wait for it. Raises GitError if it failed.

    `waiting` is called once if git takes long; an exception from it ends git.
    """
    problems: list[BaseException] = []

    def tell() -> None:
        try:
            assert waiting is not None, "only then there is a timer"
            waiting()
        except BaseException as error:
            problems.append(error)
            process.kill()

    # Not `communicate` with a timeout: called again, it does not send the rest of the input (Python 3.11).
    timer: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if waiting is not None and process.poll() is None:
        from amlexec.delayed import after

        timer = after(_SILENT_TIMEOUT_S, tell)
    with process, timer:
        try:
            stdout, stderr = process.communicate(input)
        except BaseException:
            process.kill()
            raise
    if problems:
        raise problems[0]
    text = stderr.decode("utf-8", "backslashreplace").strip()
    if process.returncode:
        raise _failure(process, text)
    return GitOutput(stdout, tuple(text.splitlines()))


def _failure(process: subprocess.Popen[bytes], text: str) -> GitError:
    verb = next((str(word) for word in list(process.args)[1:] if not str(word).startswith("-")), "")  # type: ignore[arg-type]
    lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in text.splitlines()]
    last = lines[-1] if lines else f"exit code {process.returncode}, without a message"
    old = "unknown option" in text or "unknown repository extension" in text or "is not a git command" in text
    return GitError(
        f"git {verb} failed: {last}",
        hint="this git is too old: install git 2.29 or newer" if old else "",
        output=text,
        code=process.returncode,
    )


def must_be_files(folder: str, name: str) -> None:
    """Raise GitError if an entry with that name below `folder` is not a file: git would wait for a pipe."""
    from amlexec.file_trees import walk

    for found in walk(folder, onerror=lambda _: None):
        if any(entry.name == name and not entry.is_file() for entry in found.others):
            raise GitError(
                f"{found.path}/{name} is not a file, so git would wait for it".lstrip("/"),
                hint="remove it: ignore rules have to be in a regular file",
            )


def top_level(folder: str) -> str:
    """The top of the working copy that `folder` is in, or ""."""
    while True:
        marker = f"{folder.rstrip('/')}/.git"
        if os.path.isfile(marker) or os.path.exists(f"{marker}/HEAD"):  # noqa: PTH110, PTH113
            return folder
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            return ""
        folder = parent


def describe(folder: str) -> WorkingCopy | None:
    """Commit and dirty flag of the user's own repository around `folder`. Only reads it.

    `.amlexec` and `outputs` in the folder don't make it dirty. None if the folder is in no repository, or git
    refuses to read it (it belongs to another user, or is damaged).
    """
    return _described(folder, _status(folder)) if top_level(folder) else None


@contextlib.contextmanager
def describing(folder: str) -> Iterator[Callable[[], WorkingCopy | None]]:
    """`describe` with a git that works during the block; the function that it gets waits for the result."""
    if not top_level(folder):
        yield lambda: None
        return
    with abandoned(_status(folder)) as process:
        yield lambda: _described(folder, process)


@contextlib.contextmanager
def abandoned(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a started git after the block, unless it was finished there."""
    try:
        yield process
    finally:
        with process:
            process.kill()  # does nothing to a finished one


def _status(folder: str) -> subprocess.Popen[bytes]:
    return start(
        [
            "-c",
            "core.fsmonitor=false",  # else git may leave a daemon behind
            *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"),
            *("--", ".", ":(exclude).amlexec", ":(exclude)outputs"),
        ],
        folder=folder,
        environment={"GIT_OPTIONAL_LOCKS": "0"},
        own_settings=False,
    )


def _described(folder: str, process: subprocess.Popen[bytes]) -> WorkingCopy | None:
    try:
        lines = finish(process, waiting=lambda: must_be_files(folder, ".gitignore")).stdout.split(b"\0")
    except GitError:
        return None  # then the record has no commit, because none was read
    commit = ""
    for line in lines:
        if line.startswith(b"# branch.oid ") and not line.endswith(b"(initial)"):
            commit = line.split()[-1].decode("ascii")
    return WorkingCopy(commit, any(line and not line.startswith(b"# ") for line in lines))
