"""`doit prepare`, and other commands for environments: their requests, messages and side effects."""

from __future__ import annotations

import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import containers, images
from tests.conftest import PATIENCE
from tests.support.places import LABEL, DockerProject, Shop, new_base

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = "it was never prepared here"
GONE = "its image is no longer on the engine"


class Watch:
    """A proxy of an engine's socket that counts requests."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = f"unix://{folder}/watched.sock"
        self.count = 0
        self._engine = address.removeprefix("unix://")
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.address.removeprefix("unix://"))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        callers = []
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                break
            self.count += 1
            callers.append(threading.Thread(target=self._pass_on, args=(caller,)))
            callers[-1].start()
        for thread in callers:
            thread.join()

    def _pass_on(self, caller: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with caller, engine:
            engine.connect(self._engine)
            to = {caller: engine, engine: caller}
            while True:
                for source in select.select([*to], [], [])[0]:
                    piece = source.recv(1 << 16)
                    if not piece:
                        return
                    to[source].sendall(piece)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def watch(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    watched = Watch(tmp_path_factory.mktemp("s"), shop.engine.address)
    monkeypatch.setenv("DOCKER_HOST", watched.address)
    yield watched
    watched.close()


@pytest.fixture
def demo(shop: Shop, tmp_path: Path) -> DockerProject:
    """A project with a docker and a local target, a unique name and a unique environment.

    Its base image has another name than that of the session, which makes the environment another one, but it
    is the same image: conda layers that another test has built are not built again.
    """
    name = f"demo-{uuid.uuid4().hex[:8]}"
    base = f"amlexec-test/{name}:1"
    images.tag(shop.engine, shop.base, base)
    project = DockerProject(tmp_path / name, shop)
    project.write("aml_config/docker.compute", project.compute(base=base))
    return project


@pytest.fixture
def alone(demo: DockerProject) -> DockerProject:
    """The same, with conda layers that no other test has."""
    shop, base = demo.shop, f"amlexec-test/{demo.root.name}:1"
    new_base(shop.engine, shop.base, base, f"{LABEL}={shop.session}")
    return demo


def image_of(project: DockerProject, name: str = "docker") -> str:
    digest = project.amlexec("experiment", "prepare", "-c", name, "--print-digest").out.strip()
    return f"amlexec:{digest[:20]}"


def again(project: DockerProject, name: str, *lines: str) -> None:
    """Write another run configuration."""
    text = (project.configuration / "docker.runconfig").read_text()
    project.write(f"aml_config/{name}.runconfig", "\n".join([text, *lines]))


def info(project: DockerProject, name: str = "docker") -> str:
    """The reason that `doit info` gives."""
    done = project.doit("info", f"prepare:{name}")
    assert done.code in {0, 1}, done.err
    assert " at 0x" not in done.out
    lines = done.out.splitlines()
    # A reason that ends in a colon is followed by files.
    told = [line[3:] for line in lines if line.startswith(" * ") and not line.endswith(":")]
    return (told or [line.partition(": ")[2] for line in lines if line.startswith("reason ")])[0]


def test_each_build_has_a_reason(demo: DockerProject) -> None:
    assert info(demo) == NEVER
    first = demo.doit("prepare")
    assert first.code == 0, first.err
    assert ".  prepare:docker" in first.out
    assert "docker: prepared for the first time" in first.out
    assert f"docker: {NEVER}" in first.err
    image = image_of(demo)
    second = demo.doit("prepare")
    assert f"-- prepare:docker (up to date: the engine has {image})" in second.out
    assert "-- prepare:local (the environment of a local target is yours; nothing to prepare)" in second.out
    assert f"the engine has {image}" in info(demo)

    path = demo.configuration / "conda_dependencies.yml"
    path.write_text(f"# a comment\n{path.read_text()}")
    assert f"the engine has {image}" in info(demo)
    done = demo.doit("prepare:docker")
    assert f".  prepare:docker\ndocker: nothing to do, up to date: the engine has {image}\n" == done.out
    assert done.err == ""
    assert f"-- prepare:docker (up to date: the engine has {image})" in demo.doit("prepare").out

    path.write_text(path.read_text().replace("- six", "- six=1.16.0"))
    reason = info(demo)
    assert reason.startswith("aml_config/conda_dependencies.yml:6: six any -> ")
    assert reason.endswith("1.16.0")
    changed = demo.doit("prepare:docker")
    assert f"docker: prepared: {reason}" in changed.out, changed.err

    assert images.remove(demo.shop.engine, image_of(demo))
    assert "up to date when last checked: " in info(demo), "the engine was not asked"
    assert GONE in demo.prepare("--check").out
    assert info(demo) == GONE
    assert f"docker: prepared: {GONE}" in demo.doit("prepare:docker").out
    assert f"the engine has {image_of(demo)}" in info(demo)


def test_equal_environments_are_built_once_and_looked_up_once(demo: DockerProject, watch: Watch) -> None:
    again(demo, "second", "EnvironmentVariables: {A: b}")
    demo.write("aml_config/third.yml", demo.shop.conda("idna"))
    third = (demo.configuration / "docker.runconfig").read_text().replace("conda_dependencies", "third")
    demo.write("aml_config/third.runconfig", third)
    done = demo.doit("prepare")
    assert done.code == 0, done.err
    made = [line for line in done.out.splitlines() if line.endswith("prepared for the first time")]
    assert made == ["docker: prepared for the first time", "third: prepared for the first time"]
    assert f"second: nothing to do, up to date: the engine has {image_of(demo)}\n" in done.out
    assert done.err.count("solving") == 2
    watch.count = 0
    assert demo.doit("prepare").out.count("-- prepare:") == 4
    assert watch.count == 2, "one request for each environment"


def test_commands_that_only_look_do_not_connect(demo: DockerProject, watch: Watch) -> None:
    for arguments in (
        ("list", "--all", "--status"),
        ("info", "prepare:docker"),
        ("info", "submit:docker"),
        ("lint",),
    ):
        assert demo.doit(*arguments).code in {0, 1}
    assert demo.prepare("--print-digest").code == 0
    assert watch.count == 0
    assert not (demo.root / ".amlexec/environments").exists(), "looking creates no files"
    assert demo.prepare("--check").code == 1
    assert watch.count > 0


def test_the_digest_needs_no_engine_and_no_solver(demo: DockerProject) -> None:
    program = (
        "import sys\nfor name in ('rattler', 'asyncio', 'docker', 'requests', 'amlexec.docker.probe'):\n"
        "    sys.modules[name] = None\n"
        "from amlexec.cli import run\n"
        "sys.exit(run(['experiment', 'prepare', '-c', 'docker', '--print-digest']))\n"
    )
    done = demo.call(sys.executable, "-c", program)
    assert done.code == 0, done.err
    assert len(done.out.strip()) == 64


def test_a_lookup_is_one_request(demo: DockerProject, watch: Watch) -> None:
    assert demo.prepare().code == 0
    watch.count = 0
    assert "up to date" in demo.prepare().out
    assert watch.count == 1
    program = (
        "import sys\nfor name in ('docker', 'requests', 'http.client', 'plumbum'):\n"
        "    sys.modules[name] = None\n"
        "from amlexec.cli import run\nsys.exit(run(['experiment', 'prepare', '-c', 'docker']))\n"
    )
    done = demo.call(sys.executable, "-c", program)
    assert done.code == 0, done.err
    assert "up to date" in done.out


def test_another_reporter_changes_nothing(demo: DockerProject) -> None:
    assert demo.doit("prepare").code == 0
    images.remove(demo.shop.engine, image_of(demo))
    done = demo.doit("-r", "zero", "prepare")
    assert done.code == 0
    assert f"docker: prepared: {GONE}" in done.out


def test_two_processes_of_doit(demo: DockerProject) -> None:
    again(demo, "second")
    done = demo.doit("-n", "2", "prepare")
    assert done.code == 0, done.err
    assert done.err.count("solving") == 1


def test_a_broken_file_stops_only_itself(demo: DockerProject) -> None:
    demo.write("aml_config/broken.runconfig", "Target: [\n")
    listed = demo.doit("list", "--all")
    assert listed.code == 0
    assert "prepare:broken" in listed.out
    assert "aml_config/broken.runconfig:" in info(demo, "broken")
    done = demo.doit("--continue", "prepare")
    assert done.code == 3
    assert "aml_config/broken.runconfig:" in done.err
    assert "docker: prepared for the first time" in done.out
    assert "Traceback" not in done.err


def test_exit_codes(demo: DockerProject, monkeypatch: pytest.MonkeyPatch) -> None:
    demo.write("aml_config/conda_dependencies.yml", demo.shop.conda("no-such-package"))
    done = demo.doit("prepare:docker")
    assert done.code == 3
    assert "aml_config/conda_dependencies.yml:5" in done.err
    monkeypatch.setenv("DOCKER_HOST", f"unix://{demo.root}/nobody.sock")
    done = demo.doit("prepare:docker")
    assert done.code == 2
    assert "no Docker engine answers" in done.err
    assert demo.doit("prepare:local").code == 0
    cleaned = demo.doit("clean", "prepare:docker")
    assert cleaned.code == 2
    assert "Traceback" not in cleaned.err
    demo.write("aml_config/docker.compute", "type: batchai\n")
    assert demo.doit("prepare:docker").code == 3


def test_submit_prepares_if_the_file_says_so(demo: DockerProject) -> None:
    demo.write("train.py", "import six\nprint('six', six.__version__)\n")
    refused = demo.doit("submit:docker", "script=train.py")
    assert refused.code == 2
    assert f"not ready: {NEVER}" in refused.err
    demo.configure("PrepareEnvironment: true")
    done = demo.doit("submit:docker", "script=train.py")
    assert done.code == 0, done.err
    assert done.out.startswith(".  prepare:docker\ndocker: prepared for the first time\n.  submit:docker\n")
    assert "six 1.17.0" in done.out
    assert done.err.count("solving") == 1
    again = demo.doit("submit:docker", "script=train.py")
    assert again.out.startswith("-- prepare:docker (up to date: ")
    digest = demo.amlexec("experiment", "prepare", "-c", "docker", "--print-digest").out.strip()
    assert {demo.record(one)["environment_digest"] for one in demo.run_ids()} == {digest}


def test_a_run_uses_the_environment_that_its_task_prepared(demo: DockerProject) -> None:
    """Not the one that the files declare since then, which was not prepared."""
    demo.configure("PrepareEnvironment: true")
    demo.write("train.py", "import six\nprint('six', six.__version__)\n")
    demo.write(
        "dodo.py",
        "from amlexec.tasks import *  # noqa: F403\nimport pathlib\n"
        "def edit(digest):\n"
        "    print('digest', digest)\n"
        "    path = pathlib.Path('aml_config/conda_dependencies.yml')\n"
        "    path.write_text(path.read_text().replace('- six', '- six=1.16.0'))\n"
        "def task_edit():\n"
        "    return {'actions': [edit], 'getargs': {'digest': ('prepare:docker', 'digest')},\n"
        "            'task_dep': ['prepare:docker'], 'verbosity': 2}\n",
    )
    image = image_of(demo)
    done = demo.doit("edit", "submit:docker", "script=train.py")
    assert done.code == 0, done.err
    assert "six 1.17.0" in done.out
    digest = demo.record(done.run_id)["environment_digest"]
    assert f"digest {digest}\n" in done.out
    assert image == f"amlexec:{digest[:20]}"
    assert "six 1.16.0" in demo.doit("submit:docker", "script=train.py").out


@pytest.mark.parametrize("mode", [(), ("-n", "2"), ("-n", "2", "-P", "thread")], ids=" ".join)
def test_runs_that_wait_for_one_environment(demo: DockerProject, mode: tuple[str, ...]) -> None:
    demo.configure("PrepareEnvironment: true")
    again(demo, "second")
    demo.write("train.py", "import six\nprint('six', six.__version__)\n")
    done = demo.doit(*mode, "submit:docker", "submit:second", "script=train.py")
    assert done.code == 0, done.err
    assert done.err.count("solving") == 1
    assert done.out.count("six 1.17.0") == 2
    assert len(demo.run_ids()) == 2


def test_nothing_is_locked_while_a_script_runs(demo: DockerProject) -> None:
    """Other commands list, lint, prepare and submit meanwhile, and doit's state has the results of both."""
    demo.configure("PrepareEnvironment: true")
    demo.write("train.py", "print('hello')\n")
    demo.write(
        "wait.py",
        "import pathlib, time\nprint('begun', flush=True)\n"
        "go = pathlib.Path('/azureml-share/go')\nwhile not go.exists(): time.sleep(0.05)\n",
    )
    share = demo.root / "share" / demo.root.name
    share.mkdir(parents=True)
    text = (demo.configuration / "docker.compute").read_text()
    demo.write("aml_config/docker.compute", f"{text}nativeSharedDirectory: share\n")
    demo.write(".amlignore", "share\n")
    first = demo.start(sys.executable, "-m", "doit", "submit:docker", "script=wait.py")
    assert first.stdout is not None
    try:
        while (line := first.stdout.readline()) != b"begun\n":
            assert line, first.communicate()
        for words in (
            ["list", "--all", "--status"],
            ["lint"],
            ["prepare"],
            ["submit:docker", "script=train.py"],
        ):
            done = demo.doit(*words)
            assert (done.code, "waiting for" in done.err) == (0, False), (words, done.err)
        assert first.poll() is None
    finally:
        (share / "go").touch()
        out, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, (out, err)
    assert len(demo.run_ids()) == 2
    assert "-- prepare:docker" in demo.doit("prepare:docker").out


