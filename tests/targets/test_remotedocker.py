"""Containers on another machine: environments built there, and that a lost connection loses nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import containers, images
from amlexec.docker.labels import CONDA, DIGEST
from amlexec.images.labels import reference
from amlexec.packages import platforms
from amlexec.packages.platforms import DEFAULT
from tests.conftest import PATIENCE, eventually, until_printed
from tests.engines import packages
from tests.engines.ssh_host import QUIET
from tests.packages.test_conda_bootstrap import channel_of
from tests.support import engine_images
from tests.support.places import LABEL, PLACES, DockerProject, RemoteDockerProject, Shop
from tests.test_docs import ROOT, blocks, commands, matches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.conftest import Done
    from tests.support.engine_hosts import EngineHost
    from tests.support.hosts import Client, Host

PLACE = next(place for place in PLACES if place.name == "remotedocker")


@pytest.fixture
def project(engine_host: EngineHost, shop: Shop, tmp_path: Path) -> RemoteDockerProject:
    """A project on the machine that all tests share."""
    return RemoteDockerProject(tmp_path / "demo", shop, PLACE, engine_host)


def layers_of(engine: Engine, image: str, numbers: list[int]) -> list[dict[str, Any]]:
    """What is in these layers of an image: name to kind, mode, owner, time, and digest or target."""
    with engine_images.save(engine, image) as stream:
        held = io.BytesIO(stream.read())
    layers = []
    with tarfile.open(fileobj=held) as saved:
        manifest = json.loads(saved.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for number in numbers:
            found: dict[str, Any] = {}
            with tarfile.open(fileobj=saved.extractfile(manifest[0]["Layers"][number])) as layer:
                for one in layer:
                    file = layer.extractfile(one) if one.isfile() else None
                    what = hashlib.sha256(file.read()).hexdigest() if file else one.linkname
                    found[one.name] = (one.type, oct(one.mode), one.uid, one.gid, int(one.mtime), what)
            layers.append(found)
    return layers


def _chain(engine: Engine, image: str) -> list[str]:
    found = images.inspect(engine, image)
    assert found is not None
    return list(found["RootFS"]["Layers"])


def test_an_environment_is_the_same_wherever_its_packages_were_fetched(
    project: RemoteDockerProject, tmp_path: Path, shop: Shop
) -> None:
    here = DockerProject(tmp_path / "here" / "demo", shop)
    conda = shop.conda("six=1.16", "needs-old-six")
    for one in (here, project):
        one.write("aml_config/conda_dependencies.yml", conda)
    digests = {one.prepare("--print-digest").out for one in (here, project)}
    assert len(digests) == 1
    made = [one.prepare() for one in (here, project)]
    assert [one.code for one in made] == [0, 0], made
    assert "on ssh://" in made[1].err
    layers, chains = [], []
    for engine in (shop.engine, project.engine):
        found = images.inspect(engine, reference(digests.copy().pop().strip()))
        assert found is not None
        chains.append(found["RootFS"]["Layers"])
        marked = (
            one for one in images.find(engine, {LABEL: shop.session, CONDA: ""}) if one["Labels"][CONDA]
        )
        below = (_chain(engine, one["Id"]) for one in marked)
        # Other tests may have built the same layers again: another image, with the same chain.
        numbers = sorted({len(chain) - 1 for chain in below if chain == chains[-1][: len(chain)]})
        assert len(numbers) == 2, "Python, and the rest"
        layers.append(layers_of(engine, found["Id"], numbers))
    assert layers[0] == layers[1]
    assert (
        not {name for name, told in layers[0][1].items() if told[0] != tarfile.DIRTYPE} & layers[0][0].keys()
    )
    assert chains[0] == chains[1], "the same to the byte"
    again = project.prepare()
    assert again.code == 0
    assert "up to date" in again.out + again.err


PROGRESS = ("gpubox: it was never", "solving", "sending", "installing", "compiling", "testing", "pulling")
COUNTING = (
    "import os, sys, time\nn = 0\nwhile not os.path.exists('go'):\n    print('line', n, 'x' * 1000)\n"
    "    print(n, file=sys.stderr)\n    n += 1\n    time.sleep(0.01)\n"
)
WAITING = "print('begun', flush=True)\nimport time\ntime.sleep(600)\n"


@pytest.fixture(scope="session")
def small(shop_of_session: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The environment that the tests of runs share, made once, here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMLEXEC_CACHE", str(shop_of_session.cache))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        done = DockerProject(tmp_path_factory.mktemp("small") / "demo", shop_of_session).prepare()
    assert done.code == 0, done.err
    return shop_of_session


def ready_on(host: EngineHost, client: Client, shop: Shop, root: Path) -> RemoteDockerProject:
    """A project on a machine whose engine is given the environment."""
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    project = RemoteDockerProject(root, shop, PLACE, host)
    host.take(shop.engine, reference(project.prepare("--print-digest").out.strip()))
    return project


@pytest.fixture
def alone(
    new_engine_host: Callable[..., EngineHost], client: Client, small: Shop, shop: Shop, tmp_path: Path
) -> RemoteDockerProject:
    """A project on a machine that the test has for itself, with its environment."""
    return ready_on(new_engine_host(), client, shop, tmp_path / "demo")


def refused(done: Done, *texts: str) -> None:
    assert done.code == 2, done
    for text in texts:
        assert text in done.err, done.err
    assert "Traceback" not in done.err


def test_a_log_is_whole_after_cuts_while_it_is_followed(project: RemoteDockerProject, tmp_path: Path) -> None:
    ready = project.prepare()
    assert ready.code == 0, ready.err
    project.write("train.py", COUNTING)
    with (tmp_path / "out").open("wb") as out:
        command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", PLACE.name, "train.py")
        process = project.start(*command, stdout=out)
        until_printed(tmp_path / "out", b"line 20 ")
        for _ in range(3):
            # sshd's processes for this client end; the run is not one of them.
            project.host.ssh(f"for p in $(pgrep -u {QUIET} sshd); do kill -9 $p; done; true")
            size = (tmp_path / "out").stat().st_size
            eventually(
                lambda size=size: (tmp_path / "out").stat().st_size > size,  # type: ignore[misc]
                "following goes on",
            )
        (run_id,) = project.run_ids()
        project.tell(run_id)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    log = (project.run_folder(run_id) / "stdout.log").read_bytes()
    assert log == b"".join(b"line %d %s\n" % (n, b"x" * 1000) for n in range(log.count(b"\n")))
    assert log in (tmp_path / "out").read_bytes()
    assert project.record(run_id)["status"] == "Completed"


def test_a_machine_that_hangs_or_crashes_changes_no_status(alone: RemoteDockerProject) -> None:
    alone.write("train.py", WAITING)
    run_id = alone.submit("--async", "train.py").run_id
    alone.begun(run_id)
    alone.host.kill()
    asked = alone.amlexec("experiment", "status", "-r", run_id)
    refused(asked, "remotedocker")
    assert alone.record(run_id)["status"] not in {"Failed", "Lost", "Completed"}
    alone.host.start()
    refused(alone.amlexec("experiment", "status", "-r", run_id), "the machine")
    alone.host.start_engine()
    found = alone.amlexec("experiment", "status", "-r", run_id)
    assert found.code == 0, found.err
    assert "Failed" in found.out, "the engine says that it ended"
    assert (alone.run_folder(run_id) / "stdout.log").read_bytes() == b"begun\n"


def test_each_reason_for_a_missing_engine_has_its_own_error(
    alone: RemoteDockerProject, host: Host, client: Client
) -> None:
    client.knows(host)
    machine, where = alone.host, f"aml_config/{PLACE.name}.compute"
    told = alone.compute()
    alone.write(where, told.replace(f"username: {QUIET}", "username: bash"))
    refused(
        alone.prepare("--check"),
        "bash has no permission to use the Docker engine's socket /var/run/docker.sock",
        "sudo usermod -aG docker bash",
    )
    machine.ssh("usermod -aG docker bash")
    assert alone.prepare("--check").code == 0, "the groups of the next login count"
    alone.write(where, told)
    machine.stop_engine()
    refused(alone.prepare("--check"), "Docker engine is not running", "sudo systemctl start docker")
    machine.start_engine("/srv/other.sock")
    machine.ssh(f"echo 'export DOCKER_HOST=unix:///srv/other.sock' >/home/{QUIET}/.bashrc")
    assert alone.prepare("--check").code == 0, "an engine elsewhere is found"
    machine.ssh(f"echo 'export DOCKER_HOST=tcp://127.0.0.1:2375' >/home/{QUIET}/.bashrc")
    client.hang_up()
    refused(alone.prepare("--check"), "tcp://127.0.0.1:2375", "which is not a local socket")
    machine.ssh(f"rm /home/{QUIET}/.bashrc; ln -sf /srv/other.sock /var/run/docker.sock")
    machine.configure_sshd("sed -i '1i AllowStreamLocalForwarding no' /etc/ssh/sshd_config")
    client.hang_up()
    refused(alone.prepare("--check"), "does not answer on its socket", "AllowStreamLocalForwarding")
    machine.ssh("rm /var/run/docker.sock; mv /usr/sbin/dockerd /usr/sbin/not-dockerd")
    client.hang_up()
    refused(alone.prepare("--check"), "has no Docker engine", "install Docker Engine there")


def test_wheels_are_sent_and_an_index_of_this_machine_is_none(
    project: RemoteDockerProject, shop: Shop
) -> None:
    conda = "aml_config/conda_dependencies.yml"
    project.write(conda, shop.conda(pip=("--index-url http://127.0.0.1:9/simple", "tiny")))
    done = project.prepare()
    assert done.code == 3, done.err
    assert f"{conda}:" in done.err
    assert "is only on this machine, so" in done.err
    project.write(conda, shop.conda(pip=(f"--find-links {shop.wheels}", "--no-index", "six")))
    done = project.prepare()
    assert done.code == 0, done.err
    project.write("train.py", "import six\nprint('has', six.__name__)\n")
    done = project.submit("train.py")
    assert "has six\n" in done.out, done.err


def test_files_that_the_machine_has_are_not_sent_again(alone: RemoteDockerProject, shop: Shop) -> None:
    """Also after the connection was lost meanwhile. The stored files are in no image."""
    conda = "aml_config/conda_dependencies.yml"
    alone.write(conda, shop.conda("six=1.16"))
    alone.host.take(shop.engine, shop.base)
    command = (sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", PLACE.name)
    preparing = alone.start(*command)
    assert preparing.stderr is not None
    # Nor can it connect again: a cut between two requests would not be noticed.
    cut = f"chage -E 0 {QUIET}; for p in $(pgrep -u {QUIET} sshd); do kill -9 $p; done; true"
    said = []
    for line in preparing.stderr:
        said.append(line)
        if line.startswith(b"installing"):
            preparing.send_signal(signal.SIGSTOP)
            alone.host.ssh(cut)
            preparing.send_signal(signal.SIGCONT)
    preparing.communicate(timeout=PATIENCE)
    assert preparing.returncode == 2, said
    assert b"Traceback" not in b"".join(said)
    alone.host.ssh(f"chage -E -1 {QUIET}")
    first = alone.prepare()
    assert first.code == 0, first.err
    assert "sending an installer" not in first.err
    left = containers.find(alone.engine, {LABEL: shop.session})
    assert left == [], "nothing half-made"
    alone.write(conda, shop.conda("six=1.17"))
    second = alone.prepare()
    assert second.code == 0, second.err
    assert "sending 1 conda package that only this machine has" in second.err
    alone.write("train.py", "import os\nprint(os.path.exists('/dev/amlexec'))\n")
    assert "False\n" in alone.submit("train.py").out


def test_both_doors_and_a_machine_that_hangs(alone: RemoteDockerProject, client: Client) -> None:
    client.hang_up()
    alone.write("train.py", "print('ran')\n")
    assert alone.doit("list", "--all").code == 0
    assert "prepare the environment of" in alone.doit("info", f"prepare:{PLACE.name}").out
    assert not [path for path in client.sockets() if len(path.name) == 16], "nobody was asked"
    done = alone.doit(f"submit:{PLACE.name}", "script=train.py")
    assert done.code == 0, done.err
    assert "ran\n" in done.out
    client.hang_up()
    alone.host.pause()
    try:
        hung = alone.doit(f"prepare:{PLACE.name}")
    finally:
        alone.host.unpause()
    assert hung.code != 0
    assert "does not answer" in hung.out + hung.err
    assert "Traceback" not in hung.err
    done = alone.doit("clean", f"prepare:{PLACE.name}")
    assert "1 image removed" in done.out
    assert images.find(alone.engine, {DIGEST: ""}) == []


def test_a_channel_without_a_python_for_the_installer(
    new_engine_host: Callable[..., EngineHost],
    client: Client,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the packages are installed locally and sent. This Python can't run in the image."""
    monkeypatch.setenv("AMLEXEC_CACHE", str(tmp_path / "cache"))
    host = new_engine_host()
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    host.take(shop.engine, shop.base)
    program = packages.Entry("bin/python", b"#!/nowhere/python3\n", 0o755)
    own = channel_of(
        tmp_path / "own",
        "",
        packages.Package("python", "3.9.1", "0", [program], noarch="generic"),
        packages.Package("six", "1.0", "0", noarch="generic"),
    )
    project = RemoteDockerProject(tmp_path / "demo", shop, PLACE, host)
    project.write("aml_config/conda_dependencies.yml", shop.conda("six", channel=own.as_uri()))
    done = project.prepare()
    refused(
        done, "no channel has a bootstrap Python for the engine", "the environment's Python does not start"
    )
    assert containers.find(project.engine, {LABEL: shop.session}) == []


