"""A snapshot has the files that git itself does not ignore."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec.snapshots import read
from amlexec.snapshots import take as snapshot
from amlexec.values import Project

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

MOST = settings.default.max_examples // 4
"""Each example starts a dozen processes of git's."""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
CLEAN |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "XDG_CONFIG_HOME": os.devnull}

PARTS = st.sampled_from(
    ["a", "b", "A", "c.py", "d e", "f#", "!g", "[h]", "é", "data", "-n", "k\\l", "outputs"]
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
ATOMS = ["a", "b", "A", "*", "**", "?", ".py", "/", "!", "#", " ", "\\", "[a-c]", "[!a]", "data", "d e", "é"]
ATOMS += ["outputs", "c.py", "[h]", "\\[h\\]", "-n"]
PATTERNS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=5).map("".join)
RULES = st.lists(PATTERNS, min_size=0, max_size=4).map("\n".join)


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=CLEAN, input=given, stdout=subprocess.PIPE, check=False
    )
    assert done.returncode in {0, 1}, arguments
    return done.stdout


def write(root: Path, files: dict[str, bytes]) -> None:
    """Make these files, except where a folder has the name."""
    for name, content in files.items():
        path = root / name
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@functools.cache
def a_repository() -> Path:
    """An empty repository, which git wants to have before it says what is ignored."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    git(folder, "init", "--quiet", "--bare")
    return folder


def not_ignored(root: Path, rule_file: str) -> set[str]:
    """The files that git keeps in a copy of this tree, with the rule files named .gitignore."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        shutil.copytree(root, plain, ignore=shutil.ignore_patterns(".amlexec"))
        if rule_file != ".gitignore":
            for path in list(plain.rglob(".gitignore")):
                path.unlink()
            for path in list(plain.rglob(rule_file)):
                path.rename(path.with_name(".gitignore"))
        names = {str(path.relative_to(plain)) for path in plain.rglob("*") if path.is_file()}
        asked = b"".join(os.fsencode(name) + b"\0" for name in names)
        of_git = (f"--git-dir={a_repository()}", f"--work-tree={plain}")
        ignored = git(plain, *of_git, "check-ignore", "--no-index", "-z", "--stdin", given=asked).split(b"\0")
    kept = names - {os.fsdecode(name) for name in ignored}
    return {name for name in kept if name.split("/")[0] != "outputs"}


def clear(root: Path) -> None:
    for path in root.iterdir():
        if path.name == ".amlexec":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


TREES = st.tuples(
    st.dictionaries(PATHS, st.binary(max_size=3), max_size=8),
    st.dictionaries(st.one_of(st.just(""), PATHS), RULES, max_size=3),
)


@settings(max_examples=MOST, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=TREES, after=TREES, own=st.booleans())
def test_the_files_are_those_that_git_does_not_ignore(
    before: tuple[dict[str, bytes], dict[str, str]],
    after: tuple[dict[str, bytes], dict[str, str]],
    own: bool,
) -> None:
    """Twice in the same project, the second time with other files and rules."""
    rule_file = ".amlignore" if own else ".gitignore"
    rule_files = {".amlignore", ".gitignore"} if own else set()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        root.mkdir()
        project = Project(str(root))
        for files, rules in (before, after):
            clear(root)
            if own:  # then these rules don't count
                write(root, {".amlignore": b"", ".gitignore": b"*\n", "data/.gitignore": b"*\n"})
            write(root, files)
            write(root, {f"{place}/{rule_file}".lstrip("/"): text.encode() for place, text in rules.items()})
            taken = snapshot.take(project)
            held = read.files(project, taken.tree)
            assert taken.files == len(held)
            assert {name for name in held if Path(name).name not in rule_files} == {
                name for name in not_ignored(root, rule_file) if Path(name).name not in rule_files
            }


