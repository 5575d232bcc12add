"""Bad input and faults with environments and containers: one clear error, and nothing incomplete."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import shutil
import signal
import socket
import sys
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import locks, values
from amlexec.config import load as config
from amlexec.docker import containers, images
from amlexec.errors import TargetError
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.images import base_image
from amlexec.images.labels import PREFIX
from amlexec.plan import plan
from amlexec.targets.docker import DockerTarget
from amlexec.targets.environment import ensure
from tests.conftest import PATIENCE, Done, eventually
from tests.engines import base_image as recipe
from tests.engines.places import is_required
from tests.engines.serving import answering
from tests.support import engine_images
from tests.support.own_engine import OwnEngine, own_engine, why_none
from tests.support.places import LABEL, PLACES, DockerProject, Place, Shop, new_base
from tests.test_contract import WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.engine_machine import EngineMachine

DOCKER = [place for place in PLACES if place.kind == "docker"]
DEPENDENCIES = "aml_config/conda_dependencies.yml"


@pytest.fixture
def project(shop: Shop, tmp_path: Path) -> DockerProject:
    """A project on a Docker target with the environment that most of these tests share."""
    found = DockerProject(tmp_path / "demo", shop)
    found.write("train.py", WAITING)
    return found


@pytest.fixture
def ready(project: DockerProject) -> DockerProject:
    """The same, prepared."""
    done = project.prepare()
    assert done.code == 0, done.err
    return project


def refused(done: Done, code: int, *texts: str) -> None:
    """Assert an error's exit code and texts, and that it is not a traceback."""
    assert done.code == code, done.err
    for text in texts:
        assert text in done.err, done.err
    assert "Traceback" not in done.err
    assert "error: " in done.err


def nothing_made(project: DockerProject) -> bool:
    """Assert that there is neither an environment nor anything incomplete."""
    digest = project.prepare("--print-digest").out.strip()
    making = project.shop.containers(**{"amlexec.building": digest})
    return not making and not project.shop.images(**{"amlexec.digest": digest})


class TestDependencies:
    def test_that_cannot_be_installed_together(self, project: DockerProject) -> None:
        project.write(DEPENDENCIES, project.shop.conda("needs-old-six", "six>=1.17"))
        done = project.prepare()
        refused(done, 3, f"{DEPENDENCIES}:", "cannot be installed together", "hint: ")
        assert "(line 5)" in done.err
        assert "(line 6)" in done.err
        assert nothing_made(project)

    def test_that_no_channel_has(self, project: DockerProject) -> None:
        project.write(DEPENDENCIES, project.shop.conda("six=3", "tabulat"))
        refused(
            project.prepare(), 3, f"{DEPENDENCIES}:5:", "six", f"{DEPENDENCIES}:6:", "did you mean tabulate?"
        )

    def test_that_are_part_of_python(self, project: DockerProject) -> None:
        project.write(DEPENDENCIES, project.shop.conda("json"))
        refused(project.prepare(), 3, f"{DEPENDENCIES}:5:", "json", "hint: ", "remove")

    def test_of_a_channel_out_of_reach(self, project: DockerProject) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"http://127.0.0.1:{free.getsockname()[1]}/channel"
        project.write(DEPENDENCIES, project.shop.conda("six", channel=address))
        refused(project.prepare(), 2, f"{DEPENDENCIES}:2:", address, "hint: ")

    @pytest.mark.parametrize("fault", ["removed", "replaced"])
    def test_of_a_channel_that_has_changed(self, project: DockerProject, tmp_path: Path, fault: str) -> None:
        """A file of its index is missing, or has other content."""
        channel = tmp_path / "channel"
        shutil.copytree(project.shop.channel.removeprefix("file://"), channel, copy_function=os.link)
        (package,) = channel.glob("*/idna-3.10-*")
        content = package.read_bytes()
        package.unlink()
        if fault == "replaced":
            package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        project.write(DEPENDENCIES, project.shop.conda("idna=3.10", channel=channel.as_uri()))
        told = {**os.environ, "AMLEXEC_CACHE": str(tmp_path / "cache")}
        said = "is no longer in its channel" if fault == "removed" else "; expected "
        refused(project.prepare(env=told), 2, package.name, said, "hint: ")
        assert nothing_made(project)
        package.write_bytes(content)
        assert project.prepare(env=told).code == 0, "and then it works with the same cache"


