"""A snapshot has the project's files, byte for byte, also if they change meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshots import read, warnings
from amlexec.snapshots import take as snapshot
from amlexec.values import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 120
MOST = settings.default.max_examples // 4
"""Each example starts a dozen processes of git's."""
IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Folder:
    """A project folder, and snapshots of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.project = Project(str(self.root))
        self.store = self.root / ".amlexec" / "snapshots.git"

    def write(self, name: str, content: str | bytes = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def take(self) -> snapshot.Snapshot:
        return snapshot.take(self.project)

    def held(self) -> list[str]:
        return read.files(self.project, self.take().tree)

    def checkout(self, tree: str = "") -> Path:
        copies = self.root.parent / "copies"
        copies.mkdir(exist_ok=True)
        copy = Path(tempfile.mkdtemp(dir=copies))
        read.checkout(self.project, tree or self.take().tree, copy)
        return copy

    def git(self, *arguments: str, place: str = ".") -> str:
        return subprocess.run(
            ["git", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main", *arguments],
            cwd=self.root / place,
            env=os.environ | IDENTITY,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "demo")


def contents(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file with its kind and content."""
    found = {}
    for place, folders, names in os.walk(root):
        if ".amlexec" in folders:
            folders.remove(".amlexec")
        links = [name for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in names + links):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                value = "link", os.fsencode(os.readlink(path))  # noqa: PTH115 (pathlib normalizes it)
            else:
                value = "program" if mode & 0o100 else "file", path.read_bytes()
            found[os.fsencode(path.relative_to(root))] = value
    return found