class Folder:
    """A project folder, and the files of its snapshots."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def write(self, *names: str, text: str = "x") -> None:
        write(self.root, {name: text.encode() for name in names})

    def held(self) -> list[str]:
        project = Project(str(self.root))
        return read.files(project, snapshot.take(project).tree)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path.resolve() / "demo")


def test_amlignore_replaces_gitignore(folder: Folder) -> None:
    folder.write("a.log", "a.tmp", "sub/b.log", "sub/b.tmp")
    folder.write(".gitignore", text="*.log\n")
    assert folder.held() == [".gitignore", "a.tmp", "sub/b.tmp"]
    folder.write(".amlignore", text="*.tmp\n")
    assert folder.held() == [".amlignore", ".gitignore", "a.log", "sub/b.log"]
    (folder.root / ".amlignore").unlink()
    assert folder.held() == [".gitignore", "a.tmp", "sub/b.tmp"]


def test_an_amlignore_below_the_root_does_not_replace_gitignore(folder: Folder) -> None:
    folder.write("a.log", "sub/b.log")
    folder.write("sub/.amlignore", text="*.log\n")
    assert folder.held() == ["a.log", "sub/.amlignore", "sub/b.log"]
    folder.write(".amlignore", text="")
    assert folder.held() == [".amlignore", "a.log", "sub/.amlignore"]


def test_a_folder_called_amlignore_is_ignored(folder: Folder) -> None:
    folder.write("a.log", ".amlignore/x")
    folder.write(".gitignore", text="*.log\n")
    assert folder.held() == [".amlignore/x", ".gitignore"]


def test_files_that_are_never_in_a_snapshot(folder: Folder) -> None:
    """Not even if a rule includes them."""
    folder.write(
        ".git/config", "outputs/model", ".amlexec/runs/x", "sub/.amlexec/x", "sub/.git/x", "sub/outputs/kept"
    )
    folder.write(".amlignore", text="!outputs\n!outputs/*\n!.amlexec\n!.git\n")
    assert folder.held() == [".amlignore", "sub/outputs/kept"]


def test_rules_that_hide_themselves_still_count(folder: Folder) -> None:
    """As in the folders that virtualenv and pytest make. The files were in an earlier snapshot."""
    folder.write("venv/lib/x", "a")
    assert folder.held() == ["a", "venv/lib/x"]
    folder.write("venv/.gitignore", text="*\n")
    assert folder.held() == ["a"]
    (folder.root / "venv" / ".gitignore").unlink()
    assert folder.held() == ["a", "venv/lib/x"]


def test_a_file_that_was_added_to_git_by_force_stays_out(folder: Folder) -> None:
    folder.write("a", "big.bin")
    folder.write(".gitignore", text="*.bin\n")
    git(folder.root, "init", "--quiet")
    git(folder.root, "add", "--force", "big.bin")
    assert folder.held() == [".gitignore", "a"]


def test_rules_of_the_user_do_not_count(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder.write("a.log", "b.log")
    git(folder.root, "init", "--quiet")
    (folder.root / ".git" / "info").mkdir(exist_ok=True)
    (folder.root / ".git" / "info" / "exclude").write_text("a.log\n")
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("b.log\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    assert folder.held() == ["a.log", "b.log"]


def test_the_rules_of_the_repository_around_the_project_count(tmp_path: Path) -> None:
    top = Folder(tmp_path.resolve() / "monorepo")
    git(top.root, "init", "--quiet")
    top.write(".gitignore", text="*.log\n/exp\\[1\\]/hidden\n/data\n")
    top.write("exp[1]/.gitignore", text="*.tmp\n!keep.log\n")
    top.write("data", "other/x")
    inner = Folder(top.root / "exp[1]")
    inner.write("a", "a.log", "keep.log", "a.tmp", "hidden", "data", "outputs/x", "sub/hidden", "sub/outputs")
    expected = [".gitignore", "a", "data", "keep.log", "sub/hidden", "sub/outputs"]
    assert inner.held() == expected
    assert inner.held() == expected
    inner.write("b", "b.log")
    assert inner.held() == [".gitignore", "a", "b", *expected[2:]]
    inner.write(".amlignore", text="")
    assert "a.log" in inner.held()
    (inner.root / ".amlignore").unlink()
    shutil.rmtree(top.root / ".git")
    assert "a.log" in inner.held()
    assert "a.tmp" not in inner.held()


def test_a_project_that_its_repository_ignores_has_only_its_own_rules(tmp_path: Path) -> None:
    """As in a home folder under git, with `*` as its rule."""
    top = Folder(tmp_path.resolve() / "home")
    git(top.root, "init", "--quiet")
    top.write(".gitignore", text="*\n")
    inner = Folder(top.root / "work" / "demo")
    inner.write("a", "a.tmp")
    inner.write(".gitignore", text="*.tmp\n")
    assert inner.held() == [".gitignore", "a"]


def test_rules_apply_inside_nested_repositories(folder: Folder) -> None:
    folder.write(".gitignore", text="*.log\nsecret/\n")
    folder.write(
        "lib/a", "lib/a.log", "lib/a.tmp", "lib/secret/x", "lib/deep/b", "lib/deep/b.log", "lib/deep/b.tmp"
    )
    folder.write("lib/.gitignore", text="*.tmp\n")
    git(folder.root / "lib", "init", "--quiet")
    git(folder.root / "lib" / "deep", "init", "--quiet")
    expected = [".gitignore", "lib/.gitignore", "lib/a", "lib/deep/b"]
    assert folder.held() == expected
    assert folder.held() == expected


def test_a_nested_repository_that_is_ignored_stays_out(folder: Folder) -> None:
    folder.write("a", "lib/a")
    git(folder.root / "lib", "init", "--quiet")
    assert folder.held() == ["a", "lib/a"]
    folder.write(".gitignore", text="/lib\n")
    assert folder.held() == [".gitignore", "a"]


def test_everything_ignored_is_a_warning(folder: Folder) -> None:
    folder.write("a")
    folder.write(".gitignore", text="*\n")
    taken = snapshot.take(Project(str(folder.root)))
    assert taken.files == 0
    assert any("empty" in warning for warning in taken.warnings)
    read.checkout(Project(str(folder.root)), taken.tree, folder.root.parent / "copy")
    assert list((folder.root.parent / "copy").iterdir()) == []


def test_a_rule_file_that_is_a_link_is_a_warning(folder: Folder) -> None:
    """git does not follow it (since 2.32), so amlexec does not either; a warning says so."""
    folder.write("a.log", "sub/rules")
    folder.write("sub/rules", text="*.log\n")
    (folder.root / ".amlignore").symlink_to("sub/rules")
    taken = snapshot.take(Project(str(folder.root)))
    assert taken.files == 3
    assert any(".amlignore" in warning for warning in taken.warnings)


@pytest.mark.parametrize(("name", "is_repository"), [(".gitignore", True), ("folder/.gitignore", False)])
def test_a_pipe_in_place_of_a_rule_file_is_an_error(
    project: ProjectFolder, name: str, is_repository: bool
) -> None:
    project.write("train.py", "print('x')\n")
    (project.root / name).parent.mkdir(exist_ok=True)
    os.mkfifo(project.root / name)
    if is_repository:
        subprocess.run(["git", "init", "-q", str(project.root)], check=True)
    done = project.submit("train.py")
    assert done.code == 2
    assert f"error: {name} is not a file, so git would wait for it" in done.err
    assert "Traceback" not in done.err