class TestPipSection:
    def test_requirement_that_no_index_has(self, project: DockerProject) -> None:
        wheels = f"--find-links {project.shop.wheels}"
        text = project.shop.conda("six", pip=("--no-index", wheels, "tabulate", "amlexec-test-orphan"))
        project.write(DEPENDENCIES, text)
        done = project.prepare()
        refused(
            done, 2, f"{DEPENDENCIES}:11:", "pip failed: ", "amlexec-test-nowhere", "hint: the whole log is "
        )
        assert nothing_made(project)

    def test_the_last_lines_are_shown_and_the_log_has_all(self, project: DockerProject) -> None:
        wheels = f"--find-links {project.shop.wheels}"
        project.write(DEPENDENCIES, project.shop.conda("six", pip=("--no-index", wheels, "./broken")))
        project.write(
            "broken/setup.py", "for n in range(40):\n    print('line', n)\nraise SystemExit('no luck')\n"
        )
        done = project.prepare()
        refused(done, 2, DEPENDENCIES, "pip failed", "no luck")
        assert done.err.count("\n  | ") == 20
        assert "line 3\n" not in done.err
        said = Path(done.err.rpartition("hint: the whole log is ")[2].strip()).read_text()
        assert "line 3\n" in said
        assert "no luck" in said

    def test_wheel_that_is_not_there(self, project: DockerProject) -> None:
        project.write(DEPENDENCIES, project.shop.conda("six", pip=("./wheels/gone-1.0-py3-none-any.whl",)))
        refused(project.prepare(), 3, f"{DEPENDENCIES}:8:", "gone-1.0-py3-none-any.whl")
        refused(project.submit("train.py"), 3, f"{DEPENDENCIES}:8:")
        assert project.run_ids() == []

    def test_wheel_that_is_damaged(self, project: DockerProject) -> None:
        project.write("torn-1.0-py3-none-any.whl", b"PK\x03\x04 torn")
        project.write(DEPENDENCIES, project.shop.conda("six", pip=("./torn-1.0-py3-none-any.whl",)))
        refused(project.prepare(), 2, f"{DEPENDENCIES}:8:", "pip failed", "torn-1.0-py3-none-any.whl")


