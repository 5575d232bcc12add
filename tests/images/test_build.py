"""Build environments as images: once, and again only if the packages would differ, with the reason."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import containers, images
from amlexec.images.build_container import BuildContainer, NotRunningError
from tests.conftest import PATIENCE, Done
from tests.engines import azurite
from tests.engines.serving import answering, serve
from tests.support import engine_images
from tests.support.places import PLACES, DockerProject, Shop, new_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOWHERE = "unix:///nowhere/docker.sock"
PRINT = "import sys, six\nprint(sys.version_info[:2], six.__version__)\n"


@pytest.fixture
def make(shop: Shop, tmp_path: Path) -> Callable[..., DockerProject]:
    """Create a project with these conda packages, in a folder named `demo`.

    Where a test is not about the conda layer, it has the packages of `tools` or of another test.
    """

    def made(*specs: str, pip: tuple[str, ...] = (), name: str = "demo") -> DockerProject:
        return DockerProject(tmp_path / name, shop, conda=shop.conda(*specs, pip=pip))

    return made


def tools(what: str) -> tuple[str, ...]:
    """Conda packages for `what`: an environment of its own, with the conda layer that others have, too."""
    return "six=1.16", f"prefixtool !=0.{zlib.crc32(what.encode())}"


def check(project: DockerProject, *arguments: str) -> dict[str, Any]:
    """The output of `--check -o json`; asserts that the exit code agrees."""
    done = project.prepare("--check", "-o", "json", *arguments)
    found: dict[str, Any] = json.loads(done.out)
    assert done.code == (0 if found["ready"] else 1), done.err
    return found


def digest(project: DockerProject) -> str:
    """The output of `--print-digest`, without an engine."""
    done = project.prepare("--print-digest", env={**os.environ, "DOCKER_HOST": NOWHERE})
    assert done.code == 0, done.err
    return str(done.out.strip())


def until(process: subprocess.Popen[bytes], beginning: bytes) -> bytes:
    """Read the output of a prepare until a line with that beginning."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(beginning):
            return line
    raise AssertionError(seen)


def image_of(project: DockerProject) -> dict[str, Any]:
    """The image of a project's environment."""
    (found,) = project.shop.images(**{"amlexec.digest": digest(project)})
    told = images.inspect(project.shop.engine, found["Id"])
    assert told is not None
    return told


def layers_of(shop: Shop) -> set[str]:
    """The ids of the session's conda layers."""
    return {
        one["Id"]
        for one in shop.images()
        if any(name.startswith("amlexec-conda:") for name in one["RepoTags"] or ())
    }


def left(project: DockerProject) -> list[str]:
    """The containers and folders that builds left."""
    making = [one["Id"] for one in project.shop.containers() if one["Labels"].get("amlexec.building")]
    staging = project.shop.cache / "staging"
    return making + [str(path) for path in staging.rglob("*") if path != staging / "lock"]