def test_clean_removes_layers_that_no_environment_uses(alone: DockerProject) -> None:
    again(alone, "second")
    text = alone.shop.conda("six", pip=(f"{alone.shop.wheels}/colorama-0.4.6-py2.py3-none-any.whl",))
    alone.write("aml_config/other.yml", text)
    alone.write("aml_config/conda_dependencies.yml", alone.shop.conda("six", "pip"))
    third = (alone.configuration / "docker.runconfig").read_text().replace("conda_dependencies", "other")
    alone.write("aml_config/third.runconfig", third)
    assert alone.doit("prepare").code == 0
    first, third = image_of(alone), image_of(alone, "third")
    layer = _layer(alone, first)
    assert layer == _layer(alone, third), "they differ in their pip section"

    told = alone.doit("clean", "--dry-run", "prepare:docker")
    assert f"prepare:docker: {first}: would be removed" in told.out
    assert _is_there(alone, first)

    done = alone.doit("clean", "prepare:docker")
    assert done.code == 0, done.err
    assert f"prepare:docker: {first}: removed" in done.out
    assert layer not in done.out
    assert [_is_there(alone, name) for name in (first, third, layer)] == [False, True, True]
    assert info(alone) == GONE

    done = alone.amlexec("experiment", "clean", "--environments")
    assert done.code == 0, done.err
    assert f"{third}: removed" in done.err
    assert f"{layer}: removed" in done.err
    assert " MB freed" in done.err
    assert [_is_there(alone, name) for name in (third, layer)] == [False, False]
    assert f"docker: prepared: {GONE}" in alone.doit("prepare:docker").out


