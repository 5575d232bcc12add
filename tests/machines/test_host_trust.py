"""Which host keys `attach` trusts, with a real sshd."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from amlexec.machines.host_trust import establish
from amlexec.ssh import host_keys
from amlexec.ssh.connection import HostKeyError, SSHConnection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import Client, Host

OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7b0Fzc2VkIGJ5IG5vYm9keSwgYSBrZXkgb2YgYSB0ZXN0IDAwMDAw"
"""A key that the host does not have."""


def known(client: Client, host: Host, marker: str, key: str = "", name: str = "") -> None:
    """Add a line to `~/.ssh/known_hosts`."""
    line = f"{marker} {name or f'[127.0.0.1]:{host.port}'} {key or host.host_key}".strip()
    with client.known_hosts.open("a") as file:
        file.write(f"{line}\n")


def trusted(host: Host, fingerprint: str = "") -> str:
    """`Trust.known` of a machine, which must be trusted."""
    with establish(host.login(known_hosts=""), fingerprint) as trust:
        assert trust.key.fingerprint == host.fingerprint
        return trust.known


def refused(host: Host, fingerprint: str = "") -> HostKeyError:
    with pytest.raises(HostKeyError) as caught, establish(host.login(known_hosts=""), fingerprint):
        pass
    return caught.value


def test_only_a_machine_without_known_keys_is_seen_for_the_first_time(host: Host, client: Client) -> None:
    assert trusted(host) == ""
    known(client, host, "@revoked", OTHER)  # its old key; the new one is not known
    assert trusted(host) == ""
    known(client, host, "")
    assert trusted(host) == "OpenSSH"


@pytest.mark.parametrize("name", ["", "*", "hashed"])
def test_a_key_marked_revoked(host: Host, client: Client, name: str) -> None:
    known(client, host, "@revoked", name="" if name == "hashed" else name)
    if name == "hashed":
        subprocess.run(
            ["ssh-keygen", "-q", "-H", "-f", str(client.known_hosts)], check=True, capture_output=True
        )
    error = refused(host)
    assert "its host key is revoked" in error.message
    assert not error.unknown
    # Neither a fingerprint nor a known_hosts line overrules it.
    assert "is revoked" in refused(host, host.fingerprint).message
    known(client, host, "")
    assert "is revoked" in refused(host).message


def test_a_key_revoked_by_a_file(host: Host, client: Client, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text(f"{host.host_key}\n")
    client.configure("127.0.0.1", f"RevokedHostKeys {tmp_path}/revoked")
    assert f"is revoked by {tmp_path}/revoked" in refused(host).message.replace("file ", "")
    subprocess.run(
        ["ssh-keygen", "-q", "-k", "-f", str(tmp_path / "krl"), str(tmp_path / "revoked")], check=True
    )
    shutil.move(tmp_path / "krl", tmp_path / "revoked")
    assert "is revoked" in refused(host, host.fingerprint).message
    (tmp_path / "revoked").unlink()
    assert "revoked keys file" in refused(host).message


def test_a_key_revoked_after_it_was_pinned(host: Host, client: Client) -> None:
    pinned = host_keys.pin(host.login(known_hosts=""), host_keys.offered(host.login(known_hosts="")))
    assert SSHConnection(pinned).run("echo on").stdout == "on\n"
    known(client, host, "@revoked", name="*")
    with pytest.raises(HostKeyError, match="known_hosts:1: somebody else may have it"):
        SSHConnection(pinned).run("true")
    with pytest.raises(HostKeyError, match="is revoked"), establish(pinned):
        pass


def test_a_known_key_of_another_type(host: Host, client: Client, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(tmp_path / "rsa")], check=True)
    rsa = " ".join((tmp_path / "rsa.pub").read_text().split()[:2])
    known(client, host, "", rsa)
    assert "its host key has changed" in refused(host).message
    assert trusted(host, host.fingerprint) == ""
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(client.known_hosts)], check=True, capture_output=True)
    assert "its host key has changed" in refused(host).message


def test_a_key_in_the_second_of_two_files(host: Host, client: Client, tmp_path: Path) -> None:
    (tmp_path / "second").write_text(f"@revoked * {host.host_key}\n")
    client.configure("127.0.0.1", f"UserKnownHostsFile {client.known_hosts} {tmp_path}/second")
    assert "is revoked" in refused(host).message
    (tmp_path / "second").write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    assert trusted(host) == "OpenSSH"


def test_a_key_from_a_known_hosts_command(host: Host, client: Client, tmp_path: Path) -> None:
    command = tmp_path / "known"
    command.write_text(f"#!/bin/sh\necho '[127.0.0.1]:{host.port} {host.host_key}'\n")
    command.chmod(0o755)
    client.configure("127.0.0.1", f"KnownHostsCommand {command} %H")
    assert trusted(host) == "OpenSSH"
    command.write_text(f"#!/bin/sh\necho '@revoked * {host.host_key}'\n")
    assert "is revoked" in refused(host).message
    command.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(HostKeyError), establish(host.login(known_hosts="")):
        pass


def test_a_certificate_authority_for_the_machine(host: Host, client: Client, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ca")], check=True)
    authority = " ".join((tmp_path / "ca.pub").read_text().split()[:2])
    known(client, host, "@cert-authority", authority)
    error = refused(host)  # its key is not signed
    assert "must be signed by a certificate authority" in error.message
    assert trusted(host, host.fingerprint) == ""


def test_the_login_uses_the_key_type_that_openssh_knows(host: Host, client: Client) -> None:
    """And not the type that the machine offers first to an unknown client."""
    host.ssh("yes | ssh-keygen -q -t rsa -N '' -f /etc/ssh/rsa_key >/dev/null")
    host.configure_sshd("sed -i '1i HostKey /etc/ssh/rsa_key' /etc/ssh/sshd_config")
    try:
        known(client, host, "", " ".join(host.ssh("cat /etc/ssh/rsa_key.pub").split()[:2]))
        with establish(host.login(known_hosts="")) as trust:
            assert (trust.known, trust.key.type) == ("OpenSSH", "ssh-rsa")
            assert SSHConnection(trust.login).run("echo on").stdout == "on\n"
    finally:
        host.configure_sshd("sed -i /rsa_key/d /etc/ssh/sshd_config")