def test_clean_leaves_nothing(alone: RemoteDockerProject) -> None:
    alone.write("train.py", "raise SystemExit(1)\n")
    assert alone.prepare().code == 0, "from here on it is this project's too"
    run_id = alone.submit("train.py").run_id
    assert alone.has_copy(run_id), "it may show why"
    plain = ("type: remote", f"address: {alone.host.address}", f"username: {QUIET}")
    alone.write("aml_config/plain.compute", "\n".join((*plain, "userManagedEnvironment: true\n")))
    listed = alone.amlexec("history", "list", "--from", "plain")
    assert listed.code == 0, listed.err
    assert run_id not in listed.out, "the machine's shell can't say how a container is"
    done = alone.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    assert f"1 on {PLACE.name}" in done.err
    assert not alone.has_copy(run_id)
    done = alone.amlexec("experiment", "clean", "--environments")
    assert done.code == 0, done.err
    assert "1 image removed" in done.err
    assert images.find(alone.engine, {DIGEST: ""}) == []


def test_secrets_reach_the_script_and_nothing_else(project: RemoteDockerProject, small: Shop) -> None:
    canary = "canary-9b27e1"
    ready = project.prepare()
    assert ready.code == 0, ready.err
    project.configure("EnvironmentVariables:", f"  MY_TOKEN: {canary}")
    project.write(
        "train.py",
        "import hashlib, os\nprint(hashlib.sha256(os.environ['MY_TOKEN'].encode()).hexdigest())\n"
        "raise SystemExit(3)\n",
    )
    done = project.submit("train.py")
    assert hashlib.sha256(canary.encode()).hexdigest() in done.out
    assert (
        project.host.ssh(
            f"grep -rl --exclude-dir=project --exclude-dir=projects {canary} /home/{QUIET} || true"
        )
        == ""
    )
    for path in project.run_folder(done.run_id).rglob("*"):
        assert not path.is_file() or canary.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("told", "fits"), [("amd64", True), ("x86_64", True), ("arm64", False), ("riscv64", False)]
)
def test_an_engine_of_another_processor(told: str, fits: bool) -> None:
    why, _ = platforms.engine_misfit("linux", told, DEFAULT)
    assert bool(why) is not fits
    assert fits or told in why