def _layer(project: DockerProject, image: str) -> str:
    found = images.inspect(project.shop.engine, image)
    assert found is not None
    below = images.inspect(project.shop.engine, found["Parent"])
    assert below is not None
    return next(name for name in below["RepoTags"] if name.startswith("amlexec-conda:"))


def _is_there(project: DockerProject, name: str) -> bool:
    return images.inspect(project.shop.engine, name) is not None


def test_environments_of_other_projects_are_kept(demo: DockerProject, tmp_path: Path) -> None:
    assert demo.doit("prepare:docker").code == 0
    image = image_of(demo)
    mine = f"amlexec-test/mine-{uuid.uuid4().hex[:8]}:1"
    new_base(demo.shop.engine, image, mine, "own=yes")
    stranger = DockerProject(tmp_path / f"stranger-{uuid.uuid4().hex[:8]}", demo.shop)
    stranger.write("aml_config/docker.compute", (demo.configuration / "docker.compute").read_bytes())
    assert f"the engine has {image}" in stranger.doit("prepare:docker").out
    done = stranger.doit("clean", "prepare:docker")
    assert f"{image}: kept: it was built for the project {demo.root.name}" in done.out
    assert "0 images removed" in stranger.amlexec("experiment", "clean", "--environments").err
    assert _is_there(demo, image)

    assert demo.amlexec("experiment", "clean", "--environments").code == 0
    assert _is_there(demo, mine)
    # An image that was built on it inherits its labels, but is not the environment.
    assert f"docker: prepared: {GONE}" in demo.doit("prepare:docker").out