def child(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """A process with the imports of this test file."""
    head = "import os, sys\nfrom pathlib import Path\n"
    head += "from amlexec.snapshots import read, take as snapshot\nfrom amlexec.values import Project\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


# Content


def test_round_trip_and_numbers(folder: Folder) -> None:
    folder.write("train.py", "print(1)\n")
    folder.write("data/x.bin", bytes(range(256)))
    folder.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (folder.root / "link").symlink_to("data/x.bin")
    (folder.root / "empty").mkdir()
    taken = folder.take()
    assert (taken.files, taken.bytes, taken.warnings) == (4, 9 + 256 + 10 + len("data/x.bin"), ())
    assert contents(folder.checkout(taken.tree)) == contents(folder.root)
    assert folder.take() == taken


NAMES = st.binary(min_size=1, max_size=6).filter(
    lambda name: (
        not set(name) & set(b"\0/")
        and name not in {b".", b".."}
        and name.lower() != b".git"
        and name not in {b".gitignore", b".amlignore", b".amlexec", b"outputs", b".gitmodules"}
    )
)
ODD = st.sampled_from(
    [b"-n", b"--", b"a b", b" ", b"\n", b"a\nb", b"'", b'"', b"\\", b"\xff\xfe", b"\xc3\xa9", b":", b":(top)",
     b"*", b"?", b"$HOME", b"~", b"#x", b"!x", b"git~1", b".git ", b".git.", b"aux", b"\t", b"%s", b"x" * 255,
     b".gitattributes", b".GITIGNORE"]
)  # fmt: skip
FILES = st.dictionaries(
    st.lists(NAMES | ODD, min_size=1, max_size=3).map(b"/".join),
    st.tuples(st.sampled_from(["file", "program", "link"]), st.binary(min_size=1, max_size=20)),
    max_size=8,
)


@settings(max_examples=MOST, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=FILES, after=FILES)
def test_any_tree_comes_back(
    before: dict[bytes, tuple[str, bytes]], after: dict[bytes, tuple[str, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "demo")
        trees = []
        for files in (before, after):
            for path in folder.root.iterdir():
                if path.is_dir() and not path.is_symlink():
                    if path.name != ".amlexec":
                        shutil.rmtree(path)
                else:
                    path.unlink()
            for name, (kind, content) in files.items():
                make(folder.root / os.fsdecode(name), kind, content)
            expected = contents(folder.root)
            taken = folder.take()
            assert taken.files == len(expected)
            assert taken.bytes == sum(len(content) for _, content in expected.values())
            assert contents(folder.checkout(taken.tree)) == expected
            trees.append((taken.tree, expected))
        assert contents(folder.checkout(trees[0][0])) == trees[0][1]


def make(path: Path, kind: str, content: bytes) -> None:
    """Make this file, unless another file is in the way or it would be inside of a link's target."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.path.lexists(path) or path.parent.resolve() != path.parent:
        return
    if kind == "link":
        os.symlink(content.replace(b"\0", b"0"), path)  # noqa: PTH211 (pathlib normalizes it)
        return
    path.write_bytes(content)
    path.chmod(0o755 if kind == "program" else 0o644)


def test_a_file_of_a_snapshot_is_known_by_its_name(folder: Folder) -> None:
    names = ["train.py", "sub/train.py", "x" * 200, ":(top)y", "a*", "ü ☃"]
    for name in names:
        folder.write(name)
    first = folder.take().tree
    folder.write("later.py")
    (folder.root / "a*").unlink()
    last = folder.take().tree
    others = ["train", "rain.py", "sub", "a", "", "."]
    for tree, more, gone in ((first, [], ["later.py"]), (last, ["later.py"], ["a*"])):
        wanted = {*names, *more} - {*gone}
        found = {name for name in [*names, *others, "later.py"] if read.has_file(folder.project, tree, name)}
        assert found == wanted


def test_equal_content_is_an_equal_tree(tmp_path: Path) -> None:
    one, two = Folder(tmp_path / "one"), Folder(tmp_path / "two")
    for name in ("b", "a/c", "a.d"):
        one.write(name, name)
    for name in ("a.d", "a/c", "b", "gone"):
        two.write(name, name)
    assert one.take().tree != two.take().tree
    (two.root / "gone").unlink()
    assert one.take().tree == two.take().tree


def test_bytes_are_never_converted(folder: Folder) -> None:
    """Attributes and configuration of the user's own repository have no effect."""
    folder.git("init")
    for key, value in (
        ("core.autocrlf", "true"),
        ("filter.up.clean", "tr a-z A-Z"),
        ("filter.up.smudge", "tr A-Z a-z"),
        ("filter.up.required", "true"),
    ):
        folder.git("config", key, value)
        folder.git("config", "--global", key, value)
    attributes = "* text=auto eol=crlf ident\n*.up filter=up\n*.lfs filter=lfs -text\n"
    attributes += "*.u16 working-tree-encoding=UTF-16\n"
    folder.write(".gitattributes", "[attr]mine filter=up text eol=crlf\n*.mine mine\n" + attributes)
    folder.write("sub/.gitattributes", "* text eol=lf filter=up ident\n")
    texts = {"unix": b"a\nb\n$Id$\n", "dos": b"a\r\nb\r\n", "mixed": b"a\r\nb\n$Id: 0 $\r", "nul": b"\0\r\n"}
    for name, content in texts.items():
        for suffix in ("txt", "up", "lfs", "u16", "mine"):
            folder.write(f"{name}.{suffix}", content)
            folder.write(f"sub/{name}.{suffix}", content)
    first = contents(folder.root)
    copy = folder.checkout()
    assert contents(copy) == {name: value for name, value in first.items() if not name.startswith(b".git/")}
    tree = folder.take().tree
    folder.write("later")
    folder.take()
    assert contents(folder.checkout(tree)) == contents(copy)


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "hi"', "new\nline", "-n", "é", "[a]*?", "a\\b", ":x", "$(x)"]
)
def test_the_project_folder_has_an_odd_name(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name)
    folder.write("train.py")
    folder.write("outputs/model")
    assert contents(folder.checkout()) == {b"train.py": ("file", b"x")}
    assert git.describe(str(folder.root)) is None


def test_a_large_file(folder: Folder) -> None:
    """320 MB, which is warned about, with at most 120 MB of memory for Python and git."""
    size = 320 * 1000**2
    with folder.write("model.bin").open("r+b") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    folder.write("train.py")
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (120 << 20, 120 << 20))\n"
        "p = Project(sys.argv[1]); t = snapshot.take(p); read.checkout(p, t.tree, Path(sys.argv[2]))\n"
        "print(t.bytes, *t.warnings, sep='\\n')"
    )
    copy = folder.root.parent / "copy"
    process = child(code, str(folder.root), str(copy))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert out.startswith(f"{size + 1}\n")
    assert "320 MB" in out
    assert "the largest files are model.bin (320 MB): list" in out
    subprocess.run(["cmp", folder.root / "model.bin", copy / "model.bin"], check=True)
    shutil.rmtree(copy)  # pytest would keep it for a while
    shutil.rmtree(folder.store)