def test_the_how_to_page(
    client: Client, new_engine_host: Callable[..., EngineHost], shop: Shop, tmp_path: Path
) -> None:
    machine = new_engine_host()
    machine.ssh("useradd --create-home --shell /bin/bash --groups docker ada")
    machine.take(shop.engine, shop.base)
    images.tag(machine.docker, shop.base, "debian:bookworm-slim")
    client.configure("gpu.example.org", "HostName 127.0.0.1", f"Port {machine.port}")
    shutil.copy(machine.key, client.home / ".ssh/id_ed25519")
    folder = tmp_path / "reader"
    folder.mkdir()
    for kind, file, body in blocks(ROOT / "docs/how-to/use-docker-on-another-machine.md"):
        if file:
            (folder / file).write_text(body)
        for command, wanted in commands(body) if kind == "shellsession" else ():
            if command.startswith("cd "):
                folder /= command[3:]
                # Tests download no packages from the network.
                (folder / "aml_config/conda_dependencies.yml").write_text(shop.conda("six"))
                continue
            done = subprocess.run(
                ["bash", "-c", f"{command} 2>&1"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True
            )
            printed = done.stdout.decode()
            lines = [line for line in printed.splitlines() if not line.startswith(PROGRESS)]
            assert matches(wanted, lines), f"$ {command}\n{printed}"