def test_clean_keeps_environments_in_use(demo: DockerProject) -> None:
    assert demo.doit("prepare:docker").code == 0
    image = image_of(demo)
    used = containers.create(demo.shop.engine, {"Image": image, "Cmd": ["none"]})
    try:
        done = demo.doit("clean", "prepare:docker")
        assert done.code == 0, done.err
        assert f"{image}: kept: it is in use" in done.out
    finally:
        containers.remove(demo.shop.engine, used, force=True)
    assert _is_there(demo, image)


def test_clean_all_removes_leftovers_of_killed_processes(demo: DockerProject) -> None:
    demo.write("train.py", "print('x')\n")
    run_id = demo.submit("--prepare", "train.py").run_id
    engine, image = demo.shop.engine, image_of(demo)

    def container(run: str, project: str = str(demo.root)) -> str:
        # With the labels of earlier versions; now the folder has a separate label.
        labels = {"amlexec.run": run, "amlexec.project": project}
        return containers.create(engine, {"Image": image, "Cmd": ["none"], "Labels": labels})

    over, gone, foreign = container(run_id), container("nobody_1"), container(run_id, "/another/project")
    ended = subprocess.Popen(["true"])
    ended.wait()
    runs = demo.root / ".amlexec/runs"
    dead, living = runs / f".new-{ended.pid}-00000000", runs / f".new-{os.getpid()}-00000000"
    for folder in (dead, living):
        (folder / "control").mkdir(parents=True)
    done = demo.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    there = [containers.inspect(engine, one) is not None for one in (over, gone, foreign)]
    containers.remove(engine, foreign, force=True)
    assert there == [False, False, True]
    assert [dead.exists(), living.exists()] == [False, True]
    assert "the container of the run nobody_1 removed" in done.err
    assert "1 unfinished run folder removed" in done.err
    assert demo.record(run_id)["status"] == "Completed"