class TestBaseImage:
    def base(self, project: DockerProject, archive: bytes) -> str:
        """A base image of this session made of a root file system."""
        name = f"amlexec-test/base-{project.shop.session}:{uuid.uuid4().hex[:8]}"
        label = f"LABEL {LABEL}={project.shop.session}"
        images.import_root(project.shop.engine, archive, name, changes=[label])
        project.write("aml_config/docker.compute", project.compute(base=name))
        return name

    def test_that_cannot_be_pulled(self, project: DockerProject) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            name = f"127.0.0.1:{free.getsockname()[1]}/team/base:1"
        project.write("aml_config/docker.compute", project.compute(base=name))
        refused(
            project.prepare(),
            2,
            "aml_config/docker.compute",
            f"{name} can't be pulled",
            "set baseDockerImage",
        )

    @pytest.mark.parametrize(
        ("why", "hint"),
        [
            *(
                (why, "the engine (unix:///s) can't reach docker.io: check its network and its proxy")
                for why in (
                    "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io",
                    "Get https://registry-1.docker.io/v2/: net/http: (Client.Timeout exceeded)",
                    "Get https://registry-1.docker.io/v2/: x509: certificate signed by unknown authority",
                    "Head https://registry-1.docker.io/v2/x: proxyconnect tcp: connect: connection refused",
                )
            ),
            ("toomanyrequests: You have reached your pull rate limit", "docker login docker.io: the limit"),
            ("unauthorized: authentication required", "docker login docker.io, or set baseDockerImage"),
            ("manifest unknown", "set baseDockerImage to an image that can be pulled, or docker login"),
        ],
    )
    def test_what_to_do_where_it_cannot_be_pulled(self, why: str, hint: str) -> None:
        """The hint does not suggest the image that can't be pulled."""
        told = base_image._what_to_do("debian:bookworm-slim", why, "unix:///s", "baseDockerImage")
        assert told.startswith(hint)
        assert "debian" not in told
        assert "set baseDockerImage" in told or "login" in told

    def changed(self, project: DockerProject, *changes: str) -> str:
        """The session's base image with lines of a Dockerfile."""
        engine, name = project.shop.engine, f"amlexec-test/base-{project.shop.session}:{uuid.uuid4().hex[:8]}"
        made = containers.create(engine, {"Image": project.shop.base, "Cmd": ["none"]})
        try:
            images.commit(engine, made, name, changes=changes)
        finally:
            containers.remove(engine, made, force=True)
        project.write("aml_config/docker.compute", project.compute(base=name))
        return name

    def test_with_a_volume_where_environments_are(self, project: DockerProject) -> None:
        name = self.changed(project, 'VOLUME ["/opt"]')
        said = f"aml_config/docker.compute: error: the base image {name} declares the volume /opt: "
        refused(project.prepare(), 2, said, "hint: set baseDockerImage")
        assert nothing_made(project)

    @pytest.mark.parametrize("volume", ["/", "/opt/", "/opt/amlexec", PREFIX, f"{PREFIX}/lib"])
    def test_volumes_that_take_something_of_an_environment(self, volume: str) -> None:
        found = base_image.Base("", "", "", "linux", "amd64", ("/tmp", "/option", volume))
        with pytest.raises(TargetError, match=f"declares the volume {volume}: "):
            base_image.must_keep(found, PREFIX, "x", values.Place("y"))
        base_image.must_keep(
            found._replace(volumes=("/tmp", "/opt/am", "/option")), PREFIX, "x", values.Place("y")
        )

    def test_in_which_the_python_does_not_run(self, project: DockerProject) -> None:
        """It is found out before the image gets the name that makes it an environment."""
        name = self.changed(project, "ENV PYTHONHOME=/nowhere")
        said = f"its Python does not run in a container on {name}: exit code 1"
        refused(project.prepare(), 2, "aml_config/docker.compute: error: ", said, "(ENV, VOLUME")
        digest = project.prepare("--print-digest").out.strip()
        assert project.shop.images(**{"amlexec.digest": digest}) == []
        assert project.prepare("--check").code == 1

    def test_with_settings_that_do_not_apply_to_runs(self, project: DockerProject) -> None:
        self.changed(
            project,
            'ENTRYPOINT ["/bin/false"]',
            "USER 12345:12345",
            "WORKDIR /nowhere/at/all",
            'VOLUME ["/tmp", "/option"]',
            "HEALTHCHECK --interval=1s CMD false",
            "ONBUILD RUN false",
        )
        project.write("train.py", "print('hello')\n")
        done = project.submit("--prepare", "train.py")
        assert done.code == 0, done.err
        assert "hello\n" in done.out

    def test_without_a_shell(self, project: DockerProject) -> None:
        self.base(project, _without(recipe.archive(), "usr/bin/"))
        project.write("train.py", "import os\nassert not os.path.exists('/bin/sh')\nprint('hello')\n")
        done = project.submit("--prepare", "train.py")
        assert done.code == 0, done.err
        assert "hello\n" in done.out

    def test_without_glibc(self, project: DockerProject) -> None:
        """Alpine has musl instead, where a program made for glibc is `no such file` in the same way."""
        name = self.base(project, _without(recipe.archive(), "usr/", "lib"))
        said = f"aml_config/docker.compute: error: the environment's Python does not start on {name}: "
        refused(project.prepare(), 2, said, "hint: baseDockerImage must be an image with glibc")
        assert nothing_made(project)

    def test_for_another_processor(self, project: DockerProject) -> None:
        held = io.BytesIO()
        layer = _without(recipe.archive(), "usr/")
        other = "arm64" if os.uname().machine == "x86_64" else "amd64"
        name = f"amlexec-test/base-{project.shop.session}:{other}"
        labels = {LABEL: project.shop.session}
        told = {"architecture": other, "os": "linux", "config": {"Labels": labels}}
        told["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}"]}
        listed = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        with tarfile.open(fileobj=held, mode="w") as archive:
            files = {"config.json": told, "manifest.json": listed}
            for file, data in {
                **{k: json.dumps(v).encode() for k, v in files.items()},
                "layer.tar": layer,
            }.items():
                entry = tarfile.TarInfo(file)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        engine_images.load(project.shop.engine, held.getvalue())
        project.write("aml_config/docker.compute", project.compute(base=name))
        refused(
            project.prepare(), 2, "aml_config/docker.compute", f"{name} is for ", "docker pull --platform"
        )


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _without(archive: bytes, *beginnings: str) -> bytes:
    """A tar archive without the files and links whose names begin so."""
    held = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=held, mode="w") as new:
        for entry in old:
            if entry.isdir() or not entry.name.startswith(beginnings):
                new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    return held.getvalue()