# Warnings


def test_links_that_lead_out_of_the_project(folder: Folder) -> None:
    folder.write("a/x")
    for name, target in (
        ("in", "a/x"),
        ("a/up", "../in"),
        ("out", "../x"),
        ("a/abs", "/etc"),
        ("a/out", "../../x"),
    ):
        (folder.root / name).symlink_to(target)
    for _ in range(2):
        (warning,) = folder.take().warnings
        assert warning.endswith(": a/abs, a/out, out")
    assert (folder.checkout() / "a" / "abs").readlink() == Path("/etc")


def test_sockets_and_fifos_are_left_out(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("sub/a")
    folder.write(".gitignore", "*.sock\n")
    os.mkfifo(folder.root / "sub" / "pipe")
    os.mkfifo(folder.root / "sub" / "ignored.sock")
    monkeypatch.chdir(folder.root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("service")
        for _ in range(2):
            taken = folder.take()
            assert taken.files == 2
            (warning,) = taken.warnings
            assert warning.endswith(": service, sub/pipe")


def test_a_name_that_git_cannot_store(folder: Folder) -> None:
    folder.write("a")
    folder.write(".GIT/x")
    taken = folder.take()
    assert taken.files == 1
    assert any(".GIT/x" in warning for warning in taken.warnings)


@pytest.fixture
def lent() -> Iterator[Folder]:
    """A folder owned by a user who is not root; skips if there is no such user."""
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "demo")
        Path(place).chmod(0o755)
        yield folder


def unprivileged(folder: Folder, code: str) -> str:
    """Run the code as the project's owner, not as root, who could read everything; returns its output."""
    user = os.geteuid() or 65534
    os.chown(folder.root, user, -1)
    # import everything before: that user may not be able to read the interpreter's files
    first = "import hashlib\nfrom amlexec.errors import TargetError\n"
    first += "from amlexec.snapshots import errors, index_entries, warnings\n"
    first += "snapshot.take(Project(sys.argv[2]))\n"
    switch = f"if os.geteuid() == 0: os.setgroups([]); os.setuid({user})\n"
    other = Folder(folder.root.parent / "other")
    code = first + switch + "p = Project(sys.argv[1])\n" + code
    process = child(code, str(folder.root), str(other.root), cwd="/")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    return out


FAILS = "try: print(snapshot.take(p))\nexcept TargetError as error: print(*error.lines(), sep='\\n')"


@pytest.mark.parametrize("name", ["secret", "secret/x"])
def test_an_unreadable_file_is_named(lent: Folder, name: str) -> None:
    lent.write(name)
    lent.write("a")
    (lent.root / "secret").chmod(0)
    out = unprivileged(lent, FAILS)
    assert "secret" in out
    assert "Permission denied" in out
    assert ".amlignore" in out
    lent.write(".amlignore", "secret\n")
    assert "files=2" in unprivileged(lent, FAILS)


def test_a_read_only_project(lent: Folder) -> None:
    lent.write("a")
    lent.root.chmod(0o555)
    out = unprivileged(lent, FAILS)
    assert f"cannot make the folder {lent.root}/.amlexec: Permission denied" in out
    assert "hint: " in out


# Changes are never missed


@pytest.mark.parametrize("age", [0, 100, 10**6])
def test_an_edit_with_the_same_size_and_time_is_seen(folder: Folder, age: int) -> None:
    """Right after a snapshot, in the same second, with the old mtime."""
    names = [f"file{number}" for number in range(3)]
    then = time.time_ns() - age * 10**9
    trees = set()
    for turn in range(40):
        for name in names:
            path = folder.root / name
            with path.open("r+b") if path.exists() else path.open("wb") as file:
                file.write(b"%06d" % (turn if name == names[turn % 3] else 0))
            os.utime(path, ns=(then, then))
        tree = folder.take().tree
        trees.add(tree)
        if turn % 3 == 0:
            assert folder.take().tree == tree
        if turn % 10 == 0:
            assert contents(folder.checkout(tree)) == contents(folder.root)
    assert len(trees) == 40


def test_ordinary_edits_are_seen(folder: Folder) -> None:
    trees = {folder.write("a", f"{turn:06}") and folder.take().tree for turn in range(100)}
    assert len(trees) == 100


def test_files_and_folders_that_replace_each_other(folder: Folder) -> None:
    """A file, a folder and a link replace each other, with the same files in the target."""
    folder.write("real/x")
    place = folder.root / "place"

    def make_file() -> None:
        place.write_text("x")

    def make_folder() -> None:
        (place / "deep").mkdir(parents=True)
        (place / "x").write_text("x")
        (place / "deep" / "y").write_text("y")

    def make_link() -> None:
        place.symlink_to("real")

    def move() -> None:
        (folder.root / "real").rename(place)
        (folder.root / "real").symlink_to("place")

    kinds = [make_file, make_folder, make_link, make_file, make_link, make_folder, make_file, move, make_link]
    for kind in kinds:
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
        kind()
        assert contents(folder.checkout()) == contents(folder.root), kind


def test_a_mode_that_changed_is_seen(folder: Folder) -> None:
    path = folder.write("run.sh")
    tree = folder.take().tree
    path.chmod(0o755)
    assert folder.take().tree != tree
    path.chmod(0o644)
    assert folder.take().tree == tree


def test_a_project_that_changes_all_the_time(folder: Folder) -> None:
    """Files appear, vanish and grow during snapshots: each snapshot has one state, or is an error."""
    for number in range(50):
        folder.write(f"still/{number}", str(number))
    code = (
        "import random\nroot = Path(sys.argv[1])\nprint('begun', flush=True)\n"
        "while not (root / 'stop').exists():\n"
        "    p = root / f'busy{random.randrange(20)}'\n"
        "    if random.random() < .3: p.unlink(missing_ok=True)\n"
        "    else: p.write_bytes(b'x' * random.randrange(200000))\n"
    )
    with child(code, str(folder.root)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        for _ in range(10):
            try:
                held = read.files(folder.project, folder.take().tree)
            except TargetError as error:
                assert "files changed each time" in error.message
            else:
                assert len([name for name in held if name.startswith("still/")]) == 50
        folder.write("stop")
        assert process.wait(PATIENCE) == 0
    assert contents(folder.checkout()) == contents(folder.root)


# Repositories


def test_the_users_repository_is_untouched(folder: Folder) -> None:
    folder.git("init")
    folder.write("a")
    folder.write("b", "b\n")
    folder.git("add", "a", "b")
    folder.git("commit", "--message", "first")
    folder.write("b", "changed\n")
    folder.git("add", "b")
    folder.write("c")
    before = folder.git("status", "--porcelain=v2", "--branch")
    repository = {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder.root / ".git").rglob("*")
    }
    assert folder.held() == ["a", "b", "c"]
    git.describe(str(folder.root))
    folder.checkout()
    after = {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder.root / ".git").rglob("*")
    }
    assert after == repository
    assert folder.git("status", "--porcelain=v2", "--branch") == before