def test_refresh_rebuilds_only_if_the_base_image_has_moved(demo: DockerProject) -> None:
    assert demo.prepare().code == 0
    engine, image = demo.shop.engine, image_of(demo)
    first = _id(demo, image)
    done = demo.prepare("--refresh")
    assert "up to date" in done.out, done.err
    assert _id(demo, image) == first
    text = (demo.configuration / "docker.compute").read_text()
    base = next(line.split()[1] for line in text.splitlines() if line.startswith("baseDockerImage"))
    new_base(engine, base, base, "amlexec-test.moved=yes")
    assert "up to date" in demo.prepare().out, "the digest has the tag, not the image that it names"
    done = demo.prepare("--refresh")
    assert done.code == 0, done.err
    reason = f"the base image {base} has moved"
    assert f"docker: prepared: {reason}" in done.out
    assert _id(demo, image) != first
    assert images.inspect(engine, first) is None, "the old image is removed"
    assert reason in json.loads((demo.root / ".amlexec/environments/docker.json").read_text())["reason"]
    assert "up to date" in demo.prepare("--refresh").out


def _id(project: DockerProject, name: str) -> str:
    found = images.inspect(project.shop.engine, name)
    assert found is not None
    return str(found["Id"])


def test_a_dockerfile_builds_the_same_environment(demo: DockerProject, tmp_path: Path) -> None:
    wheel = f"{demo.shop.wheels}/colorama-0.4.6-py2.py3-none-any.whl"
    demo.write("aml_config/conda_dependencies.yml", demo.shop.conda("six=1.16.0", pip=(wheel,)))
    assert demo.prepare().code == 0
    printed = demo.prepare("--print-dockerfile")
    assert printed.code == 0, printed.err
    context = tmp_path / "context"
    assert demo.prepare("--context", str(context)).code == 0
    assert (context / "Dockerfile").read_text() == printed.out
    assert "colorama" in (context / "requirements.txt").read_text()
    made = f"amlexec-test/{demo.root.name}:dockerfile"
    _build(demo, context, made)
    assert _packages(demo, made) == _packages(demo, image_of(demo))
    assert "six 1.16.0" in _packages(demo, made)
    assert "colorama 0.4.6" in _packages(demo, made)
    refused = demo.prepare("--context", str(context))
    assert refused.code == 3
    assert "is not an empty folder" in refused.err


