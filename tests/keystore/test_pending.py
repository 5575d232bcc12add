"""A secret that is stored before the file that names it does not stay if the command is killed between."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import keyring
import pytest

from amlexec import temporaries
from amlexec.errors import TargetError
from amlexec.keystore import pending
from amlexec.keystore import store as keystore
from tests.support.stored_secrets import stored_secrets

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

ROOT = Path(__file__).parents[2]
SECRET = "s3cret $pw 'é"
KILLED = f"""
import os, pathlib, signal, sys
from amlexec.keystore import keyring, pending, store
from amlexec.ssh.key_pair import new_key_pair
folder = pathlib.Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def seen(write, path, data):
    die() if path.parent.name == "passwords" else write(path, data)
with pending.naming(folder) as secrets:
    exec(sys.argv[2])
    store.put({SECRET!r}, "amlexec box", secrets.handle())
    exec(sys.argv[3])
    die()
"""


def killed(folder: Path, before: str = "", after: str = "") -> None:
    """A command that stores a password and is killed then; more Python before that, and after it."""
    command = [sys.executable, "-c", KILLED, str(folder), before, after]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def notes() -> list[Path]:
    return sorted((keystore.folder() / "pending").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of `.compute` files."""
    made = tmp_path / "with boxes/aml_config"
    made.mkdir(parents=True)
    return made


def test_what_a_killed_command_stored_is_removed(folder: Path) -> None:
    killed(folder)
    assert len(stored_secrets()) == 1
    assert [path.parent.name for path in pending.left()] == ["pending", "passwords"]
    pending.remove_left()
    assert (stored_secrets(), notes(), pending.left()) == ([], [], [])


def test_a_key_pair_too(folder: Path) -> None:
    killed(folder, after="new_key_pair('amlexec box', secrets.handle())")
    assert {each.kind for each in stored_secrets()} == {"key", "password"}
    pending.remove_left()
    assert stored_secrets() == []


@pytest.mark.parametrize(
    "before",
    [
        "from amlexec import files; os.replace = die; new_key_pair('x', secrets.handle())",
        "from amlexec.ssh import program; program.run = die; new_key_pair('x', secrets.handle())",
        "import tempfile; tempfile.mkdtemp('.new', store.scratch_name(), store.own_folder())",
        "pathlib.Path.rename = die; os.rmdir(store.folder() / 'passwords')",
    ],
    ids=["half-written", "made by ssh-keygen", "script of askpass", "folder"],
)
def test_nothing_half_made_is_left(folder: Path, before: str) -> None:
    keystore.delete(keystore.put("x"))
    keystore.keys_folder()
    killed(folder, before)
    pending.remove_left()
    left = sorted(path.name for path in keystore.folder().rglob("*"))
    assert [name for name in left if name not in {"keys", "passwords", "pending"}] == []


def test_a_secret_that_a_file_names_stays(folder: Path) -> None:
    named = "(folder / 'box.compute').write_text('type: remote\\npassword: ' + secrets._handles[0] + '\\n')"
    killed(folder, after=named)
    assert pending.left() == notes()
    pending.remove_left()
    (stored,) = stored_secrets()
    assert stored.handle in (folder / "box.compute").read_text()
    assert keystore.get(stored.handle) == SECRET
    assert notes() == []


def test_an_old_secret_goes_with_its_file(folder: Path) -> None:
    """The file was replaced, and the command is killed before it removes the old secret."""
    old = keystore.put("old")
    killed(folder, before=f"secrets.add([{old!r}])")
    assert len(stored_secrets()) == 2
    pending.remove_left()
    assert stored_secrets() == []


def test_a_command_that_goes_on_keeps_its_secrets(folder: Path) -> None:
    with pending.naming(folder) as secrets:
        handle = keystore.put(SECRET, "", secrets.handle())
        assert pending.left() == []
        pending.remove_left()
        assert keystore.get(handle) == SECRET
        (folder / "box.compute").write_text(f"password: {handle}\n")
    assert keystore.get(handle) == SECRET
    assert notes() == []


def test_a_command_that_fails_keeps_nothing(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), pending.naming(folder) as secrets:
        keystore.put(SECRET, "", secrets.handle())
        raise KeyboardInterrupt
    assert (stored_secrets(), notes()) == ([], [])


def test_a_disk_that_is_not_mounted_is_waited_for(folder: Path) -> None:
    killed(folder)
    away = folder.parent.rename(folder.parent.with_name("away"))
    pending.remove_left()
    assert len(stored_secrets()) == 1
    (note,) = notes()
    month = time.time() - 31 * 86400
    os.utime(note, (month, month))
    assert len(pending.left()) == 2
    pending.remove_left()
    assert (stored_secrets(), notes()) == ([], [])
    assert away.is_dir()


def test_a_file_that_can_not_be_read_may_name_it(folder: Path) -> None:
    killed(folder)
    with (folder / "box.compute").open("wb") as file:
        file.truncate(1 << 30)
    pending.remove_left()
    assert len(stored_secrets()) == 1


def test_a_note_that_nobody_wrote(folder: Path) -> None:
    mine = keystore.put(SECRET)
    killed(folder)
    (note,) = notes()
    for text in ("", "[]", json.dumps({"folder": 1, "handles": 2}), '{"folder": "/", "handles": ["../x"]}'):
        note.write_text(text)
        pending.remove_left()
        assert not note.exists()
    assert keystore.get(mine) == SECRET


@pytest.mark.parametrize("before", ["", "w = store.write; store.write = lambda *a: seen(w, *a)"])
def test_the_keyring_forgets_it_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Also if it was killed before the store had a file that says that the keyring has it."""
    monkeypatch.setenv("PASSWORDS_OF_TEST", str(tmp_path / "words"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.support.keyrings.FileKeyring")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ours = keyring.get_keyring()
    keyring.core.init_backend()
    try:
        killed(folder, before)
        assert len(stored_secrets()) == (0 if before else 1)
        assert SECRET in json.loads((tmp_path / "words").read_text()).values()
        (tmp_path / "locked").touch()
        with pytest.raises(TargetError, match="does not delete the secret"):
            pending.remove_left()
        assert len(notes()) == 1, "the next command tries again"
        (tmp_path / "locked").unlink()
        pending.remove_left()
    finally:
        keyring.set_keyring(ours)
    assert json.loads((tmp_path / "words").read_text()) == {}
    assert (stored_secrets(), notes()) == ([], [])


def test_gc_shows_and_removes_it(project: ProjectFolder, folder: Path) -> None:
    killed(folder)
    (secret,) = stored_secrets()
    done = project.amlexec("gc", "--plan")
    assert (done.code, f"passwords/{secret.handle[8:]}" in done.out) == (0, True), done
    assert SECRET not in done.out
    done = project.amlexec("gc")
    assert (done.code, stored_secrets()) == (0, []), done


def test_secrets_are_stored_for_names_alone() -> None:
    """Every call of the product that stores a secret has a handle that was noted first."""
    missing = []
    for path in sorted((ROOT / "amlexec").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                most = {"keystore.put": 3, "keystore.put_key_pair": 3, "new_key_pair": 2}.get(called)
                if most is not None and len(node.args) < most:
                    missing.append(f"{path}:{node.lineno}: {called}")
    assert missing == []
    assert temporaries.owner() in keystore.scratch_name()