def test_the_life_of_an_environment(make: Callable[..., DockerProject]) -> None:
    """Prepared once; neutral edits change nothing; a new version rebuilds it, and the reason has the line."""
    project = make("six=1.16", "idna")
    project.write("train.py", PRINT)
    refused = project.submit("train.py")
    assert refused.code == 2
    assert "the environment of docker is not ready: it was never prepared here" in refused.err
    assert "hint: amlexec experiment prepare -c docker, or submit with --prepare" in refused.err
    assert project.run_ids() == []
    assert check(project) == {
        "ready": False,
        "digest": digest(project),
        "reason": "it was never prepared here",
        "image_id": "",
        "python": "",
        "platform": "",
        "lock": "",
    }

    first = project.prepare()
    assert first.code == 0, first.err
    assert first.out == "docker: prepared for the first time\n"
    assert "solving" in first.err
    assert left(project) == []
    made = image_of(project)
    name = f"amlexec:{digest(project)[:20]}"
    assert made["RepoTags"] == [name]
    again = project.prepare()
    assert (again.code, again.out, again.err) == (0, f"docker: up to date: the engine has {name}\n", "")
    assert image_of(project)["Id"] == made["Id"]
    found = check(project)
    assert (found["ready"], found["image_id"]) == (True, made["Id"])
    assert found["python"].startswith("3.")
    assert "1.16.0\n" in project.submit("train.py").out

    channel = project.shop.channel
    project.write(
        "aml_config/conda_dependencies.yml",
        f"# the same\r\nname: other\r\nx-all: &all [ 'idna', \"six=1.16\", python ]\r\n"
        f"channels: ['{channel}']\r\ndependencies: *all\r\n",
    )
    neutral = project.prepare()
    assert (neutral.code, neutral.out) == (0, f"docker: up to date: the engine has {name}\n"), neutral.err

    project.write("aml_config/conda_dependencies.yml", project.shop.conda("six=1.17", "idna"))
    reason = "aml_config/conda_dependencies.yml:5: six 1.16 -> 1.17"
    found = check(project)
    assert found["reason"].startswith(reason)
    stale = project.submit("train.py")
    assert stale.code == 2, "an outdated environment is never used"
    assert reason in stale.err
    changed = project.prepare()
    assert changed.out.startswith(f"docker: prepared: {reason}"), changed.err
    assert "1.17.0\n" in project.submit("train.py").out

    images.remove(project.shop.engine, f"amlexec:{digest(project)[:20]}")
    gone = project.submit("train.py")
    assert gone.code == 2
    assert "is not ready: its image is no longer on the engine" in gone.err
    assert check(project)["reason"] == "its image is no longer on the engine"
    healed = project.prepare()
    assert healed.out == "docker: prepared: its image is no longer on the engine\n"
    assert "installing" not in healed.err, "the conda layer was reused"
    assert project.submit("train.py").code == 0


def test_submit_prepares_with_prepare_environment(make: Callable[..., DockerProject]) -> None:
    project = make("six=1.17", "idna !=1")
    project.write("train.py", PRINT)
    done = project.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    assert "(3, " in done.out
    project.write("aml_config/conda_dependencies.yml", project.shop.conda("six=1.16", "idna !=1"))
    assert project.submit("train.py").code == 2
    project.configure("PrepareEnvironment: true")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "1.16.0" in done.out
    assert "solving" not in project.submit("train.py").err


def test_labels_and_contents_of_an_image(make: Callable[..., DockerProject]) -> None:
    project = make(
        "six=1.16", "prefixtool", pip=("--no-index", "--find-links ./wheels", "amlexec-test-greet==1.0")
    )
    Path(project.root, "wheels").symlink_to(project.shop.wheels)
    project.write("a_file_of_the_project.py", "")
    done = project.prepare()
    assert done.code == 0, done.err
    made = image_of(project)
    # Its layers were built without a network; its runs have one.
    assert not made["Config"].get("NetworkDisabled")
    labels = made["Config"]["Labels"]
    base = images.inspect(project.shop.engine, project.shop.base)
    assert base is not None
    assert labels["amlexec.digest"] == digest(project)
    assert labels["amlexec.project"] == "demo"
    assert labels["amlexec.recipe"].isdecimal()
    pinned = base["RepoDigests"][0] if project.engine.features.is_podman else base["Id"]
    assert labels["amlexec.base"] == pinned
    assert labels["amlexec.platform"].startswith("linux-")
    script = (
        "import json, os, sys, amlexec_test_greet, pip._internal.cli.main, subprocess\n"
        "modules = [getattr(module, '__cached__', '') or '' for module in list(sys.modules.values())]\n"
        "cached = [path for path in modules if '/site-packages/pip/' in path]\n"
        "checked = [path for path in cached if open(path, 'rb').read()[4] != 1]\n"
        "found = [os.path.join(at, name) for at, _, names in os.walk('/') for name in names"
        " if not at.startswith(('/proc', '/sys')) and"
        " name.endswith(('a_file_of_the_project.py', '.whl', 'requirements.txt', 'amlexec-ca.pem'))]\n"
        "print(json.dumps([amlexec_test_greet.greeting(), sys.prefix, found,"
        " subprocess.check_output(['prefixtool']).decode(),"
        " os.listdir('/opt/amlexec'), os.listdir('/tmp'), len(cached), checked]))\n"
    )
    greeting, prefix, found, tool, below, temporary, compiled, checked = json.loads(inside(project, script))
    assert (greeting, prefix) == ("greetings 1.0", "/opt/amlexec/env")
    assert (found, sorted(below), temporary) == ([], ["env", "environment.lock"], [])
    assert tool.startswith("/opt/amlexec/env ")
    assert compiled > 5
    assert checked == []  # no run compiles a module of a conda package again
    packages = json.loads(
        (project.root / f".amlexec/environments/{digest(project)}.packages.json").read_text()
    )
    conda = {one["name"]: one["version"] for one in packages["conda"]}
    assert conda["six"] == "1.16.0"
    assert conda["prefixtool"] == "2.0"
    assert {"name": "amlexec-test-greet", "version": "1.0"} in packages["pip"]
    assert packages["base"] == pinned


