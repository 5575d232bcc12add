"""amlexec's files are private to their owner; a copy is never more readable than its original."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec import private_folders

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder
    from tests.support.hosts import Client, Host

LOOK = """\
import os, sys
for name in ('.env', 'run.sh', 'notes.txt', 'shared.csv'):
    print(name, oct(os.stat(name).st_mode & 0o777))
print('umask', oct(os.umask(0)))
os.makedirs('outputs', exist_ok=True)
descriptor = os.open('outputs/key', os.O_CREAT | os.O_WRONLY, 0o600)
os.write(descriptor, b'x')
"""
MODES = {".env": 0o600, "run.sh": 0o750, "notes.txt": 0o640, "shared.csv": 0o644}


def filled(project: ProjectFolder) -> None:
    project.write("look.py", LOOK)
    for name, mode in MODES.items():
        project.write(name, f"{name}\n").chmod(mode)


def modes(text: str) -> dict[str, int]:
    """The modes of files that the script has printed."""
    return {line.split()[0]: int(line.split()[1], 8) for line in text.splitlines() if " 0o" in line}


def not_wider(found: dict[str, int]) -> None:
    for name, mode in MODES.items():
        assert not found[name] & ~mode, f"{name}: {found[name]:o}, and it was {mode:o}"
        assert found[name] & 0o700 == mode & 0o700, name


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_run_here(project: ProjectFolder, umask: int) -> None:
    filled(project)
    done = project.submit("look.py", umask=umask)
    assert done.code == 0, done.err
    found = modes(done.out)
    not_wider(found)
    assert found["umask"] == umask, "the script has the umask of the submitting command"
    state = project.root / ".amlexec"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    run = project.run_folder(done.run_id)
    assert stat.S_IMODE((run / "outputs/key").stat().st_mode) == 0o600
    loose = []
    for path in state.rglob("*"):
        if "outputs" not in path.relative_to(state).parts and not path.is_symlink():
            loose += [str(path)] if path.stat().st_mode & 0o002 else []
    assert loose == []
    for name in ("run.json", "stdout.log", "stderr.log", "control.log", "control/lock"):
        assert not (run / name).stat().st_mode & 0o077, name
    copy = project.root / "copy"
    assert project.amlexec("history", "download", "-r", done.run_id, "-d", str(copy), umask=umask).code == 0
    assert not [path for path in copy.rglob("key") if path.stat().st_mode & 0o077]


def test_a_folder_of_an_earlier_version_becomes_private(project: ProjectFolder) -> None:
    state = project.root / ".amlexec"
    state.mkdir()
    state.chmod(0o775)
    filled(project)
    assert project.submit("look.py").code == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o770


@pytest.mark.parametrize("user", ["root", "remo"])
def test_a_run_on_a_machine(project: ProjectFolder, client: Client, host: Host, user: str) -> None:
    client.lets_in(host)
    filled(project)
    project.write(
        "aml_config/box.compute",
        f"type: remote\naddress: {host.address}\nusername: {user}\npythonLocation: python3\n"
        "userManagedEnvironment: true\n",
    )
    project.write("aml_config/box.runconfig", "Target: box\nFramework: Python\n")
    for _ in range(2):  # all files, then only the changed ones
        done = project.amlexec("experiment", "submit", "-c", "box", "look.py")
        assert done.code == 0, done.err
        not_wider(modes(done.out))
        for name, mode in MODES.items():
            project.write(name, f"{name} again\n").chmod(mode)
    kept = project.run_folder(done.run_id) / "outputs/key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = host.ssh('find ~/.amlexec -perm /077 ! -type l -path "*/.amlexec" || true', user)
    assert found == ""
    host.ssh("rm -rf ~/.amlexec", user)


def test_new_folders_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_folders.make(tmp_path / "a/b/c")
        private_folders.make(tmp_path / "a/b/c")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / one).stat().st_mode) for one in ("a", "a/b", "a/b/c")} == {0o700}
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        private_folders.make(tmp_path / "file/x")