def _build(project: DockerProject, context: Path, name: str) -> None:
    archive = subprocess.run(["tar", "-C", str(context), "-c", "."], capture_output=True, check=True).stdout
    with project.shop.engine.asked(patient=True) as api:
        given = io.BytesIO(archive)
        said = list(api.build(fileobj=given, custom_context=True, tag=name, forcerm=True, decode=True))
    assert any("Successfully built" in str(one.get("stream")) for one in said), said


def _packages(project: DockerProject, image: str) -> list[str]:
    program = (
        "import importlib.metadata as m, sys\nprint(sys.version.split()[0], sys.prefix)\n"
        "for d in sorted(m.distributions(), key=lambda d: d.name): print(d.name, d.version)\n"
    )
    engine = project.shop.engine
    container = containers.create(engine, {"Image": image, "Cmd": ["python", "-c", program]})
    try:
        containers.start(engine, container)
        assert containers.wait(engine, container, timeout=60) == 0
        with containers.logs(engine, container) as output:
            return b"".join(frame.data for frame in output).decode().splitlines()
    finally:
        containers.remove(engine, container, force=True)


def test_a_dockerfile_contains_no_password(demo: DockerProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-hunter2")
    lines = (
        "--index-url https://me:sesame-open@packages.invalid/simple",
        "idna",
        "six @ https://${TOKEN}@x.invalid/six.whl",
    )
    demo.write("aml_config/conda_dependencies.yml", demo.shop.conda(pip=lines))
    from amlexec import progress
    from amlexec.config import load as config
    from amlexec.images import dockerfile
    from amlexec.prepare.project import ProjectEnvironments

    environments = ProjectEnvironments(config.find_project(demo.root))
    request = environments.wanted(environments.ref("docker")).request
    recipe = dockerfile.recipe(demo.shop.engine, request, "docker", progress.Lines())
    told = recipe.text + "".join(text for _, text in recipe.requirements)
    assert "packages.invalid" in told
    assert "sesame" not in told
    assert "hunter2" not in told


def test_options_that_do_not_apply_to_a_local_target(demo: DockerProject) -> None:
    for option in (("--print-digest",), ("--print-dockerfile",), ("--push", "x.invalid/y")):
        done = demo.amlexec("experiment", "prepare", "-c", "local", *option)
        assert done.code == 3, option
        assert f"{option[0]} does not apply to local" in done.err
    done = demo.amlexec("experiment", "prepare", "-c", "local", "--check", "-o", "json")
    assert json.loads(done.out)["ready"] is True