def test_submodules_and_nested_repositories_are_files(tmp_path: Path) -> None:
    """In a project inside a larger repository; one submodule is not checked out."""
    library = Folder(tmp_path / "library")
    library.git("init")
    library.write("lib.py")
    library.write("deep/x")
    library.git("add", ".")
    library.git("commit", "--message", "first")
    top = Folder(tmp_path / "top")
    top.git("init")
    top.git("submodule", "add", str(library.root), "exp/present")
    top.git("submodule", "add", str(library.root), "exp/absent")
    top.git("commit", "--message", "first")
    top.git("submodule", "deinit", "--force", "exp/absent")
    top.write(".gitignore", "*.log\n")
    folder = Folder(top.root / "exp")
    folder.write("train.py")
    folder.write("a.log")
    for name in ("unborn", "hollow", "with commit", "unborn/inner"):
        folder.write(f"{name}/x" if name != "hollow" else "train.py")
        (folder.root / name).mkdir(exist_ok=True)
        folder.git("init", place=name)
    folder.git("commit", "--allow-empty", "--message", "first", place="with commit")
    expected = ["present/deep/x", "present/lib.py", "train.py", "unborn/inner/x", "unborn/x", "with commit/x"]
    assert folder.held() == expected
    assert folder.held() == expected
    folder.write("unborn/inner/x", "changed")
    folder.write("present/new")
    copy = folder.checkout()
    assert (copy / "unborn" / "inner" / "x").read_text() == "changed"
    assert (copy / "present" / "new").exists()
    (folder.root / "unborn" / "inner" / "x").unlink()
    shutil.rmtree(folder.root / "present")
    assert folder.held() == ["train.py", "unborn/x", "with commit/x"]


