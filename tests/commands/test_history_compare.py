"""`amlexec history compare`: packages and code, beside what records say."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.environments import last_prepared, resolved_lock
from amlexec.history import folders, tags
from amlexec.history.paths import RunPaths
from amlexec.values import Project
from tests.conftest import PATIENCE, ProjectFolder
from tests.support.records import RUN

if TYPE_CHECKING:
    from pathlib import Path

LOCK = """\
# amlexec linux-64 sha256:{zeros} {{}}
version: 6
environments:
  default:
    channels: []
    packages:
      linux-64:
{listed}
packages:
{packages}
"""
DIGEST = "d" * 64


def lock(*conda: str, pip: tuple[str, ...] = ()) -> str:
    """A resolved lock of these packages: `name-version-build`, and `name==version`."""
    places = [f"https://conda.example/linux-64/{name}.conda" for name in conda]
    wheels = [(*text.split("=="), f"https://pypi.example/{text}.whl") for text in pip]
    listed = [f"      - conda: {place}" for place in places] + [
        f"      - pypi: {wheel[2]}" for wheel in wheels
    ]
    packages = [f"- conda: {place}\n  sha256: {'0' * 64}" for place in places]
    packages += [f"- pypi: {place}\n  name: {name}\n  version: {version}" for name, version, place in wheels]
    return LOCK.format(zeros="0" * 64, listed="\n".join(listed), packages="\n".join(packages))


def add(project: ProjectFolder, number: int, **changes: Any) -> str:
    run_id = f"p_{1521077190506 + number}"
    paths = RunPaths.of(Project(str(project.root)), run_id)
    paths.folder.mkdir(parents=True)
    folders.write(
        paths, RUN._replace(**{"run_id": run_id, "status": "Completed", "snapshot": None, **changes})
    )
    return run_id


def compared(project: ProjectFolder, *arguments: str) -> dict[str, Any]:
    done = project.amlexec("history", "compare", *arguments, "-o", "json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def rows(found: dict[str, Any], prefix: str) -> dict[str, list[Any]]:
    return {
        row["key"]: row["values"] for row in found["rows"] if row["key"].startswith(prefix) and row["differs"]
    }


def test_packages_that_were_added_removed_and_changed(project: ProjectFolder) -> None:
    root = Project(str(project.root))
    before = lock("numpy-1.26.4-py311_0", "zlib-1.3-h1_0", "gone-1-0", pip=("rich==13.0",))
    after = lock("numpy-2.0.0-py311_0", "zlib-1.3-h2_1", pip=("rich==13.0", "new-one==1.0"))
    add(project, 0, environment_lock=resolved_lock.keep(root, before))
    add(project, 1, environment_lock=resolved_lock.keep(root, after))
    found = compared(project)
    assert rows(found, "packages.") == {
        "packages.gone": ["1", None],
        "packages.numpy": ["1.26.4", "2.0.0"],
        "packages.pip.new-one": [None, "1.0"],
        "packages.zlib": ["1.3 h1_0", "1.3 h2_1"],
    }
    assert {"packages.pip.rich"} <= {row["key"] for row in found["rows"]}
    table = project.amlexec("history", "compare").out.splitlines()
    assert [line.split() for line in table if "numpy" in line] == [["packages.numpy", "1.26.4", "2.0.0"]]


def test_packages_of_an_environment_whose_lock_was_not_kept(project: ProjectFolder) -> None:
    root = Project(str(project.root))
    folder = last_prepared.folder(root)
    folder.mkdir(parents=True)
    packages = {
        "conda": [{"name": "numpy", "version": "1", "build": "0"}],
        "pip": [{"name": "a", "version": "2"}],
    }
    (folder / f"{DIGEST}.packages.json").write_text(json.dumps(packages))
    add(project, 0, environment_digest=DIGEST)
    add(project, 1, environment_lock=resolved_lock.keep(root, lock("numpy-2-0")), environment_digest=DIGEST)
    # What is not known does not differ.
    add(project, 2)
    add(project, 3, environment_lock="e" * 64, environment_digest="e" * 64)
    names = [f"p_{1521077190506 + number}" for number in range(4)]
    assert rows(compared(project, *names), "packages.") == {
        "packages.numpy": ["1", "2", None, None],
        "packages.pip.a": ["2", None, None, None],
    }
    (folder / f"{DIGEST}.packages.json").write_text("[" * 9999)
    assert rows(compared(project, names[0], names[2]), "packages.") == {}


def test_parameters_and_tags_are_compared_one_by_one(project: ProjectFolder) -> None:
    first = add(project, 0, arguments=("--lr", "0.1", "--seed", "1"))
    add(project, 1, arguments=("--lr", "1e-1", "--seed=2"))
    tags.change(RunPaths.of(Project(str(project.root)), first), {"best": ""})
    found = compared(project)
    assert rows(found, "params.") == {"params.seed": [1, 2]}
    assert rows(found, "tags.") == {"tags.best": ["", None]}


@pytest.fixture
def versions(project: ProjectFolder) -> tuple[str, str]:
    """Two runs of different code: texts, bytes, CRLF, no newline at the end, names of any kind."""
    files: dict[str, bytes] = {
        "a.txt": b"one\ntwo\n",
        "crlf.txt": b"one\r\ntwo\r\n",
        "no newline.txt": b"one",
        "binary": bytes(range(256)),
        "removed.py": b"1\n",
        "naïve ✓.txt": b"x\n",
    }
    for name, content in files.items():
        project.write(name, content)
    project.write("train.py", "print(1)\n")
    first = project.submit("train.py").run_id
    project.write("a.txt", "one\n2\nthree\n")
    project.write("crlf.txt", b"one\r\n2\r\n")
    project.write("no newline.txt", "two")
    project.write("binary", bytes(range(256))[::-1])
    project.write("new folder/new.py", "\x1b[31m\n")
    (project.root / "naïve ✓.txt").chmod(0o755)
    (project.root / "removed.py").unlink()
    return first, project.submit("train.py").run_id


def test_files_of_the_code_that_differ(project: ProjectFolder, versions: tuple[str, str]) -> None:
    (pair,) = compared(project, *versions)["code"]
    assert (pair["from"], pair["to"]) == versions
    assert [(each["path"], each["change"], each["added"], each["removed"]) for each in pair["files"]] == [
        ("a.txt", "changed", 2, 1),
        ("binary", "changed", None, None),
        ("crlf.txt", "changed", 1, 1),
        ("naïve ✓.txt", "changed", 0, 0),
        ("new folder/new.py", "added", 1, 0),
        ("no newline.txt", "changed", 1, 1),
        ("removed.py", "removed", 0, 1),
    ]
    done = project.amlexec("history", "compare")
    assert f"code: 7 files differ in {versions[1]}" in done.out
    assert f"amlexec history compare {versions[0]} {versions[1]} --code" in done.err


def test_the_difference_of_code_can_be_applied(
    project: ProjectFolder, versions: tuple[str, str], tmp_path: Path
) -> None:
    printed = tmp_path / "printed.diff"
    command = [sys.executable, "-m", "amlexec", "history", "compare", *versions, "--code"]
    with printed.open("wb") as file:
        subprocess.run(command, cwd=project.root, stdout=file, check=True)
    before, after = (export(project, version, tmp_path / version) for version in versions)
    subprocess.run(["git", "apply", "--check", printed], check=True, cwd=before)
    subprocess.run(["git", "apply", printed], check=True, cwd=before)
    assert contents(before) == contents(after)
    assert len(contents(after)) > 6
    assert b"\x1b[31m" in printed.read_bytes()


def test_a_difference_does_not_control_the_terminal(
    project: ProjectFolder, versions: tuple[str, str]
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "amlexec", "history", "compare", *versions, "--code"]
    with subprocess.Popen(command, cwd=project.root, stdout=theirs) as process:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 1 << 16):
                printed += piece
        os.close(ours)
        assert process.wait(PATIENCE) == 0
    assert b"\x1b" not in printed
    assert b"+\\x1b[31m" in printed


def export(project: ProjectFolder, version: str, folder: Path) -> Path:
    """The files of a run's snapshot."""
    folder.mkdir()
    tree = project.record(version)["snapshot"]["tree"]
    command = ["git", "--git-dir", project.root / ".amlexec/snapshots.git", "archive", tree]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x"], input=archive, check=True, cwd=folder)
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o111) for path in files}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["last", "last", "last", "--code"], "--code is for two runs"),
        (["last", "last", "--code", "-o", "json"], "it takes no --output"),
        (["last", "last", "--code"], "has no snapshot"),
    ],
)
def test_invalid_uses_of_code(project: ProjectFolder, arguments: list[str], says: str) -> None:
    add(project, 0)
    done = project.amlexec("history", "compare", *arguments)
    assert (done.code, says in done.err) == (3, True), done.err


def test_a_snapshot_that_was_removed_is_one_warning(
    project: ProjectFolder, versions: tuple[str, str]
) -> None:
    shutil.rmtree(project.root / ".amlexec/snapshots.git")
    done = project.amlexec("history", "compare")
    assert (done.code, "no snapshots on this computer" in done.err) == (0, True)
    assert "snapshot.tree" in done.out
    done = project.amlexec("history", "compare", *versions, "--code")
    assert (done.code, "no snapshots on this computer" in done.err) == (2, True)
    assert project.amlexec("history", "compare", "last", "last", "--code").err == "the code is the same\n"


def test_a_comparison_of_many_runs_fits_the_terminal(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [add(project, number, metrics={"accuracy": "x" * number}) for number in range(12)]
    monkeypatch.setenv("COLUMNS", "80")
    done = project.amlexec("history", "compare", *names)
    assert max(map(len, done.out.splitlines())) <= 80
    assert "3 more runs have no room (-o json has all)" in done.err
    assert done.out.splitlines()[0].count("p_") == 9
    assert "no room" not in project.amlexec("history", "compare", *names[:9]).err
    monkeypatch.setenv("COLUMNS", "0")
    assert project.amlexec("history", "compare", *names).out.splitlines()[0].count("p_") == 12
