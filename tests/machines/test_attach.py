"""`amlexec computetarget attach`, `list`, `show` and `detach`, with real files and a real sshd."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.errors import UsageError
from amlexec.keystore import store as keystore
from amlexec.machines.host_trust import valid_fingerprint
from amlexec.machines.target_text import Attachment, address_of, compute_text, runconfig_text, valid_name
from amlexec.ssh.key_pair import new_key_pair
from tests.conftest import PATIENCE, Done, eventually
from tests.support.hosts import PASSWORD, QUIET
from tests.support.readers import read
from tests.support.stage import channels  # noqa: F401 - a fixture
from tests.support.stored_secrets import stored_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ProjectFolder
    from tests.support.engine_hosts import EngineHost
    from tests.support.hosts import Client, Host, SparkHead
    from tests.support.places import Shop

HANDLE = "amlexec:" + "0f" * 16


def target(project: ProjectFolder, *arguments: str, given: str | None = None) -> Done:
    """Run `amlexec computetarget`; `given` is its standard input, which is not a terminal."""
    done = project.amlexec("computetarget", *arguments, input=(given or "").encode())
    assert "Traceback" not in done.err, done.err
    return done


def attach_unchecked(project: ProjectFolder, *arguments: str) -> Done:
    """Attach without a connection."""
    return target(project, "attach", *arguments, "--no-check")


def files_of(project: ProjectFolder) -> dict[str, bytes]:
    """All files in aml_config, hidden ones included."""
    return {path.name: path.read_bytes() for path in project.configuration.iterdir()}


BOX = ("-n", "gpubox", "-a", "gpu.example.org", "-u", "ada")


# ---------------------------------------------------------------- the two files


def test_the_files_have_the_generated_form(project: ProjectFolder) -> None:
    done = attach_unchecked(project, "remotedocker", *BOX)
    assert done.code == 0, done.err
    assert (project.configuration / "gpubox.compute").read_text() == (
        "address: gpu.example.org\n"
        "baseDockerImage: debian:bookworm-slim\n"
        "nativeSharedDirectory: ~/.azureml/share/\n"
        "sharedVolumes: true\n"
        "type: remotedocker\n"
        "userManagedEnvironment: false\n"
        "username: ada\n"
    )
    assert (project.configuration / "gpubox.runconfig").read_text() == (
        "ArgumentVector:\n"
        "- $file\n"
        "CondaDependenciesFile: aml_config/conda_dependencies.yml\n"
        "EnvironmentVariables: null\n"
        "Framework: Python\n"
        "PrepareEnvironment: false\n"
        "SparkDependenciesFile: aml_config/spark_dependencies.yml\n"
        "Target: gpubox\n"
        "TrackedRun: true\n"
    )
    assert done.out.startswith(
        "Successfully created the following files:\n"
        "  aml_config/gpubox.compute\n"
        "  aml_config/gpubox.runconfig\n"
    )
    assert "Before running against gpubox, you need to prepare it:\n" in done.out
    assert "  amlexec experiment prepare -c gpubox\n" in done.out
    assert done.out.endswith("  amlexec experiment submit -c gpubox train.py\n")


def test_each_kind_has_the_keys_it_needs() -> None:
    keys = {
        kind: [line.partition(":")[0] for line in compute_text(_attachment(kind)).splitlines()]
        for kind in ("remote", "remotedocker", "cluster")
    }
    common = {"address", "password", "privateKey", "type", "userManagedEnvironment", "username"}
    assert all(found == sorted(found) for found in keys.values())
    assert set(keys["remote"]) == common | {"nativeSharedDirectory", "pythonLocation"}
    assert set(keys["cluster"]) == common | {"yarnDeployMode"}
    assert set(keys["remotedocker"]) == common | {"baseDockerImage", "nativeSharedDirectory", "sharedVolumes"}
    assert "userManagedEnvironment: true" in compute_text(_attachment("remote"))
    assert "Framework: PySpark" in runconfig_text("x", "cluster")


def _attachment(kind: str, **changes: str) -> Attachment:
    return Attachment("x", kind, "h", "u", HANDLE, HANDLE)._replace(**changes)


@pytest.mark.parametrize("user", ["yes", "123", "null", "0x10", "ada@corp.example"])
def test_a_user_name_is_read_back_as_it_was_written(project: ProjectFolder, user: str) -> None:
    done = attach_unchecked(project, "remote", "-n", "box", "-a", "10.0.0.4:5022", "-u", user)
    assert done.code == 0, done.err
    shown = json.loads(target(project, "show", "box", "-o", "json").out)
    assert shown["username"] == user
    assert shown["address"] == "10.0.0.4:5022"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["remotedocker"], "remotedocker"),
        (["remote"], "remote"),
        (["cluster"], "cluster"),
        (["virtualmachine"], "remotedocker"),
        (["--type", "remotedocker"], "remotedocker"),
        (["--type", "cluster"], "cluster"),
        (["--cluster"], "cluster"),
        (["cluster", "--cluster"], "cluster"),
        ([], "remotedocker"),
        (["remote", "--use-azureml-ssh-key"], "remote"),
        (["remote", "--hide-password"], "remote"),
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_every_spelling(
    project: ProjectFolder, client: Client, arguments: list[str], kind: str, long: bool
) -> None:
    names = ("--name", "--address", "--username") if long else ("-n", "-a", "-u")
    spelled = [part for pair in zip(names, ("box", "h.example.org", "ada"), strict=True) for part in pair]
    done = attach_unchecked(project, *arguments, *spelled)
    assert done.code == 0, done.err
    assert f"type: {kind}\n" in (project.configuration / "box.compute").read_text()
    done = project.amlexec("lint", "aml_config/box.compute", "--strict")
    assert done.code == 0, done.out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["remot"], "'remot' can't be attached", "did you mean remote?"),
        (["docker"], "is on this machine", "amlexec init"),
        (["--type", "remote", "--cluster"], "two kinds are given, cluster and remote", ""),
        (["remote", "-w", "a", "--private-key-file", "b"], "-w and --private-key-file", "one of them"),
        (["remote", "--private-key-passphrase", "x"], "without --private-key-file", ""),
        (["remote", "--base-docker-image", "x:1"], "does not apply to a target of type remote", ""),
        (["remotedocker", "--base-docker-image", "a b"], "'a b' is not a Docker image", ""),
        (["remote", "--fingerprint", "SHA256:x"], "--fingerprint can't be compared", ""),
        (["remote", "-k", "-w", "x"], "the key can't be installed", ""),
        (["remote", "-w", ""], "the password is empty", ""),
        (["remote", "--private-key-file", "nowhere"], "no such file", ""),
        (["remote", "--private-key-file", "id.pub"], "is a public key", "id"),
        (["remote", "--private-key-file", "dodo.py"], "is not a private key", "ssh-keygen"),
    ],
)
def test_invalid_arguments_are_refused(
    project: ProjectFolder, arguments: list[str], message: str, hint: str
) -> None:
    project.write("id.pub", "ssh-ed25519 AAAA ada\n")
    before = files_of(project)
    done = attach_unchecked(project, *arguments, *BOX)
    assert done.code == 3
    assert message in done.err
    assert hint in done.err
    assert done.out == ""
    assert files_of(project) == before


@pytest.mark.parametrize("name", ["gpubox", "gpu-box_2", "gpu.box", "GPU Box", "gpubox.compute", "größe"])
def test_valid_names(name: str) -> None:
    assert valid_name(name) == name.removesuffix(".compute")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", " x", "x ", "x.", "a\nb", "a\0b", "a'b", "x" * 200],
)
def test_invalid_names(name: str) -> None:
    with pytest.raises(UsageError, match="can't be the name"):
        valid_name(name)


@pytest.mark.parametrize(
    ("text", "port", "wanted"),
    [
        ("gpu.example.org", None, "gpu.example.org"),
        ("gpu.example.org:5022", None, "gpu.example.org:5022"),
        ("gpu.example.org", 5022, "gpu.example.org:5022"),
        ("gpu.example.org:5022", 5022, "gpu.example.org:5022"),
        (" 10.0.0.4 ", 22, "10.0.0.4:22"),
        ("fe80::1", None, "fe80::1"),
        ("fe80::1", 2222, "[fe80::1]:2222"),
        ("[fe80::1]:2222", None, "[fe80::1]:2222"),
    ],
)
def test_addresses(text: str, port: int | None, wanted: str) -> None:
    assert address_of(text, port) == wanted


@pytest.mark.parametrize(
    ("text", "port", "hint"),
    [
        ("", None, "host name or an IP address"),
        ("-oProxyCommand=x", None, "host name"),
        ("a b", None, "host name"),
        ("host:port", None, "host name"),
        ("host:0", None, "host name"),
        ("host:70000", None, "host name"),
        ("ada@host", None, "write -u ada -a host"),
        ("ssh://host", None, "leave out ssh://"),
        ("<address>", None, "placeholder"),
        ("host:22", 23, "only once"),
        ("host", 0, "1 to 65535"),
        ("host", 65536, "1 to 65535"),
    ],
)
def test_invalid_addresses(text: str, port: int | None, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        address_of(text, port)
    assert hint in caught.value.hint


def test_the_web_site_of_a_cluster_is_not_its_head_node() -> None:
    with pytest.raises(UsageError) as caught:
        address_of("mine.azurehdinsight.net", None, "cluster")
    assert "mine-ssh.azurehdinsight.net" in caught.value.hint
    assert address_of("mine-ssh.azurehdinsight.net", None, "cluster")


@pytest.mark.parametrize(
    "existing", [["gpubox.compute"], ["gpubox.runconfig"], ["gpubox.compute", "gpubox.runconfig"]]
)
def test_existing_files_are_not_overwritten(project: ProjectFolder, existing: list[str]) -> None:
    for name in existing:
        project.write(f"aml_config/{name}", "mine\n")
    before = files_of(project)
    done = attach_unchecked(project, "remote", *BOX)
    assert done.code == 3
    assert "'gpubox' is taken" in done.err
    assert all(f"aml_config/{name}" in done.err for name in existing)
    assert "--force" in done.err
    assert files_of(project) == before


def test_force_prints_what_it_replaces(project: ProjectFolder) -> None:
    project.write("aml_config/gpubox.runconfig", "mine\n")
    done = attach_unchecked(project, "remote", *BOX, "--force")
    assert done.code == 0, done.err
    assert "  aml_config/gpubox.compute\n  aml_config/gpubox.runconfig (replaced)\n" in done.out
    assert sorted(files_of(project)) == [
        "gpubox.compute",
        "gpubox.runconfig",
        "local.compute",
        "local.runconfig",
    ]


def test_force_does_not_replace_a_folder(project: ProjectFolder) -> None:
    project.write("aml_config/gpubox.runconfig/keep", "mine\n")
    done = attach_unchecked(project, "remote", *BOX, "--force")
    assert done.code == 3
    assert "aml_config/gpubox.runconfig: error: it is a folder" in done.err
    assert not (project.configuration / "gpubox.compute").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_changes_nothing(
    small_disk: Path, new_project: Callable[[str], ProjectFolder], client: Client, force: bool
) -> None:
    project = new_project("demo")
    shutil.rmtree(project.configuration)
    project.configuration.symlink_to(small_disk)
    project.write("aml_config/local.compute", "type: local\n")
    if force:
        project.write(
            "aml_config/gpubox.compute", f"type: remote\naddress: h\nusername: u\npassword: {HANDLE}\n"
        )
    with (small_disk / "filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    before = files_of(project)
    done = target(
        project, "attach", "remote", *BOX, "--no-check", "--password-stdin", "--force", given="secret\n"
    )
    assert done.code == 2
    assert "the files of gpubox can't be written: no space left on device" in done.err
    assert "nothing was changed" in done.err
    assert files_of(project) == before
    assert stored_secrets() == []


# ---------------------------------------------------------------- list, show, detach


def test_list_shows_valid_targets_and_the_errors_of_the_others(project: ProjectFolder) -> None:
    assert attach_unchecked(project, "remote", *BOX).code == 0
    project.write("aml_config/broken.compute", "type: remote\nadress: x\n")
    done = target(project, "list", "-o", "json")
    assert done.code == 0
    assert json.loads(done.out) == [
        {"name": "broken", "kind": None, "address": None, "user": None, "file": "aml_config/broken.compute"},
        {
            "name": "gpubox",
            "kind": "remote",
            "address": "gpu.example.org",
            "user": "ada",
            "file": "aml_config/gpubox.compute",
        },
        {"name": "local", "kind": "local", "address": None, "user": None, "file": "aml_config/local.compute"},
    ]
    assert "aml_config/broken.compute:2:1: error:" in done.err
    table = target(project, "list").out.splitlines()
    assert table[0].split() == ["Name", "Kind", "Address", "User", "File"]
    assert table[3].split() == ["gpubox", "remote", "gpu.example.org", "ada", "aml_config/gpubox.compute"]


@pytest.mark.parametrize(
    "name", ["gpubox", "gpubox.compute", "gpubox.runconfig", "aml_config/gpubox.compute"]
)
@pytest.mark.parametrize("option", [[], ["-n"]])
def test_a_name_may_have_its_suffix(project: ProjectFolder, name: str, option: list[str]) -> None:
    assert attach_unchecked(project, "remote", *BOX).code == 0
    done = target(project, "show", *option, name)
    assert done.code == 0, done.err
    assert "gpu.example.org" in done.out


def test_show_prints_everything_but_secrets(project: ProjectFolder, client: Client) -> None:
    handle = keystore.put("canary-1", "x")
    text = "type: {}\naddress: h.example.org\nusername: ada\n"
    project.write("aml_config/kept.compute", text.format("remotedocker") + f"password: {handle}\n")
    project.write("aml_config/plain.compute", text.format("cluster") + "password: canary-2\n")
    project.write("aml_config/old.compute", text.format("remote") + "password: AzureMlSecret=canary-3\n")
    pair = new_key_pair("amlexec key")
    project.write("aml_config/key.compute", text.format("remote") + f"privateKey: {pair.handle}\n")
    shown = {}
    for name in ("kept", "plain", "old", "key", "local"):
        for form in ("json", "table"):
            done = target(project, "show", name, "-o", form)
            assert done.code == 0, done.err
            assert "canary" not in done.out + done.err
            shown[name] = json.loads(done.out) if form == "json" else shown[name]
    assert shown["kept"]["login"] == "a password in the key store"
    assert shown["plain"]["login"] == "a password in the file"
    assert shown["old"]["login"] == "OpenSSH's own configuration, agent and keys"
    assert shown["key"]["login"] == "a key in the key store"
    assert shown["key"]["publicKey"] == pair.public
    assert shown["local"]["runConfigurations"] == ["local"]
    assert "address" not in shown["local"]


@pytest.mark.parametrize("verb", ["show", "check", "detach"])
def test_an_unknown_name_suggests_the_closest(project: ProjectFolder, verb: str) -> None:
    done = target(project, verb, "locl")
    assert done.code == 3
    assert "there is no compute target 'locl'" in done.err
    assert "did you mean local?" in done.err
    assert "there is local" in target(project, verb).err
    assert "two names" in target(project, verb, "a", "-n", "b").err


@pytest.mark.parametrize("verb", ["show", "check"])
def test_the_errors_of_a_file_are_shown(project: ProjectFolder, verb: str) -> None:
    project.write("aml_config/broken.compute", "type: remote\nadress: x\nusername: u\n")
    done = target(project, verb, "broken")
    assert done.code == 3
    assert "aml_config/broken.compute:2:1: error:" in done.err


def test_detach_removes_files_and_secret(project: ProjectFolder, client: Client) -> None:
    before = files_of(project)
    done = target(project, "attach", "remote", *BOX, "--no-check", "--password-stdin", given="secret\n")
    assert done.code == 0, done.err
    assert len(stored_secrets()) == 1
    done = target(project, "detach", "gpubox")
    assert done.code == 0, done.err
    assert done.out == (
        "removed aml_config/gpubox.compute\n"
        "removed aml_config/gpubox.runconfig\n"
        "removed its secret from the key store\n"
    )
    assert files_of(project) == before
    assert stored_secrets() == []


def test_detach_keeps_an_edited_run_configuration(project: ProjectFolder) -> None:
    assert attach_unchecked(project, "remote", *BOX).code == 0
    with (project.configuration / "gpubox.runconfig").open("a") as file:
        file.write("# mine\n")
    done = target(project, "detach", "-n", "gpubox")
    assert done.out == (
        "removed aml_config/gpubox.compute\nkept    aml_config/gpubox.runconfig: it was edited\n"
    )
    assert sorted(files_of(project)) == ["gpubox.runconfig", "local.compute", "local.runconfig"]


def test_detach_with_force_and_with_other_line_ends(project: ProjectFolder) -> None:
    assert attach_unchecked(project, "remote", *BOX).code == 0
    path = project.configuration / "gpubox.runconfig"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "removed aml_config/gpubox.runconfig" in target(project, "detach", "gpubox").out
    assert attach_unchecked(project, "cluster", *BOX).code == 0
    path.write_text("mine: yes\n")
    assert "removed aml_config/gpubox.runconfig" in target(project, "detach", "gpubox", "--force").out
    assert not path.exists()


def test_detach_warns_about_run_configurations_that_still_name_the_target(project: ProjectFolder) -> None:
    assert attach_unchecked(project, "remote", *BOX).code == 0
    project.write("aml_config/other.runconfig", "Target: gpubox\nFramework: Python\n")
    done = target(project, "detach", "gpubox")
    assert done.code == 0
    assert "warning: aml_config/other.runconfig still names gpubox as Target" in done.err


def test_detach_of_a_broken_file_finds_its_secret(project: ProjectFolder, client: Client) -> None:
    handle = keystore.put("secret", "x")
    project.write("aml_config/broken.compute", f"type: remote\n  password: '{handle}'\n bad\n")
    done = target(project, "detach", "broken")
    assert done.code == 0, done.err
    assert stored_secrets() == []


def test_a_secret_that_two_targets_use_is_kept(project: ProjectFolder, client: Client) -> None:
    assert target(project, "attach", "remote", *BOX, "--no-check", "--password-stdin", given="x\n").code == 0
    shutil.copy(project.configuration / "gpubox.compute", project.configuration / "copy.compute")
    assert "kept    its secret: another compute target uses it" in target(project, "detach", "gpubox").out
    assert len(stored_secrets()) == 1
    assert "removed its secret" in target(project, "detach", "copy").out
    assert stored_secrets() == []


def test_detach_refuses_targets_of_this_machine(project: ProjectFolder) -> None:
    done = target(project, "detach", "local")
    assert done.code == 3
    assert "it is not an attached machine" in done.err
    assert (project.configuration / "local.compute").exists()


def test_a_handle_passes_lint_and_an_incomplete_one_does_not(project: ProjectFolder) -> None:
    text = "type: remote\naddress: h\nusername: u\npassword: {}\n"
    project.write("aml_config/box.compute", text.format(HANDLE))
    assert project.amlexec("lint", "--strict", "aml_config/box.compute").code == 0
    project.write("aml_config/box.compute", text.format(HANDLE[:-1]))
    done = project.amlexec("lint", "aml_config/box.compute")
    assert done.code == 3
    assert (
        "aml_config/box.compute:4:11: error: password is not a complete handle of the key store" in done.out
    )


# ---------------------------------------------------------------- a real machine


def attach(
    project: ProjectFolder, host: Host, *arguments: str, user: str = QUIET, given: str | None = None
) -> Done:
    """Attach the test host as `remote`."""
    return target(
        project,
        *("attach", "remote", "-n", "gpubox", "-a", host.address, "-u", user, *arguments),
        given=given,
    )


def nothing_is_left(project: ProjectFolder, before: dict[str, bytes]) -> None:
    """Assert that a failed attach has left no trace."""
    assert files_of(project) == before
    assert stored_secrets() == []
    hosts = keystore.folder() / "hosts"
    assert not hosts.exists() or list(hosts.iterdir()) == []


def test_a_password_is_only_written_to_the_key_store(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    done = attach(project, host, "--password-stdin", given=f"{PASSWORD}\n")
    assert done.code == 0, done.err
    assert f"its host key is {host.fingerprint} (ssh-ed25519), seen for the first time" in done.err
    assert "gpubox: this host key is pinned now" in done.err
    entry = stored_secrets()[0]
    assert keystore.get(entry.handle) == PASSWORD
    assert f"password: {entry.handle}\n" in (project.configuration / "gpubox.compute").read_text()
    assert PASSWORD not in done.out + done.err
    store = keystore.folder()
    for top in (project.root, client.home, client.runtime):
        for path in top.rglob("*"):
            if path.is_file() and store not in path.parents:
                assert PASSWORD.encode() not in path.read_bytes(), path
    assert target(project, "check", "gpubox").code == 0
    assert project.amlexec("lint").code == 0


def test_a_password_on_the_command_line_works_with_a_warning(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    done = attach(project, host, "-w", PASSWORD)
    assert done.code == 0, done.err
    assert "is now in the shell's history" in done.err
    assert PASSWORD not in done.out + done.err
    assert keystore.get(stored_secrets()[0].handle) == PASSWORD


def test_a_wrong_password_leaves_nothing(project: ProjectFolder, client: Client, host: Host) -> None:
    before = files_of(project)
    done = attach(project, host, "--password-stdin", given="canary\n")
    assert done.code == 2
    assert f"the password of user {QUIET} was not accepted" in done.err
    assert "canary" not in done.out + done.err
    nothing_is_left(project, before)
    # A correct password before does not make a wrong one pass.
    assert attach(project, host, "--password-stdin", given=f"{PASSWORD}\n").code == 0
    assert attach(project, host, "--password-stdin", "--force", given="canary\n").code == 2
    assert keystore.get(stored_secrets()[0].handle) == PASSWORD


def test_a_password_that_was_not_used_for_the_login_is_refused(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    shutil.copy(host.key, client.home / ".ssh/id_ed25519")
    before = files_of(project)
    done = attach(project, host, "--password-stdin", given="canary\n")
    assert done.code == 2, done.out
    assert f"user {QUIET} was logged in with a key, not with the password" in done.err
    assert "canary" not in done.out + done.err
    nothing_is_left(project, before)
    done = attach(project, host, "--password-stdin", given=f"{PASSWORD}\n")
    assert done.code == 0, done.err


def test_a_user_of_a_domain(project: ProjectFolder, client: Client, new_host: Callable[..., Host]) -> None:
    host = new_host()
    name = "CORP\\ada"
    script = f"line=$(grep ^{QUIET}: $0); printf 'CORP\\\\ada%s\\n' \"${{line#{QUIET}}}\" >>$0"
    host.ssh("".join(f"sh -c {shlex.quote(script)} {file};" for file in ("/etc/passwd", "/etc/shadow")))
    shutil.copy(host.key, client.home / ".ssh/id_ed25519")
    arguments = ("attach", "remote", "-n", "gpubox", "-a", host.address, "-u", name)
    assert target(project, *arguments).code == 0
    done = target(project, "check", "gpubox")
    assert done.code == 0, done.out + done.err
    done = attach(project, host, "--password-stdin", "--force", user=name, given=f"{PASSWORD}\n")
    assert done.code == 0, done.err


def test_openssh_configuration_is_enough(project: ProjectFolder, client: Client, host: Host) -> None:
    client.configure("box", "HostName 127.0.0.1", f"Port {host.port}", f"IdentityFile {host.key}")
    done = target(project, "attach", "remote", "-n", "gpubox", "-a", "box", "-u", QUIET)
    assert done.code == 0, done.err
    assert "password" not in (project.configuration / "gpubox.compute").read_text()
    assert stored_secrets() == []
    assert target(project, "check", "gpubox").code == 0


def test_without_a_terminal_there_is_no_question(project: ProjectFolder, client: Client, host: Host) -> None:
    before = files_of(project)
    read, write = os.pipe()  # a standard input that stays empty
    process = project.start(
        *(sys.executable, "-m", "amlexec", "computetarget", "attach", "remote"),
        *("-n", "gpubox", "-a", host.address, "-u", QUIET),
        stdin=read,
        start_new_session=True,
    )
    _, err = process.communicate(timeout=PATIENCE)
    os.close(read)
    os.close(write)
    assert process.returncode == 2
    assert f"none of the available keys of user {QUIET} was accepted" in err.decode()
    assert "--password-stdin or -w" in err.decode()
    nothing_is_left(project, before)


ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def on_a_terminal(project: ProjectFolder, host: Host, *typed: bytes) -> Done:
    """Attach in a new terminal, and type an answer to each question."""
    terminal, inside = pty.openpty()
    process = project.start(
        *(sys.executable, "-c", ON_A_TERMINAL, sys.executable, "-m", "amlexec", "computetarget"),
        *("attach", "remote", "-n", "gpubox", "-a", host.address, "-u", QUIET),
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    output, answers = b"", list(typed)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # its other end is closed
            break
        if not part:
            break
        output += part
        asked = output.count(b"Password of ") > len(typed) - len(answers)
        if answers and asked and output.endswith(b": "):
            os.write(terminal, answers.pop(0))
    process.wait(timeout=PATIENCE)
    os.close(terminal)
    assert not answers, output.decode()
    return Done(process.returncode, output.decode(), "")


def test_on_a_terminal_a_password_is_asked_for(project: ProjectFolder, client: Client, host: Host) -> None:
    done = on_a_terminal(project, host, b"canary\n", f"{PASSWORD}\n".encode())
    assert done.code == 0, done.out
    assert done.out.count(f"Password of {QUIET} on {host.address}: ") == 2
    assert "canary" not in done.out
    assert PASSWORD not in done.out
    assert keystore.get(stored_secrets()[0].handle) == PASSWORD


def test_on_a_terminal_there_is_no_question_with_a_key(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    client.configure("127.0.0.1", f"IdentityFile {host.key}")
    done = on_a_terminal(project, host)
    assert done.code == 0, done.out
    assert "Password of" not in done.out


@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 130), (b"\x04", 2), (b"\n", 2)])
def test_a_question_can_be_aborted(
    project: ProjectFolder, client: Client, host: Host, typed: bytes, code: int
) -> None:
    before = files_of(project)
    done = on_a_terminal(project, host, typed)
    assert done.code == code, done.out
    assert "Traceback" not in done.out
    nothing_is_left(project, before)


def test_a_machine_that_openssh_knows_is_not_pinned(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    client.knows(host)
    done = attach(project, host, "--private-key-file", str(host.key))
    assert done.code == 0, done.err
    assert f"{host.fingerprint} (ssh-ed25519), known to OpenSSH" in done.err
    assert not keystore.pinned_hosts(f"[127.0.0.1]:{host.port}").exists()
    checked = target(project, "check", "gpubox")
    assert checked.code == 0
    assert "known to OpenSSH" in checked.out


@pytest.mark.parametrize("known", ["pinned", "OpenSSH"])
def test_a_changed_host_key_is_an_error_of_its_own(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host], known: str
) -> None:
    machine = new_host()
    if known == "OpenSSH":
        client.knows(machine)
    assert attach(project, machine, "--private-key-file", str(machine.key)).code == 0
    before = files_of(project)
    machine.new_host_key()
    client.hang_up()
    done = attach(project, machine, "--private-key-file", str(machine.key), "--force")
    assert done.code == 2
    assert "its host key has changed" in done.err
    assert files_of(project) == before
    checked = target(project, "check", "gpubox")
    assert checked.code == 2
    assert "host key         failed  its host key has changed" in checked.out
    # With the new fingerprint, it is accepted.
    done = attach(
        project,
        machine,
        "--private-key-file",
        str(machine.key),
        "--force",
        "--fingerprint",
        machine.fingerprint,
    )
    assert done.code == 0, done.err
    assert target(project, "check", "gpubox").code == 0


def test_a_required_fingerprint(project: ProjectFolder, client: Client, host: Host) -> None:
    before = files_of(project)
    other = "SHA256:" + "A" * 43
    key = ("--private-key-file", str(host.key))
    done = attach(project, host, *key, "--fingerprint", other)
    assert done.code == 2
    assert f"its host key is {host.fingerprint} (ssh-ed25519), but --fingerprint is {other}" in done.err
    nothing_is_left(project, before)
    done = attach(project, host, *key, "--fingerprint", host.fingerprint)
    assert done.code == 0, done.err
    assert keystore.pinned_hosts(f"[127.0.0.1]:{host.port}").exists()


def test_fingerprints_in_the_forms_that_users_copy() -> None:
    digest = "X2y8lo3jRyYYC3B1mQ0LFd57xvd8fHHKo+VJRdGUHhs"
    for text in (f"SHA256:{digest}", digest, f" SHA256:{digest}=\n"):
        assert valid_fingerprint(text) == f"SHA256:{digest}"
    with pytest.raises(UsageError):
        valid_fingerprint("MD5:00:11:22")


def test_a_key_pair_installed_with_the_printed_line(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host()
    done = attach(project, machine, "-k")
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if line.startswith("mkdir -p ~/.ssh"))
    checked = target(project, "check", "gpubox")
    assert checked.code == 2
    assert "login            failed  the key of user" in checked.out
    assert "amlexec computetarget show gpubox" in checked.out
    machine.ssh(line, QUIET)
    checked = target(project, "check", "gpubox")
    assert checked.code == 0, checked.out
    handle = stored_secrets()[0].handle
    assert f"privateKey: {handle}\n" in (project.configuration / "gpubox.compute").read_text()
    assert target(project, "detach", "gpubox").code == 0
    assert stored_secrets() == []


def test_a_key_pair_is_installed_with_a_password(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host()
    machine.ssh("mkdir -p .ssh && printf '# no end of line' >.ssh/authorized_keys", QUIET)
    done = attach(project, machine, "-k", "--password-stdin", given=f"{PASSWORD}\n")
    assert done.code == 0, done.err
    assert "authorized_keys" not in done.out
    assert [entry.kind for entry in stored_secrets()] == ["key"]
    there = machine.ssh("cat .ssh/authorized_keys", QUIET).splitlines()
    assert there == ["# no end of line", keystore.public_key(stored_secrets()[0].handle)]
    assert target(project, "check", "gpubox").code == 0


def test_a_key_pair_that_the_machine_does_not_accept_is_removed_again(
    project: ProjectFolder, client: Client, new_host: Callable[..., Host]
) -> None:
    machine = new_host()
    # This sshd reads another file.
    machine.configure_sshd(
        "sed -i 's,^AuthorizedKeysFile.*,AuthorizedKeysFile /etc/ssh/authorized_keys,' /etc/ssh/sshd_config"
    )
    before = files_of(project)
    done = attach(project, machine, "-k", "--password-stdin", given=f"{PASSWORD}\n")
    assert done.code == 2
    assert "does not accept the key in ~/.ssh/authorized_keys" in done.err
    assert machine.ssh("cat .ssh/authorized_keys", QUIET) == ""
    nothing_is_left(project, before)


def test_the_users_own_key_is_not_copied(project: ProjectFolder, client: Client, host: Host) -> None:
    own = client.home / ".ssh/id_own"
    shutil.copy(host.key, own)
    own.chmod(0o600)
    done = attach(project, host, "--private-key-file", str(own))
    assert done.code == 0, done.err
    assert "privateKey: ~/.ssh/id_own\n" in (project.configuration / "gpubox.compute").read_text()
    assert stored_secrets() == []
    assert target(project, "check", "gpubox").code == 0
    assert target(project, "detach", "gpubox").code == 0
    assert own.exists()


def test_a_target_with_active_runs_is_not_detached(
    project: ProjectFolder, client: Client, host: Host
) -> None:
    assert attach(project, host, "--private-key-file", str(host.key)).code == 0
    project.write("train.py", "import time\ntime.sleep(600)\n")
    run_id = project.amlexec("experiment", "submit", "-c", "gpubox", "--async", "train.py").run_id
    before = files_of(project)
    done = target(project, "detach", "gpubox")
    assert done.code == 3
    assert f"{run_id} may still be running on gpubox" in done.err
    assert f"amlexec experiment status -r {run_id}" in done.err
    assert files_of(project) == before
    assert project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1").code == 0
    assert target(project, "detach", "gpubox").code == 0


def test_a_key_with_a_passphrase(project: ProjectFolder, client: Client, host: Host) -> None:
    own = client.home / ".ssh/id_own"
    shutil.copy(host.key, own)
    own.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "pass phrase", "-f", str(own)], check=True)
    before = files_of(project)
    assert attach(project, host, "--private-key-file", str(own)).code == 2
    nothing_is_left(project, before)
    done = attach(project, host, "--private-key-file", str(own), "--private-key-passphrase", "pass phrase")
    assert done.code == 0, done.err
    assert "pass phrase" not in done.out + done.err
    assert target(project, "check", "gpubox").code == 0


def test_a_wrong_passphrase_is_found_although_an_agent_has_the_key(
    project: ProjectFolder, client: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client.home / ".ssh/id_own"
    shutil.copy(host.key, own)
    own.chmod(0o600)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(client.runtime / "agent"))
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(client.runtime / "agent")]) as agent:
        try:
            eventually((client.runtime / "agent").exists, "the agent listens")
            subprocess.run(["ssh-add", "-q", str(own)], check=True)
            subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "right", "-f", str(own)], check=True)
            shutil.copy(host.key.with_suffix(".pub"), own.with_suffix(".pub"))
            given = ("--private-key-file", str(own), "--private-key-passphrase")
            assert attach(project, host, *given, "canary").code == 2
            assert stored_secrets() == []
            done = attach(project, host, *given, "right")
            assert done.code == 0, done.err
        finally:
            agent.terminate()


def test_attach_prints_what_is_missing(project: ProjectFolder, client: Client, host: Host) -> None:
    done = target(
        project,
        *("attach", "remotedocker", "-n", "gpubox", "-a", host.address, "-u", QUIET),
        *("--private-key-file", str(host.key)),
    )
    assert done.code == 0, done.err
    assert "failed  the machine has no Docker engine" in done.err
    assert "First write aml_config/conda_dependencies.yml" in done.out


@pytest.mark.parametrize(
    ("address", "message"),
    [("nowhere.invalid", "nowhere.invalid"), ("127.0.0.1:1", "refused")],
)
def test_an_unreachable_machine(project: ProjectFolder, client: Client, address: str, message: str) -> None:
    before = files_of(project)
    done = target(project, "attach", "remote", "-n", "gpubox", "-a", address, "-u", "ada", "-w", "canary")
    assert done.code == 2
    assert message in done.err
    assert "canary" not in done.err
    nothing_is_left(project, before)


def test_a_colleague_needs_only_the_shared_key_store(
    project: ProjectFolder,
    client: Client,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o770)
    shared.chmod(0o770)
    monkeypatch.setenv("AMLEXEC_KEYSTORE", str(shared))
    assert attach(project, host, "-k", "--password-stdin", given=f"{PASSWORD}\n").code == 0
    client.hang_up()
    other = tmp_path / "other-home"
    (other / ".ssh").mkdir(parents=True)
    shutil.copy(client.configuration, other / ".ssh/config")
    monkeypatch.setenv("HOME", str(other))
    checked = target(project, "check", "gpubox")
    assert checked.code == 0, checked.out + checked.err
    assert target(project, "detach", "gpubox").code == 0
    assert list((shared / "keys").iterdir()) == []


def test_an_attach_that_is_killed_can_be_repeated(project: ProjectFolder, client: Client, host: Host) -> None:
    arguments = (
        "attach",
        "remote",
        "-n",
        "gpubox",
        "-a",
        host.address,
        "-u",
        QUIET,
        "--private-key-file",
        str(host.key),
    )
    host.pause()
    try:
        process = project.start(sys.executable, "-m", "amlexec", "computetarget", *arguments)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finally:
        host.unpause()
    done = target(project, *arguments)
    assert done.code == 0, done.err


def test_the_how_to_page(
    client: Client,
    new_host: Callable[..., Host],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels: str,  # noqa: F811
    shop: Shop,
) -> None:
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", channels)
    machine = new_host()
    machine.ssh("useradd --create-home --shell /bin/bash ada && chpasswd", input=f"ada:{PASSWORD}\n".encode())
    client.configure("gpu.example.org", "HostName 127.0.0.1", f"Port {machine.port}")
    shutil.copy(machine.key, client.home / ".ssh/id_ed25519")
    (client.home / "password.txt").write_text(PASSWORD)
    folder = tmp_path / "reader"
    folder.mkdir()

    def enter(heading: str, at: Path) -> Path:
        if heading == "Let amlexec install the environment":
            dependencies = at / "aml_config/conda_dependencies.yml"
            python = f"python={sys.version_info[0]}.{sys.version_info[1]}"
            dependencies.write_text(dependencies.read_text().replace("python=3.12", python))
        return at

    read(Path(__file__).parents[2] / "docs/how-to/use-a-machine-over-ssh.md", folder, enter)


# ---------------------------------------------------------------- checks on a second channel


@pytest.mark.parametrize("with_key", [False, True])
def test_a_secret_with_the_docker_check(
    project: ProjectFolder, engine_host: EngineHost, client: Client, with_key: bool
) -> None:
    client.configuration.write_text("")  # no other key
    second_question(project, client, engine_host, "remotedocker", with_key=with_key)


@pytest.mark.parametrize("with_key", [False, True])
def test_a_secret_with_the_spark_check(
    project: ProjectFolder, spark_head: SparkHead, client: Client, with_key: bool
) -> None:
    client.configuration.write_text("")
    second_question(project, client, spark_head, "cluster", with_key=with_key, master=spark_head.master)


def second_question(
    project: ProjectFolder, client: Client, host: Host, kind: str, *, with_key: bool, master: str = ""
) -> None:
    """Attach and check, with a secret, a machine whose checks need a second channel."""
    if with_key:
        own = client.home / ".ssh/id_own"
        shutil.copy(host.key, own)
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "pass phrase", "-f", str(own)], check=True)
    before = files_of(project)
    order = ("attach", kind, "-n", "gpubox", "-a", host.address, "-u", QUIET)
    for secret in ("canary", "pass phrase" if with_key else PASSWORD):
        way = (
            ("--private-key-file", str(own), "--private-key-passphrase", secret)
            if with_key
            else ("-w", secret)
        )
        done = target(project, *order, *way)
        if secret == "canary":
            assert done.code == 2
            assert "was not accepted" in done.err
            nothing_is_left(project, before)
    assert done.code == 0, done.err
    if master:
        with (project.configuration / "gpubox.compute").open("a") as file:
            file.write(f"master: {master}\n")
    checked = target(project, "check", "gpubox", "-o", "json")
    assert checked.code == 0, checked.out + checked.err
    # A check that uses the second channel.
    assert {"remotedocker": '"Docker"', "cluster": '"Spark master"'}[kind] in checked.out