class TestEngine:
    @pytest.mark.parametrize("verb", [("prepare",), ("prepare", "--check"), ("submit",)])
    def test_that_is_not_running(self, project: DockerProject, tmp_path: Path, verb: tuple[str, ...]) -> None:
        told = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
        script = ["train.py"] if verb == ("submit",) else []
        done = project.amlexec("experiment", *verb, "-c", "docker", *script, env=told)
        refused(done, 2, f"unix://{tmp_path}/docker.sock: error: no Docker engine answers", "hint: ")
        assert project.run_ids() == []

    def test_that_we_may_not_use(self, project: DockerProject, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"{tmp_path}/s")
            listening.listen()
            Path(f"{tmp_path}/s").chmod(0)
            # Even root may not, without the capability to override a file's mode.
            words = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
            done = project.call(
                *words,
                *(sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "docker"),
                env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/s"},
            )
        refused(done, 2, "no permission to use the Docker engine's socket", "usermod -aG docker")

    def test_of_another_platform(self, project: DockerProject) -> None:
        with _speaking("windows") as address:
            done = project.prepare(env={**os.environ, "DOCKER_HOST": address})
        refused(done, 2, address, "runs containers for windows", "hint: switch it to Linux containers")

    def test_whose_registry_has_the_image_no_more(self, project: DockerProject) -> None:
        project.write("aml_config/docker.compute", project.compute(base="microsoft/mmlspark:plus-0.9.9"))
        with _speaking("linux") as address:
            done = project.prepare(env={**os.environ, "DOCKER_HOST": address})
        refused(
            done, 2, "aml_config/docker.compute", "microsoft/mmlspark:plus-0.9.9 can't be pulled: not here"
        )
        assert (
            "hint: images from the Workbench years no longer exist: set baseDockerImage to another"
            in done.err
        )

    def test_without_a_runtime_for_gpus(self, ready: DockerProject) -> None:
        runtimes = ready.shop.engine.info()["Runtimes"]
        assert "nvidia" not in runtimes, "this test is for engines without one"
        ready.write("aml_config/docker.compute", ready.compute("nvidiaDocker: true"))
        # What is installed may be something else where a GPU is.
        assert ready.prepare().code == 0
        done = ready.submit("train.py")
        refused(
            done, 2, "aml_config/docker.compute", "no NVIDIA runtime", "hint: install the NVIDIA Container"
        )
        assert ready.run_ids() == []
        assert ready.containers() == []