def inside(project: DockerProject, script: str) -> str:
    """What a Python script prints in a container of a project's environment."""
    engine = project.shop.engine
    settings = {"Image": image_of(project)["Id"], "Cmd": ["python", "-c", script], "NetworkDisabled": True}
    made = containers.create(engine, settings)
    try:
        containers.start(engine, made)
        code = containers.wait(engine, made, timeout=PATIENCE)
        with containers.logs(engine, made) as output:
            said = b"".join(frame.data for frame in output).decode()
        assert code == 0, said
        return said
    finally:
        containers.remove(engine, made, force=True)


def test_a_changed_pip_line_keeps_the_conda_layer(make: Callable[..., DockerProject]) -> None:
    lines = ("--no-index", "--find-links ./wheels")
    project = make(*tools("changed"), pip=(*lines, "amlexec-test-greet==1.0"))
    Path(project.root, "wheels").symlink_to(project.shop.wheels)
    first = project.prepare()
    assert first.code == 0, first.err
    before = layers_of(project.shop)
    old = image_of(project)
    text = project.shop.conda(*tools("changed"), pip=(*lines, "amlexec-test-greet==1.1"))
    project.write("aml_config/conda_dependencies.yml", text)
    second = project.prepare()
    assert second.code == 0, second.err
    assert second.out == (
        "docker: prepared: aml_config/conda_dependencies.yml:11: amlexec-test-greet 1.0 -> 1.1\n"
    )
    assert "conda packages" not in second.err, "no conda package is installed again"
    assert layers_of(project.shop) == before
    assert image_of(project)["RootFS"]["Layers"][:-1] == old["RootFS"]["Layers"][:-1]
    assert "greetings 1.1" in inside(project, "import amlexec_test_greet as g\nprint(g.greeting())")


def test_the_conda_layer_is_reproducible_bit_for_bit(
    make: Callable[..., DockerProject], tmp_path: Path
) -> None:
    """Built twice from scratch: with another cache, project, umask and time."""
    found = []
    for number in range(2):
        project = make("idna", "tabulate", "prefixtool", name=f"demo{number}")
        cache = {**os.environ, "AMLEXEC_CACHE": str(tmp_path / f"cache{number}")}
        # A forced build reuses no layer of another one.
        force = ("--force",) if number else ()
        done = project.prepare(*force, env=cache, umask=0o077 if number else 0o002)
        assert done.code == 0, done.err
        assert done.err.count("copying the packages") == 2 or not number
        found.append(image_of(project)["RootFS"]["Layers"][:-1])
    # Podman leaves files of its own in each layer, with their times.
    is_same = found[0] == found[1]
    assert is_same is not project.engine.features.is_podman


def test_two_builds_of_one_environment_at_once(make: Callable[..., DockerProject]) -> None:
    """The second waits, names the first, and then finds the environment up to date."""
    project = make(*tools("at once"))
    command = ("-m", "amlexec", "experiment", "prepare", "-c", "docker")
    first = project.start(sys.executable, *command)
    until(first, b"solving")
    first.send_signal(signal.SIGSTOP)
    try:
        second = project.start(sys.executable, *command)
        told = until(second, b"waiting").decode()
    finally:
        first.send_signal(signal.SIGCONT)
    assert f"waiting for process {first.pid}, which has been building the same environment since " in told
    said, err = first.communicate(timeout=PATIENCE)
    assert (first.returncode, said) == (0, b"docker: prepared for the first time\n"), err
    said, err = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, err
    assert said.startswith(b"docker: up to date: the engine has ")
    assert len(project.shop.images(**{"amlexec.digest": digest(project)})) == 1


