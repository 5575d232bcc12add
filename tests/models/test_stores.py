"""The registry elsewhere than in a folder: object stores through fsspec, and a machine over SSH."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.errors import ConfigurationError, TargetError, UsageError
from amlexec.models import registry as models
from amlexec.models.folder_store import FolderStore
from tests.conftest import PATIENCE
from tests.engines import azurite, object_store
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET
from tests.support import model_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ProjectFolder
    from tests.support.hosts import Client, Host

ROOT = Path(__file__).parents[2]
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of Azurite's account, which is public."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test alone: what is fetched comes from the store."""
    monkeypatch.setenv("AMLEXEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def many_at_once(url: str, folder: Path, most: int, environment: dict[str, str] | None = None) -> None:
    """Two processes register different files: no version is lost, and none is there twice."""
    files = [folder / str(number) / "m.pkl" for number in range(most)]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(str(number))
    command = [sys.executable, "-m", "tests.support.model_stores", url, "register"]
    writers = [
        subprocess.Popen(
            [*command, *map(str, files[at::2])],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at in range(2)
    ]
    done = [writer.communicate(timeout=PATIENCE) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], done
    numbers = [int(line) for out, _ in done for line in out.split()]
    assert sorted(numbers) == list(range(1, most + 1))


def test_every_store_does_the_same(tmp_path: Path, cache: Path) -> None:
    for number, url in enumerate(("memory://models/of/one", (tmp_path / "with blank").as_uri())):
        for what in (model_stores.exercise, model_stores.damaged):
            folder = tmp_path / f"{what.__name__}{number}"
            folder.mkdir()
            if number and what is model_stores.damaged:
                continue  # its files are read-only; see test_registry.py
            what(models.opened(None, url), folder)
    assert list((cache / "models").glob(".new*")) == []


@pytest.mark.parametrize(
    ("url", "says", "hint"),
    [
        ("s3://user:secret@bucket/x", "has a password in it", "variables or files"),
        ("ssh://user:secret@host/x", "has a password in it", "attach the machine"),
        ("ssh://host", "names no folder", "ssh://HOST/PATH"),
        ("file://elsewhere/x", "is not a folder of this machine", "file:///PATH"),
        ("nothing://x", "can't be at nothing://", ""),
    ],
)
def test_urls_that_can_not_be_used_are_sentences(url: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        models.opened(None, url)
    assert hint in error.value.hint
    assert "secret" not in str(error.value)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for absent, hint in (("s3fs", "pip install s3fs"), ("fsspec.core", r"amlexec\[fsspec\]")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, absent, None)
            with pytest.raises(UsageError, match="needs") as error:
                models.opened(None, "s3://bucket/models")
            assert hint.replace("\\", "") in error.value.hint


def test_a_store_without_conditional_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def pipe_file(self: MemoryFileSystem, path: str, value: bytes, **_: object) -> None:
        self.store.pop(self._strip_protocol(path), None)
        self.open(path, "wb", data=value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    (tmp_path / "m.pkl").write_text("x")
    with pytest.raises(TargetError, match="two writers could take the same version"):
        models.opened(None, "memory://without").register("m", tmp_path / "m.pkl")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a process that can use an S3 server, in which there is an empty bucket."""
    need("object_store", object_store.WHAT, object_store.is_there)
    with object_store.serve(tmp_path_factory.mktemp("s3")) as address:
        make = urllib.request.Request(f"{address}/bucket", method="PUT")
        urllib.request.urlopen(make, timeout=PATIENCE).close()
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_MAX_ATTEMPTS": "1",
            "PYTHONPATH": object_store.site_packages(),
        }


def test_an_s3_server(s3: dict[str, str], tmp_path: Path, project: ProjectFolder) -> None:
    s3["AMLEXEC_CACHE"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "tests.support.model_stores", "s3://bucket/deep/models", "exercise"]
    done = subprocess.run(
        [*command, str(tmp_path / "e")], cwd=ROOT, env=s3, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    many_at_once("s3://bucket/at-once", tmp_path, 8, s3)
    s3["AMLEXEC_MODELS"] = "s3://bucket/at-once"
    assert "iris:8" in project.amlexec("model", "list", env=s3).out
    del s3["AMLEXEC_MODELS"]
    gone = project.amlexec(
        "model", "list", "--registry", "s3://bucket/x", env={**s3, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    )
    assert gone.code == 2
    assert "s3://bucket/x/names: error: the model registry can't be used" in gone.err
    assert "secret-of-the-test" not in gone.err
    wrong = project.amlexec("model", "list", "--registry", "s3://buckets/x", env=s3)
    assert (wrong.code, "there is no bucket or container 'buckets'" in wrong.err) == (2, True)


def test_an_azure_storage(tmp_path: Path) -> None:
    need("object_store", object_store.WHAT, object_store.is_there)
    need("azurite", f"Azurite {azurite.VERSION}", azurite.is_there)
    secured = azurite.certificate(tmp_path)
    with azurite.serve(tmp_path, secured) as address:
        account = f"AccountName={azurite.ACCOUNT};AccountKey={_KEY};BlobEndpoint={address}"
        environment = {
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=https;{account}",
            "SSL_CERT_FILE": str(secured.file),
            "PYTHONPATH": object_store.site_packages(),
            "AMLEXEC_CACHE": str(tmp_path / "cache"),
        }
        make = (
            "import os; from azure.storage.blob import BlobServiceClient as C;"
            "C.from_connection_string(os.environ['AZURE_STORAGE_CONNECTION_STRING'],"
            " connection_verify=os.environ['SSL_CERT_FILE']).create_container('models')"
        )
        subprocess.run([sys.executable, "-c", make], env=environment, check=True, timeout=PATIENCE)
        command = [sys.executable, "-m", "tests.support.model_stores", "az://models/deep", "exercise"]
        done = subprocess.run(
            [*command, str(tmp_path / "e")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        many_at_once("az://models/at-once", tmp_path, 8, environment)


def test_a_machine_over_ssh(
    host: Host, client: Client, tmp_path: Path, cache: Path, project: ProjectFolder
) -> None:
    client.knows(host)
    settings = ("HostName 127.0.0.1", f"Port {host.port}", f"User {QUIET}", f"IdentityFile {host.key}")
    client.configure("modelbox", *settings)
    (tmp_path / "e").mkdir()
    model_stores.exercise(models.opened(None, "ssh://modelbox/~/with blank/models"), tmp_path / "e")
    (tmp_path / "d").mkdir()
    model_stores.damaged(models.opened(None, "ssh://modelbox/tmp/models"), tmp_path / "d")
    assert "m.pkl" in host.ssh("find /tmp/models/contents -type f", QUIET)
    assert ".new" not in host.ssh("find /tmp/models", QUIET)
    many_at_once("ssh://modelbox/tmp/at-once", tmp_path, 20)
    # The name of a compute target stands for its login.
    lines = ("type: remote", f"address: {host.address}", f"username: {QUIET}", f"privateKey: {host.key}")
    project.write("aml_config/gpubox.compute", "\n".join(lines) + "\n")
    done = project.amlexec(
        "model", "register", "-n", "m", str(tmp_path / "0/m.pkl"), "--registry", "ssh://gpubox/tmp/of-target"
    )
    assert done.out == "m:1\n", done.err
    assert "1.json" in host.ssh("ls /tmp/of-target/names/m/versions", QUIET)
    host.ssh("mkdir /tmp/closed; chmod 755 /tmp/closed; touch /tmp/file")
    for place, says in (("closed/models", "Permission denied"), ("file", "File exists")):
        with pytest.raises(TargetError, match=says) as error:
            models.opened(None, f"ssh://modelbox/tmp/{place}").register("m", tmp_path / "0/m.pkl")
        assert error.value.where == f"ssh://modelbox/tmp/{place}"


def test_a_run_registers_on_a_shared_folder(project: ProjectFolder, tmp_path: Path) -> None:
    project.write(
        "train.py",
        "from amlexec.model import path_of, register\n"
        "open('outputs/m.txt', 'w').write('x')\nregister('m', 'outputs/m.txt')\n",
    )
    shared = {**os.environ, "AMLEXEC_MODELS": str(tmp_path / "shared")}
    done = project.submit("train.py", env=shared)
    assert "Model: m:1" in done.out, done.err
    assert models.Registry(FolderStore(tmp_path / "shared", is_private=False)).names() == ["m"]
    assert not (project.root / ".amlexec/models").exists()