def test_describe(tmp_path: Path) -> None:
    top = Folder(tmp_path / "top")
    folder = Folder(top.root / "exp")
    place = str(folder.root)
    assert git.describe(place) is None
    top.git("init")
    assert git.describe(place) == git.WorkingCopy("", False)
    folder.write("a")
    assert git.describe(place) == git.WorkingCopy("", True)
    top.git("add", ".")
    top.git("commit", "--message", "first")
    commit = top.git("rev-parse", "HEAD").strip()
    assert git.describe(place) == git.WorkingCopy(commit, False)
    top.write("elsewhere")
    folder.write("outputs/model")
    folder.write(".amlexec/x")
    assert git.describe(place) == git.WorkingCopy(commit, False)
    folder.write("a", "changed")
    assert git.describe(place) == git.WorkingCopy(commit, True)
    top.git("checkout", "--detach", "HEAD")
    assert git.describe(place) == git.WorkingCopy(commit, True)
    (top.root / ".git" / "HEAD").write_text("broken")
    assert git.describe(place) is None


def test_describe_a_repository_of_somebody_else(folder: Folder) -> None:
    folder.git("init")
    if os.geteuid() == 0:
        os.chown(folder.root, 12345, 12345)
        os.chown(folder.root / ".git", 12345, 12345)
        assert git.describe(str(folder.root)) is None
    folder.write("a")
    assert folder.take().files == 1


# Failures


def test_the_largest_folders_are_named_where_all_files_are_small() -> None:
    many = {f"images/{number}.png": 30_000 for number in range(20_000)}
    (warning,) = warnings.warnings_of(b"/nowhere", [], many | {"train.py": 100, "b/c": 9_000_000})
    assert "holds 609 MB; the largest folders are images (600 MB), b (9 MB): list" in warning