def test_two_environments_with_one_conda_layer_at_once(make: Callable[..., DockerProject]) -> None:
    """Their digests differ; the shared layer is built once."""
    lines = ("--no-index", "--find-links ./wheels")
    projects = []
    for version in ("1.0", "1.1"):
        project = make(
            "six", "idna=3.7", "setuptools", pip=(*lines, f"amlexec-test-greet=={version}"), name=version
        )
        Path(project.root, "wheels").symlink_to(project.shop.wheels)
        projects.append(project)
    command = ("-m", "amlexec", "experiment", "prepare", "-c", "docker")
    together = [project.start(sys.executable, *command) for project in projects]
    ended = [process.communicate(timeout=PATIENCE) for process in together]
    assert [process.returncode for process in together] == [0, 0], ended
    shop, layer = projects[0].shop, image_of(projects[0])["Parent"]
    assert image_of(projects[1])["Parent"] == layer
    label = (images.inspect(shop.engine, layer) or {})["Config"]["Labels"]["amlexec.conda"]
    assert [one["Id"] for one in shop.images(**{"amlexec.conda": label})] == [layer]
    assert left(projects[0]) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_build_interrupted_in_each_phase(make: Callable[..., DockerProject], how: signal.Signals) -> None:
    """An unfinished build is never used as an environment, and the next build removes it."""
    spec = "idna" if how == signal.SIGINT else "idna=3.7"
    project = make("six", "tabulate", spec, pip=("--no-index", "--find-links ./wheels", "colorama"))
    Path(project.root, "wheels").symlink_to(project.shop.wheels)
    for phase in (b"solving", b"installing", b"copying", b"installing the pip"):
        process = project.start(sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "docker")
        until(process, phase)
        process.send_signal(how)
        _, err = process.communicate(timeout=PATIENCE)
        if how == signal.SIGINT:
            assert (process.returncode, err) == (130, b"interrupted\n")
            assert left(project) == []
        assert not check(project)["ready"]
        assert project.shop.images(**{"amlexec.digest": digest(project)}) == []
    done = project.prepare()
    assert done.code == 0, done.err
    assert left(project) == []
    said = inside(project, "import colorama, six, tabulate, idna\nprint('all')")
    assert said == "all\n"


def test_a_build_that_may_be_alive_is_left_alone(make: Callable[..., DockerProject]) -> None:
    """Like a build of the same environment from a container with the engine's socket."""
    project = make(*tools("alive"))
    labels = {"amlexec.building": digest(project), "amlexec.building.by": "elsewhere/1/1/1"}
    settings = {"Image": project.shop.base, "Cmd": ["sleep", "600"], "Labels": labels}
    other = containers.create(project.shop.engine, settings)
    try:
        assert project.prepare().code == 0
        assert containers.inspect(project.shop.engine, other) is not None
    finally:
        containers.remove(project.shop.engine, other, force=True)


def test_refresh_rebuilds_when_the_base_image_has_moved(make: Callable[..., DockerProject]) -> None:
    project = make("six")
    shop = project.shop
    tag = f"amlexec-test/moving:{shop.session}"
    images.tag(shop.engine, shop.base, tag)
    project.write("aml_config/docker.compute", project.compute(base=tag))
    assert project.prepare().code == 0
    before = image_of(project)
    same = project.prepare("--refresh")
    assert same.code == 0, same.err
    assert "up to date" in same.out
    assert image_of(project)["Id"] == before["Id"]
    new_base(shop.engine, shop.base, tag, "moved=yes")
    assert "up to date" in project.prepare().out, "the registry is not asked"
    moved = project.prepare("--refresh")
    assert moved.out == f"docker: prepared: the base image {tag} has moved\n", moved.err
    after = image_of(project)
    assert after["Config"]["Labels"]["moved"] == "yes"
    assert images.inspect(shop.engine, before["Id"]) is None, "the old image is removed"


