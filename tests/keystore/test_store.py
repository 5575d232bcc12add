"""Secrets outside the project: where they are stored, and who can read them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import keyring
import pytest

from amlexec.errors import TargetError
from amlexec.keystore import store as keystore
from amlexec.ssh.key_pair import new_key_pair
from tests.support.stored_secrets import StoredSecret, stored_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "s3cret $pw 'é"


@pytest.fixture(autouse=True)
def _no_system_keyring(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the tests away from the developer's own keyring and folders."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    before = keyring.get_keyring()
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    keyring.core.init_backend()
    yield
    keyring.set_keyring(before)


@pytest.fixture(params=["own", "shared"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A user's own store, and a folder that a team shares."""
    if request.param == "shared":
        (tmp_path / "team").mkdir()
        (tmp_path / "team").chmod(0o2770)
        monkeypatch.setenv("AMLEXEC_KEYSTORE", str(tmp_path / "team"))
    return str(request.param)


@pytest.mark.usefixtures("store")
class TestSecrets:
    def test_stored_and_deleted(self) -> None:
        handle = keystore.put(SECRET, "gpubox")
        assert keystore.is_handle(handle)
        assert SECRET not in handle
        assert keystore.get(handle) == SECRET
        assert stored_secrets() == [StoredSecret(handle, "password", "gpubox")]
        keystore.delete(handle)
        keystore.delete(handle)
        assert stored_secrets() == []
        with pytest.raises(TargetError, match="has no secret amlexec:") as caught:
            keystore.get(handle)
        assert "AMLEXEC_KEYSTORE" in caught.value.hint

    def test_each_has_its_own_handle(self) -> None:
        handles = [keystore.put(str(number)) for number in range(5)]
        assert [keystore.get(handle) for handle in handles] == list("01234")

    @pytest.mark.parametrize("secret", ["two\nlines", "nul\0"])
    def test_secrets_that_ssh_can_not_read(self, secret: str) -> None:
        with pytest.raises(TargetError, match="line ends or NUL") as caught:
            keystore.put(secret)
        assert secret not in str(caught.value)

    @pytest.mark.parametrize(
        "text", ["", "amlexec:", "hunter2", "amlexec:../../etc/passwd", f"amlexec:{'g' * 32}"]
    )
    def test_invalid_handles(self, text: str) -> None:
        assert not keystore.is_handle(text)
        with pytest.raises(TargetError, match="not a handle"):
            keystore.get(text)

    def test_key_pair(self, tmp_path: Path) -> None:
        pair = new_key_pair("amlexec gpu\nbox")
        assert pair.public.startswith("ssh-ed25519 ")
        assert pair.public.endswith(" amlexec gpu box")
        assert keystore.public_key(pair.handle) == pair.public
        assert stored_secrets() == [StoredSecret(pair.handle, "key", "amlexec gpu box")]
        private = keystore.private_key_file(pair.handle, tmp_path)
        derived = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], check=True, capture_output=True)
        assert derived.stdout.decode().split()[:2] == pair.public.split()[:2]
        keystore.delete(pair.handle)
        assert stored_secrets() == []
        with pytest.raises(TargetError, match="has no secret"):
            keystore.private_key_file(pair.handle, tmp_path)

    def test_no_ssh_keygen(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(TargetError, match="ssh-keygen"):
            new_key_pair("x")

    def test_secret_is_replaced_atomically(self) -> None:
        path = keystore.pinned_hosts("[box]:2222")
        keystore.write(path, b"one")
        keystore.write(path, b"two")
        assert path.read_bytes() == b"two"
        assert [found.name for found in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("address", ["../../../x", "a/b", "[fe80::1%eth0]:22"])
    def test_address_never_leaves_the_store(self, address: str) -> None:
        path = keystore.pinned_hosts(address)
        assert path.resolve().parent.name == "hosts"


class TestOwnStore:
    def test_only_the_owner_can_read_it(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            keystore.put(SECRET)
            new_key_pair("x")
        finally:
            os.umask(before)
        found = keystore.own_folder()
        assert tmp_path not in found.parents
        assert all(not path.stat().st_mode & 0o077 for path in (found, *found.rglob("*")))

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    @pytest.mark.parametrize("which", ["file", "folder", "store"])
    def test_refused_when_others_can_read_it(self, which: str, mode: int) -> None:
        handle = keystore.put(SECRET)
        file = keystore.own_folder() / "passwords" / handle.partition(":")[2]
        path = {"file": file, "folder": file.parent, "store": file.parent.parent}[which]
        path.chmod(mode | (0o100 if path.is_dir() else 0))
        with pytest.raises(TargetError, match="others can read or change") as caught:
            keystore.get(handle)
        assert caught.value.where == str(path)
        command = caught.value.hint.split("`")[1]
        assert SECRET not in repr(caught.value)
        subprocess.run(command.split(), check=True)
        assert keystore.get(handle) == SECRET

    def test_key_that_others_can_read(self, tmp_path: Path) -> None:
        pair = new_key_pair("x")
        keystore.private_key_file(pair.handle, tmp_path).chmod(0o644)
        with pytest.raises(TargetError, match="others can read"):
            keystore.private_key_file(pair.handle, tmp_path)

    def test_reading_creates_nothing(self) -> None:
        assert not keystore.pinned_hosts("box").exists()
        assert not (Path(os.environ["HOME"]) / ".local").exists()

    def test_folder_that_can_not_be_created(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
        with pytest.raises(TargetError, match="can't be used: Not a directory"):
            keystore.put(SECRET)

    def test_damaged(self) -> None:
        handle = keystore.put(SECRET)
        (keystore.own_folder() / "passwords" / handle.partition(":")[2]).write_text("{")
        with pytest.raises(TargetError, match="damaged"):
            keystore.get(handle)


class TestSharedStore:
    @pytest.fixture
    def team(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        folder = tmp_path / "team"
        folder.mkdir()
        folder.chmod(0o2770)
        monkeypatch.setenv("AMLEXEC_KEYSTORE", str(folder))
        return folder

    def test_group_can_read_and_others_cannot(self, team: Path) -> None:
        keystore.put(SECRET)
        new_key_pair("x")
        files = [path for path in team.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}
        folders = [path for path in team.rglob("*") if path.is_dir()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o2770}

    def test_refused_when_everybody_can_read_it(self, team: Path) -> None:
        handle = keystore.put(SECRET)
        (file,) = (team / "passwords").iterdir()
        file.chmod(0o644)
        with pytest.raises(TargetError, match="others can read"):
            keystore.get(handle)

    def test_refused_when_everybody_can_write_it(self, team: Path) -> None:
        handle = keystore.put(SECRET)
        team.chmod(0o777)
        with pytest.raises(TargetError, match="others can read or change"):
            keystore.get(handle)
        with pytest.raises(TargetError, match="others can read or change"):
            keystore.put(SECRET)

    @pytest.mark.usefixtures("team")
    def test_key_for_openssh_is_a_private_copy(self, tmp_path: Path) -> None:
        pair = new_key_pair("x")
        file = keystore.private_key_file(pair.handle, tmp_path)
        assert file.parent == tmp_path
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_missing_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AMLEXEC_KEYSTORE", str(tmp_path / "unmounted"))
        with pytest.raises(TargetError, match="can't be used: No such file"):
            keystore.put(SECRET)
        assert not (tmp_path / "unmounted").exists()


class TestKeyring:
    @pytest.fixture
    def passwords(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """The file of a working keyring."""
        monkeypatch.setenv("PASSWORDS_OF_TEST", str(tmp_path / "passwords"))
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.support.keyrings.FileKeyring")
        keyring.core.init_backend()
        return tmp_path / "passwords"

    def test_the_password_is_in_the_keyring_alone(self, passwords: Path) -> None:
        handle = keystore.put(SECRET, "gpubox")
        assert SECRET in json.loads(passwords.read_text()).values()
        files = [path for path in keystore.own_folder().rglob("*") if path.is_file()]
        assert files
        assert not any(json.dumps(SECRET).encode() in path.read_bytes() for path in files)
        assert keystore.get(handle) == SECRET
        assert stored_secrets() == [StoredSecret(handle, "password", "gpubox")]
        keystore.delete(handle)
        assert json.loads(passwords.read_text()) == {}
        keystore.delete(handle)

    def test_locked(self, passwords: Path) -> None:
        handle = keystore.put(SECRET)
        passwords.with_name("locked").touch()
        with pytest.raises(TargetError, match="does not return the secret") as caught:
            keystore.get(handle)
        assert "unlock" in caught.value.hint
        other = keystore.put("other")
        assert keystore.get(other) == "other", "it is stored in a file"
        with pytest.raises(TargetError, match="does not delete the secret"):
            keystore.delete(handle)
        passwords.with_name("locked").unlink()
        keystore.delete(handle)
        assert json.loads(passwords.read_text()) == {}

    def test_emptied_by_another_program(self, passwords: Path) -> None:
        handle = keystore.put(SECRET)
        passwords.unlink()
        with pytest.raises(TargetError, match="does not return the secret"):
            keystore.get(handle)
        keystore.delete(handle)

    def test_a_shared_store_does_not_use_the_keyring(
        self, passwords: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "team").mkdir(mode=0o770)
        monkeypatch.setenv("AMLEXEC_KEYSTORE", str(tmp_path / "team"))
        assert keystore.get(keystore.put(SECRET)) == SECRET
        assert not passwords.exists()