def test_many_names_for_a_git_that_takes_long(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than we wait in silence, before it has read all names: more than a pipe holds."""
    names = sorted(f"{number:04}-{'x' * 200}" for number in range(600))
    for name in names:
        folder.write(name)
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *--stdin*) sleep 3;; esac\nexec {shutil.which("git")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    assert folder.held() == names


def test_git_is_not_installed(folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="git is not installed") as caught:
        folder.take()
    assert "install git" in caught.value.hint


def test_several_processes_at_once(folder: Folder) -> None:
    """All take the first snapshot of the project, each with its own files."""
    for number in range(200):
        folder.write(f"file{number}", str(number))
    code = (
        "p = Project(sys.argv[1]); name = sys.argv[2]\n"
        "for turn in range(5):\n"
        "    Path(p.root, name).write_text(f'{name} {turn}')\n"
        "    t = snapshot.take(p).tree; to = Path(sys.argv[3], f'{name}-{turn}')\n"
        "    read.checkout(p, t, to)\n"
        "    assert (to / name).read_text() == f'{name} {turn}', name\n"
        "    assert (to / 'file199').read_text() == '199'\n"
    )
    copies = str(folder.root.parent / "copies")
    processes = [child(code, str(folder.root), f"own{number}", copies) for number in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
    assert contents(folder.checkout()) == contents(folder.root)


@pytest.mark.parametrize("whole_group", [True, False])
def test_kill_during_a_snapshot(folder: Folder, whole_group: bool) -> None:
    """At ten moments; without the group, an orphaned git is still writing."""
    for number in range(300):
        folder.write(f"file{number}", os.urandom(3000))
    for turn in range(10):
        for number in range(0, 300, 2):
            folder.write(f"file{number}", os.urandom(3000))
        code = "p = Project(sys.argv[1]); print('begun', flush=True); snapshot.take(p)"
        with child(code, str(folder.root), start_new_session=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(turn * 0.008)  # the moment of the kill, no condition to wait for
            if whole_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        assert contents(folder.checkout()) == contents(folder.root)
        left = [*folder.store.rglob("tmp_*"), *folder.store.rglob("*.lock"), *folder.store.rglob("writing")]
        assert left == []


def test_a_stale_lock_of_a_killed_git(folder: Folder) -> None:
    folder.write("a")
    folder.take()
    for name in ("index.lock", "writing", "objects/pack/tmp_pack_x"):
        (folder.store / name).parent.mkdir(exist_ok=True)
        (folder.store / name).write_bytes(b"")
    folder.write("b")
    assert folder.take().files == 2
    assert not (folder.store / "index.lock").exists()
    assert not (folder.store / "objects" / "pack" / "tmp_pack_x").exists()


@pytest.mark.parametrize("length", [0, 5, 100, -30, -1])
def test_a_truncated_index_is_made_again(folder: Folder, length: int) -> None:
    for number in range(20):
        folder.write(f"file{number}", str(number))
    tree = folder.take().tree
    index = folder.store / "index"
    index.write_bytes(index.read_bytes()[:length])
    taken = folder.take()
    assert taken.tree == tree
    assert any("damaged" in warning for warning in taken.warnings)
    assert folder.take().warnings == ()


def test_an_invalid_index_or_record_is_made_again(folder: Folder) -> None:
    folder.write("a")
    first = folder.take()
    (folder.store / "index").write_bytes(os.urandom(500))
    assert folder.take().tree == first.tree
    for content in (b"", b"{", b"[]", b'{"tree": 1}', b"\xff\xfe"):
        (folder.store / "taken.json").write_bytes(content)
        assert folder.take() == first
    (folder.store / "index").unlink()
    assert folder.take() == first


def test_a_lost_object_comes_back(folder: Folder) -> None:
    folder.write("a", "a")
    folder.write("sub/b", "b")
    first = folder.take()
    for path in [path for path in (folder.store / "objects").rglob("*") if path.is_file()]:
        path.unlink()
    assert folder.take().tree == first.tree
    assert contents(folder.checkout(first.tree)) == contents(folder.root)


def test_the_error_of_a_damaged_object_says_what_to_delete(folder: Folder) -> None:
    folder.write("a", "some content")
    tree = folder.take().tree
    for path in (folder.store / "objects").rglob("*"):
        if path.is_file() and path.name != tree[2:]:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:5])
    copy = folder.root.parent / "copy"
    with pytest.raises(TargetError, match="are damaged") as caught:
        read.checkout(folder.project, tree, copy)
    assert f"delete {folder.store}" in caught.value.hint
    assert not copy.exists()
    shutil.rmtree(folder.store)
    assert folder.take().tree == tree
    read.checkout(folder.project, tree, copy)


def test_a_store_that_is_not_a_repository(folder: Folder) -> None:
    folder.write("a")
    folder.take()
    (folder.store / "HEAD").unlink()
    with pytest.raises(TargetError, match="are damaged") as caught:
        folder.take()
    assert f"delete {folder.store}" in caught.value.hint


def test_checkout_of_a_missing_snapshot(folder: Folder) -> None:
    folder.write("a")
    tree = folder.take().tree
    for wrong in ("0" * len(tree), "HEAD", "--help", ""):
        with pytest.raises(TargetError):
            read.checkout(folder.project, wrong, folder.root.parent / "copy")
    full = folder.root.parent / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    with pytest.raises(TargetError, match="is not empty"):
        read.checkout(folder.project, tree, full)
    assert (full / "mine").read_text() == "mine"


def test_the_disk_is_full(folder: Folder, small_disk: Path) -> None:
    """During the first snapshot, a later one, and a checkout."""
    disk = Folder(small_disk / "demo")
    for number in range(20):
        disk.write(f"file{number}", os.urandom(140_000))
    with pytest.raises(
        TargetError, match=r"no space is left for the snapshot in .*snapshots\.git: .* MB are free"
    ):
        disk.take()
    assert not disk.store.exists()
    for number in range(12, 20):
        (disk.root / f"file{number}").unlink()
    tree = disk.take().tree
    with pytest.raises(TargetError, match="no space is left") as caught:
        read.checkout(disk.project, tree, small_disk / "copy")
    assert "make room" in caught.value.hint
    assert not (small_disk / "copy").exists()
    for number in range(12):
        disk.write(f"file{number}", os.urandom(140_000))
    with pytest.raises(TargetError, match="no space is left"):
        disk.take()
    assert [*disk.store.rglob("tmp_*"), *disk.store.rglob("*.lock"), *disk.store.rglob("writing")] == []
    for number in range(1, 12):
        (disk.root / f"file{number}").unlink()
    assert disk.held() == ["file0"]