def test_a_private_index_leaves_no_trace(make: Callable[..., DockerProject], tmp_path: Path) -> None:
    """Its URL is in pip's settings; its password is in no file, layer, image history or log."""
    password = f"pass{os.urandom(6).hex()}word"
    packages = tools("private")
    project = make(*packages, pip=("amlexec-test-greet==1.0",))
    with serve(project.shop.wheels, user="me", password=password) as site:
        settings = Path(os.environ["HOME"], ".config/pip/pip.conf")
        settings.parent.mkdir(parents=True)
        address = site.url.replace("//", f"//me:{password}@")
        settings.write_text(f"[global]\nindex-url = {address}/simple/\n")
        done = project.prepare()
        assert done.code == 0, done.err
        # The URL in a line of the file, and a missing package: the error names the package, not the password.
        secret = address.replace(password, "${SECRET}")
        text = project.shop.conda(*packages, pip=(f"--index-url {secret}/simple/", "amlexec-test-nowhere"))
        project.write("aml_config/conda_dependencies.yml", text)
        failed = project.prepare(env={**os.environ, "SECRET": password})
    assert failed.code in {2, 3}
    assert "amlexec-test-nowhere" in failed.err
    assert password not in failed.err + failed.out + done.err + done.out
    assert "/simple/amlexec-test-greet/" in site.requests
    for path in (project.root / ".amlexec").rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes(), path
    project.write(
        "aml_config/conda_dependencies.yml", project.shop.conda(*packages, pip=("amlexec-test-greet==1.0",))
    )
    made = image_of(project)
    steps = images.history(project.shop.engine, made["Id"])
    assert password not in json.dumps([made, steps])
    assert not _holds(project, made["Id"], [password.encode(), base64.b64encode(f"me:{password}".encode())])


def _holds(project: DockerProject, image: str, texts: list[bytes]) -> bool:
    """Whether an image contains a text, in its configuration or in files of its layers."""
    with engine_images.save(project.shop.engine, image) as stream:
        before = b""
        for piece in stream.pieces():
            if any(text in before + piece for text in texts):
                return True
            before = piece[-100:]
    return False