@contextlib.contextmanager
def _speaking(system: str) -> Iterator[str]:
    """An engine that is not available here: a small server that answers like one without images."""
    answers: dict[str, object] = {"/version": {"Os": system, "ApiVersion": "1.41"}}
    answers |= {"/images/json": [], "/containers/json": []}

    class Speaker(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/v1.41")
            found = path in answers
            data = json.dumps(answers[path] if found else {"message": "not here"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Speaker) as server, answering(server):
        yield f"tcp://127.0.0.1:{server.server_port}"


def test_a_full_disk_while_an_environment_is_made(project: DockerProject, small_disk: Path) -> None:
    told = {**os.environ, "AMLEXEC_CACHE": str(small_disk / "cache")}
    # On a base image of its own: no other test has made a layer with Python on it.
    base = f"amlexec-test/full:{project.shop.session}"
    new_base(project.shop.engine, project.shop.base, base)
    project.write("aml_config/docker.compute", project.compute(base=base))
    refused(project.prepare(env=told), 2, "disk is full", "hint: ")
    assert nothing_made(project)
    assert list((small_disk / "cache/staging").iterdir()) == [small_disk / "cache/staging/lock"]
    (small_disk / "filler").write_bytes(b"")
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(8 << 20))
    refused(project.prepare(env=told), 2, "hint: ")
    assert project.prepare().code == 0, "and with room it is made"


class TestRun:
    def test_whose_image_is_removed_as_it_starts(self, ready: DockerProject) -> None:
        shop = ready.shop
        ready.write(DEPENDENCIES, shop.conda_for("an image that is removed"))
        assert ready.prepare().code == 0
        told = config.find_project(ready.root)
        target = DockerTarget(told, shop.engine)
        planned = plan(config.load(told, "docker"), "train.py")
        launch = target.check(planned, ensure(planned, target.store(planned)))
        images.remove(shop.engine, launch.image_id, force=True)
        paths = RunPaths(ready.root / ".amlexec/runs/x")
        paths.control.mkdir(parents=True)
        paths.checkout.mkdir()
        held = locks.take(str(paths.lock))
        assert held is not None
        try:
            with pytest.raises(TargetError, match="has just been removed") as caught:
                target.start(paths, planned, launch, held)
        finally:
            held.release()
        assert "experiment prepare -c docker" in caught.value.hint
        refused(ready.submit("train.py"), 2, "its image is no longer on the engine")

    def test_that_runs_out_of_memory(self, ready: DockerProject) -> None:
        if ready.engine.features.is_rootless and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            if is_required("docker"):
                pytest.fail("no control groups of version 2", pytrace=False)
            pytest.skip("without root, an engine limits memory only with control groups of version 2")
        ready.write("train.py", WAITING + "hold = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]\n")
        run_id = ready.submit("--async", "train.py").run_id
        ready.begun(run_id)
        (container,) = ready.containers()
        with ready.shop.engine.asked() as api:
            api.update_container(container["Id"], mem_limit=64 << 20, memswap_limit=64 << 20)
        ready.tell(run_id)
        done = ready.amlexec("experiment", "follow", "-r", run_id)
        assert done.code == 1
        record = ready.record(run_id)
        assert (record["status"], record["exit_code"]) == ("Failed", 137)
        assert "out of" in record["reason"]
        assert "memory" in record["reason"]
        assert record["outputs"] == {"files": 1, "bytes": 1}, "what it wrote before is collected"
        assert ready.containers() == []

    @pytest.mark.parametrize("place", DOCKER, ids=[place.name for place in DOCKER])
    def test_whose_container_is_removed(self, shop: Shop, tmp_path: Path, place: Place) -> None:
        project = DockerProject(tmp_path / "demo", shop, place)
        project.write("train.py", WAITING)
        run_id = project.submit("--prepare", "--async", "train.py").run_id
        project.begun(run_id)
        follower = project.start(sys.executable, "-m", "amlexec", "experiment", "follow", "-r", run_id)
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"begun\n"
        (container,) = project.containers()
        containers.remove(shop.engine, container["Id"], force=True)
        _, err = follower.communicate(timeout=PATIENCE)
        assert follower.returncode in {1, 2}, err
        assert b"Traceback" not in err
        record = project.record(run_id)
        # A reader between its end and its removal sees how it ended.
        assert (record["status"], record["exit_code"]) in {("Lost", None), ("Failed", 137)}
        if record["status"] == "Lost":
            assert record["reason"] == "its container is no longer on the engine"
        assert project.submit("--async", "train.py").code == 0
        assert project.amlexec("experiment", "cancel", "-r", "last", "--grace", "0").code == 0

    @pytest.mark.parametrize("place", DOCKER, ids=[place.name for place in DOCKER])
    @pytest.mark.parametrize("phase", ["recorded", "created", "running", "ended"])
    def test_whose_client_is_killed(self, shop: Shop, tmp_path: Path, place: Place, phase: str) -> None:
        """With kill -9, as soon as the run is in that phase; the state afterwards is always correct."""
        project = DockerProject(tmp_path / "demo", shop, place)
        assert project.prepare().code == 0
        project.write(
            "train.py",
            "import os\nprint('begun', flush=True)\nos.makedirs('outputs', exist_ok=True)\n"
            "for n in range(300):\n    open('outputs/%d' % n, 'w').close()\n",
        )
        for number in range(300):
            project.write(f"data/{number}", str(number))
        seen: dict[str, Callable[[], bool]] = {
            "recorded": lambda: any(name[0] != "." for name in project.run_ids()),
            "created": lambda: bool(project.containers()),
            "running": lambda: any(one["State"] != "created" for one in project.containers()),
            "ended": lambda: any(one["State"] == "exited" for one in project.containers()),
        }
        process = project.start(
            sys.executable, "-m", "amlexec", "experiment", "submit", "-c", place.name, "train.py"
        )
        while not seen[phase]() and process.poll() is None:
            pass
        process.kill()
        process.communicate(timeout=PATIENCE)
        run_id = next(name for name in project.run_ids() if name[0] != ".")

        def is_over() -> bool:
            done = project.amlexec("experiment", "status", "-r", run_id)
            assert done.code == 0, done.err
            return project.record(run_id)["status"] in FINAL

        eventually(is_over, "the run is over")
        record = project.record(run_id)
        if record["status"] == "Completed":
            assert (record["exit_code"], record["outputs"]["files"]) == (0, 300)
            assert (project.run_folder(run_id) / "stdout.log").read_bytes() == b"begun\n"
        else:
            assert record["status"] == "Lost", record
            assert record["reason"] == "amlexec ended before the script began"
        if phase == "recorded":
            # The engine may still be creating the container that it was asked for.
            eventually(lambda: project.amlexec("gc").code == 0 and not project.containers(), "none is left")
        assert project.containers() == []
        assert project.submit("train.py").code == 0


@pytest.fixture(scope="module")
def second() -> Iterator[OwnEngine | EngineMachine]:
    """An engine that tests may stop."""
    if why := why_none():
        if is_required("docker"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    with own_engine() as engine:
        yield engine


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_is_started_again(
    second: OwnEngine | EngineMachine,
    shop: Shop,
    project: DockerProject,
    monkeypatch: pytest.MonkeyPatch,
    how: signal.Signals,
) -> None:
    """While an environment is built, and while a run runs: no state is wrong."""
    monkeypatch.setenv("DOCKER_HOST", second.address)
    second.take(shop.engine, shop.base)
    theirs = project.shop._replace(engine=second.engine)
    project.shop = theirs
    project.write(DEPENDENCIES, shop.conda("six=1.17" if how == signal.SIGKILL else "six=1.16"))
    preparing = project.start(sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "docker")
    assert preparing.stderr is not None
    for line in preparing.stderr:
        if line.startswith(b"copying"):
            break
    preparing.send_signal(signal.SIGSTOP)
    second.end(how)
    preparing.send_signal(signal.SIGCONT)
    out, err = preparing.communicate(timeout=PATIENCE)
    refused(Done(preparing.returncode, out.decode(), err.decode()), 2, second.address)
    second.start()
    done = project.prepare()
    assert done.code == 0, done.err
    assert theirs.containers(**{"amlexec.building": ""}) == []

    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    follower = project.start(sys.executable, "-m", "amlexec", "experiment", "follow", "-r", run_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"begun\n"
    second.end(how)
    _, err = follower.communicate(timeout=PATIENCE)
    assert follower.returncode in {1, 2}, err
    assert b"Traceback" not in err
    unread = project.amlexec("experiment", "status", "-r", run_id)
    if project.record(run_id)["status"] not in FINAL:
        refused(unread, 2, f"{second.address}: error: no Docker engine answers")
        assert project.record(run_id)["end_time_utc"] is None, "an end that nobody read is not written"
    second.start()
    if second.survives:
        assert not _is_over(project, run_id)
        project.tell(run_id)
    eventually(lambda: _is_over(project, run_id), "the engine says how it ended")
    record = project.record(run_id)
    said = (project.run_folder(run_id) / "stdout.log").read_bytes()
    if second.survives:
        assert (record["status"], record["exit_code"], said) == ("Completed", 0, b"begun\ndone\n"), record
    else:
        assert (record["status"], said) == ("Failed", b"begun\n"), record
        assert record["exit_code"] in {137, 143, 255}
    assert project.containers() == []


def _is_over(project: DockerProject, run_id: str) -> bool:
    done: Done = project.amlexec("experiment", "status", "-r", run_id)
    assert done.code == 0, done.err
    found: dict[str, Any] = project.record(run_id)
    return found["status"] in FINAL


def test_an_engine_that_remaps_user_ids(
    shop: Shop, project: DockerProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers can't use folders of this machine: the project is copied in, and outputs copied out."""
    if why := why_none(remapped=True):
        if is_required("docker"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    with own_engine(remapped=True) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        assert any(one.startswith("name=userns") for one in engine.engine.info()["SecurityOptions"])
        engine.take(shop.engine, shop.base)
        project.write(
            "train.py", "import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/a', 'w').close()\n"
        )
        done = project.submit("--prepare", "train.py")
        assert done.code == 0, done.err
        assert "warning: the engine remaps user ids (userns-remap)" in done.err
        made = project.run_folder(done.run_id) / "outputs/a"
        assert made.stat().st_uid == os.getuid()