@pytest.fixture
def secured(shop: Shop, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The wheels over HTTPS, and the certificate of a private authority."""
    certificate = azurite.certificate(tmp_path)
    handler = functools.partial(_Quiet, directory=shop.wheels)
    free = ("127.0.0.1", 0)
    with http.server.ThreadingHTTPServer(free, handler) as server, answering(server, certificate):
        yield f"https://127.0.0.1:{server.server_port}/simple/", certificate.file


def test_an_engine_that_starts_no_container(shop: Shop) -> None:
    """Whatever its reason, the error does not blame the base image."""
    refused = {"Type": "bind", "Source": "/dev/null", "Target": "/proc/amlexec"}
    with (
        BuildContainer(shop.engine, shop.base, "0" * 64, mounts=[refused], python="/bin/sh") as builder,
        pytest.raises(NotRunningError, match=r"can't start a container on here: .*/proc") as caught,
    ):
        builder.start("here", "box.compute")
    assert (caught.value.is_refused, caught.value.where) == (True, shop.engine.address)
    assert "glibc" not in caught.value.hint


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def handle(self) -> None:
        with contextlib.suppress(
            ssl.SSLError, ConnectionError
        ):  # clients that don't trust the certificate hang up
            super().handle()


def test_certificates_of_a_private_authority(
    make: Callable[..., DockerProject], secured: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, certificate = secured
    project = make(*tools("certificates"), pip=("amlexec-test-greet==1.1", "tabulate"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    done = project.prepare(env={**os.environ, "PIP_INDEX_URL": address})
    assert done.code == 2
    assert "certificate" in done.err.lower()
    told = {**os.environ, "PIP_INDEX_URL": address, "PIP_CERT": str(certificate)}
    done = project.prepare(env=told)
    assert done.code == 0, done.err
    assert not _holds(project, image_of(project)["Id"], [certificate.read_bytes().splitlines()[5]])


def test_a_folder_of_wheels_in_pips_settings(make: Callable[..., DockerProject]) -> None:
    project = make(*tools("wheels"), pip=("amlexec-test-greet==1.1",))
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": project.shop.wheels}
    done = project.prepare(env={**os.environ, **settings})
    assert done.code == 0, done.err
    assert "greetings 1.1" in inside(
        project, "import amlexec_test_greet as g, os\nprint(g.greeting(), os.listdir('/opt/amlexec'))"
    )


def test_sources_of_an_editable_package_stay(make: Callable[..., DockerProject]) -> None:
    lines = ("--no-index", "--find-links ./wheels", "-e ./lib", "./tool")
    project = make("setuptools", "tabulate", pip=lines)
    Path(project.root, "wheels").symlink_to(project.shop.wheels)
    for name in ("lib", "tool"):
        project.write(
            f"{name}/setup.py",
            f"from setuptools import setup\nsetup(name='{name}x', version='1', py_modules=['{name}x'])\n",
        )
        project.write(f"{name}/{name}x.py", f"WHO = '{name}'\n")
    project.write(".amlignore", ".env\n")
    project.write("lib/.env", "HUSH=1\n")
    done = project.prepare()
    assert done.code == 0, done.err
    said = inside(project, "import libx, toolx\nprint(libx.__file__, toolx.WHO)")
    assert said.startswith("/opt/amlexec/src/")
    assert said.endswith("lib/libx.py tool\n")
    listed = inside(project, "import libx, os\nprint(sorted(os.listdir(os.path.dirname(libx.__file__))))")
    assert ".env" not in listed
    assert project.prepare("--context", str(project.root / "context")).code == 0
    assert not list(Path(project.root, "context").rglob(".env"))
    assert list(Path(project.root, "context").rglob("libx.py"))
    project.write("lib/libx.py", "WHO = 'changed'\n")
    assert "lib" in check(project)["reason"]


def test_forced_rebuilds_and_all_reasons(make: Callable[..., DockerProject]) -> None:
    """A forced rebuild reuses nothing and leaves nothing of the old environment."""
    project = make("prefixtool=2.0", f"six>=0.0.{os.getpid()}")
    assert project.prepare().code == 0
    seen = [image_of(project)["Id"]]
    layers = len(layers_of(project.shop))
    for told, again in (
        ("docker: prepared: --force was given\n", functools.partial(project.prepare, "--force")),
        ("docker: prepared: doit -a was given\n", functools.partial(project.doit, "-a", "prepare:docker")),
    ):
        done = again()
        assert done.code == 0, done.err
        assert told in done.out
        seen.append(image_of(project)["Id"])
        assert len(set(seen)) == len(seen)
        assert images.inspect(project.shop.engine, seen[-2]) is None
        assert len(layers_of(project.shop)) == layers
        unnamed = [one for one in project.shop.images() if not one["RepoTags"] and one["Id"] in seen]
        assert unnamed == []
    project.write(
        "aml_config/conda_dependencies.yml", project.shop.conda("prefixtool=1.0", "six=1.16", "idna")
    )
    first = project.prepare("--check")
    assert first.out.endswith(" … and 2 more\n")
    assert first.err == "  hint: --all-reasons shows every reason\n"
    whole = project.prepare("--check", "--all-reasons")
    assert len(whole.out.splitlines()) == 3
    assert whole.out.splitlines()[0] + " … and 2 more\n" == first.out
    assert "aml_config/conda_dependencies.yml:7: idna added" in whole.out
    assert len(check(project, "--all-reasons")["reasons"]) == 3


def test_local_targets_have_nothing_to_prepare(shop: Shop, tmp_path: Path) -> None:
    project = DockerProject(tmp_path / "demo", shop, PLACES[0])
    done: Done = project.prepare(env={**os.environ, "DOCKER_HOST": NOWHERE})
    assert done.code == 0, done.err
    assert "nothing to prepare" in done.out
