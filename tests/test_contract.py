"""Runs on every kind of compute target: one suite for all, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.docker import containers
from amlexec.history import folders
from amlexec.history.record import Run
from amlexec.history.series import read_series
from amlexec.images.labels import reference
from amlexec.models.registry import opened
from amlexec.plan import plan
from amlexec.runs import lifecycle
from amlexec.targets.docker import DockerTarget
from amlexec.targets.environment import ensure
from amlexec.targets.volumes import LocalVolumes
from amlexec.values import Project
from tests.conftest import PATIENCE, ProjectFolder, eventually, until_begun
from tests.engines.places import is_required
from tests.engines.ssh_host import QUIET
from tests.support.kubernetes_place import KUBERNETES, KubernetesProject
from tests.support.places import (
    PLACES,
    ClusterProject,
    DockerProject,
    Place,
    RemoteDockerProject,
    RemoteProject,
    Shop,
    alive,
)
from tests.support.service_place import SERVICE, ServiceProject
from tests.support.slurm import SlurmProject

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from amlexec.history.paths import RunPaths
    from tests.conftest import Done
    from tests.support.engine_hosts import EngineHost

WAITING = (
    "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n"
    "print('done')\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').write('x')\n"
)
_ANYTHING = ["a b", "it's", '"', "$HOME", "x=1", "", "new\nline", "*", "\\", "--async", "ü", "-", "--", "-c"]


@pytest.fixture(scope="session")
def prepared(shop_of_session: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The environment of the suite, prepared once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMLEXEC_CACHE", str(shop_of_session.cache))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        project = DockerProject(tmp_path_factory.mktemp("prepared") / "demo", shop_of_session)
        done = project.prepare()
    assert done.code == 0, done.err
    return shop_of_session


@pytest.fixture(scope="session")
def taken_there(
    prepared: Shop, engine_host_of_session: EngineHost, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same environment on the other machine's engine; other tests cover its build."""
    project = DockerProject(tmp_path_factory.mktemp("taken") / "demo", prepared)
    digest = project.prepare("--print-digest").out.strip()
    engine_host_of_session.take(prepared.engine, reference(digest))


@pytest.fixture(scope="session")
def prepared_there() -> list[str]:
    """The places whose environment was prepared on the shared machine."""
    return []


EVERYWHERE = (*PLACES, SERVICE, KUBERNETES)


@pytest.fixture(params=EVERYWHERE, ids=[place.name for place in EVERYWHERE])
def place(request: pytest.FixtureRequest) -> Place:
    """The kind of place to run on."""
    found: Place = request.param
    return found


@pytest.fixture
def make(
    prepared: Shop,
    prepared_there: list[str],
    shop: Shop,
    place: Place,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Callable[[str], DockerProject]:
    """Create a project in a folder of that name."""
    if place.kind == "remote":
        host, client = request.getfixturevalue("host"), request.getfixturevalue("client")
        client.knows(host)
        client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
        if place.is_prepared and not prepared_there:
            done = RemoteProject(tmp_path / "first", shop, place, host).prepare()
            assert done.code == 0, done.err
            prepared_there.append(place.name)
        return lambda name: RemoteProject(tmp_path / name, shop, place, host)
    if place == SERVICE:
        offered, ready = request.getfixturevalue("service"), request.getfixturevalue("published")
        assert ready == offered.registry
        return lambda name: ServiceProject(tmp_path / name, shop, offered)
    if place == KUBERNETES:
        cluster, ready = request.getfixturevalue("fleet"), request.getfixturevalue("in_fleet")
        assert ready == cluster.registry
        return lambda name: KubernetesProject(tmp_path / name, shop, cluster)
    if place.kind == "cluster":
        head = request.getfixturevalue("spark_head")
        return lambda name: ClusterProject(tmp_path / name, shop, place, head)
    if place.kind == "slurm":
        login = request.getfixturevalue("slurm_head")
        return lambda name: SlurmProject(tmp_path / name, shop, place, login)
    if place.kind == "remotedocker":
        other = request.getfixturevalue("engine_host")
        request.getfixturevalue("taken_there")
        return lambda name: RemoteDockerProject(tmp_path / name, shop, place, other)
    return lambda name: DockerProject(tmp_path / name, shop, place)


@pytest.fixture
def project(make: Callable[[str], DockerProject]) -> DockerProject:
    """A project in a folder named `demo`."""
    return make("demo")


def start(project: DockerProject, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a submit."""
    command = ("-m", "amlexec", "experiment", "submit", "-c", project.place.name, *arguments)
    return project.start(sys.executable, *command, **options)


def test_a_script_runs_in_a_copy_and_is_recorded(project: DockerProject) -> None:
    project.write("data/x.txt", "there")
    project.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / "link").symlink_to("data/x.txt")
    project.write("near.py", "NEAR = 'near'\n")
    project.write(
        "src/train.py",
        "import json, os, signal, sys\nsys.path.insert(0, '')\nimport near\n"
        "assert sys.stdin.read() == ''\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "assert os.path.islink('link') and open('link').read() == 'there'\n"
        "assert os.access('tool.sh', os.X_OK) and not os.access('near.py', os.X_OK) or os.getuid() == 0\n"
        "open('new.txt', 'w').close()\nopen('data/x.txt', 'w').write('changed')\n"
        "assert 'AMLEXEC_PYTHON' not in os.environ\n"
        "version = '.'.join(map(str, sys.version_info[:3]))\n"
        "python = {'path': sys.executable, 'version': version, 'prefix': sys.prefix}\n"
        "print(json.dumps([os.getcwd(), sys.argv, python]))\n",
    )
    before = _tree(project.root)
    done = project.submit("src/train.py", *_ANYTHING)
    assert done.code == 0, done.err
    folder = project.run_folder(done.run_id)
    cwd, argv, python = json.loads((folder / "stdout.log").read_bytes())
    there = f"/home/{QUIET}/.amlexec/runs/{done.run_id}/project"
    places = {"local": f"{folder}/project", "remote": there, "cluster": there, "slurm": there}
    assert cwd == places.get(project.place.kind, "/azureml-run")
    assert argv == ["src/train.py", *_ANYTHING]
    assert (folder / "stdout.log").read_text() in done.out
    assert _tree(project.root) == before
    record = project.record(done.run_id)
    assert (record["status"], record["exit_code"]) == ("Completed", 0)
    assert record["arguments"] == _ANYTHING
    assert record["argv"][-len(_ANYTHING) - 1 :] == ["src/train.py", *_ANYTHING]
    assert record["created_utc"] <= record["start_time_utc"] <= record["end_time_utc"]
    assert record["python"] == python
    assert python["version"].startswith("3.")
    assert record["target_kind"] == project.place.kind
    assert bool(record["environment_digest"]) is project.place.is_prepared
    assert bool(record["image_id"]) is project.place.is_docker
    assert not (folder / "project").exists()
    assert project.containers() == []


@pytest.mark.parametrize(
    "place",
    [place for place in PLACES if place.name == "managed"],
    ids=lambda place: place.name,
    indirect=True,
)
def test_a_prepared_python_that_was_replaced(project: DockerProject) -> None:
    assert isinstance(project, RemoteProject)
    project.write("train.py", "print('here')\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    python = project.record(done.run_id)["python"]["path"]
    project.host.ssh(
        f"mv {python} {python}.kept; printf '#!/bin/sh\\nexec /usr/bin/python3 \"$@\"\\n' >{python}", QUIET
    )
    project.host.ssh(f"chmod +x {python}", QUIET)
    try:
        done = project.submit("train.py")
    finally:
        project.host.ssh(f"mv -f {python}.kept {python}", QUIET)
    assert (done.code, "amlexec: error: this Python is not the prepared one" in done.err) == (2, True)
    record = project.record(done.run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", None)
    assert record["reason"].startswith(
        "the script did not begin: its Python was not the prepared one, but /usr/bin/python3 (3."
    )
    assert (project.run_folder(done.run_id) / "stdout.log").read_bytes() == b""


def _tree(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(root.rglob("*")):
        if ".amlexec" not in path.relative_to(root).parts:
            status = path.lstat()
            found[str(path)] = (status.st_mode, path.read_bytes() if path.is_file() else b"")
    return found


def test_output_is_exact_and_a_failure_has_its_own_code(project: DockerProject) -> None:
    """All bytes of both streams (50 MB) are in the log and in the output; then the script's exit code.

    5 MB at places that copy output in the same way as another one.
    """
    alike = {"docker-copy", "remotedocker-copy", "managed", "cluster", "slurm"}
    blocks = 5 if project.place.name in alike else 50
    project.write(
        "train.py",
        f"import sys\nevery = bytes(range(256))\nblock = every * 4096\nfor _ in range({blocks}):\n"
        "    sys.stdout.buffer.write(block)\nsys.stderr.buffer.write(every)\n"
        "sys.stdout.buffer.write(b'no newline')\nraise SystemExit(7)\n",
    )
    with (project.root.parent / "out").open("wb") as out:
        process = start(project, "train.py", stdout=out)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    (run_id,) = project.run_ids()
    folder = project.run_folder(run_id)
    every = bytes(range(256))
    wanted = every * 4096 * blocks + b"no newline"
    assert hashlib.sha256((folder / "stdout.log").read_bytes()).digest() == hashlib.sha256(wanted).digest()
    if project.place.has_spark:
        assert every in (folder / "stderr.log").read_bytes(), "Spark's own log is there too"
    else:
        assert (folder / "stderr.log").read_bytes() == every
    assert wanted in (project.root.parent / "out").read_bytes()
    assert every in err
    assert b"train.py: error: the script failed: exit code 7" in err
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 7)
    assert project.has_copy(run_id), "it may show why"
    assert project.containers() == []


_NAMES = ("new\nline", "a 'b\"; echo $HOME #ü", "-x")
_ALL_AT_ONCE = "-x 'b\"; echo $HOME #ü\nline"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        *((place, name) for place in PLACES[:2] for name in _NAMES),
        *((place, _ALL_AT_ONCE) for place in EVERYWHERE),
    ],
    ids=lambda value: value.name if isinstance(value, Place) else None,
    indirect=["place"],
)
def test_special_characters_in_names_arguments_and_variables(
    make: Callable[[str], DockerProject], name: str
) -> None:
    """They reach the script, and secrets reach no record."""
    project = make(name)
    project.configure(
        "EnvironmentVariables:",
        "  PLAIN: 0123",
        "  QUOTED: \"a b $HOME 'x'\\nsecond\"",
        "  MY_PASSWORD: hunter22222",
        "  EMPTY: ''",
        "  PYTHONPATH: lib",
    )
    project.write("lib/inside.py", "")
    project.write(f"{name}/{name}.txt", "x")
    project.write(
        f"{name}.py",
        f"import inside, os, sys\nname = {name!r}\n"
        "assert open(os.path.join(name, name + '.txt')).read() == 'x'\n"
        "os.makedirs('outputs', exist_ok=True)\nopen('outputs/' + name, 'w').close()\n"
        "print([os.environ.get(n) for n in ('PLAIN', 'QUOTED', 'MY_PASSWORD', 'EMPTY')], sys.argv[3])\n",
    )
    words = [f"{name}.py", name, "--with", "hunter22222"]
    done = project.submit(*(["--"] if name.startswith("-") else []), *words)
    assert done.code == 0, done.err
    assert "['0123', \"a b $HOME 'x'\\nsecond\", 'hunter22222', ''] hunter22222\n" in done.out
    record, folder = project.record(done.run_id), project.run_folder(done.run_id)
    assert (record["script_name"], record["arguments"]) == (f"{name}.py", [name, "--with", "***"])
    assert (folder / "outputs" / name).exists()
    assert record["environment_variables"]["PLAIN"] == "0123"
    for file in ("run.json", "control.log"):
        assert "hunter22222" not in (folder / file).read_text()


def test_outputs_of_every_kind_are_collected(project: DockerProject) -> None:
    """And processes that the script leaves behind are ended."""
    token = f"601.{os.getpid()}{os.urandom(4).hex().translate(str.maketrans('abcdef', '123456'))}"
    project.write(
        "train.py",
        "import os, subprocess, sys\nsubprocess.Popen(['sleep', sys.argv[1]])\nprint('left')\n"
        "os.makedirs('outputs/deep/er')\nos.makedirs('outputs/empty')\n"
        "open('outputs/a.txt', 'w').write('a')\nopen('outputs/deep/er/b.txt', 'w').write('bb')\n"
        "os.symlink('a.txt', 'outputs/link')\nos.symlink('/nowhere', 'outputs/dangling')\n"
        "os.symlink('deep', 'outputs/folder')\nos.link('outputs/a.txt', 'outputs/hard')\n"
        "open(b'outputs/\\xff\\n', 'w').close()\nos.chmod('outputs/a.txt', 0o400)\n"
        "open('outputs/run.sh', 'w').close()\nos.chmod('outputs/run.sh', 0o755)\n"
        "os.mkfifo('outputs/pipe')\nos.mkdir('outputs/many')\n"
        "for n in range(500):\n    open('outputs/many/%d' % n, 'w').close()\n"
        "os.chmod('outputs/deep', 0o500)\nos.chdir('/')\nprint(oct(os.umask(0)))\n",
    )
    done = project.submit("train.py", token)
    assert done.code == 0, done.err
    assert "left\n" in done.out
    assert not alive(token)
    outputs = project.run_folder(done.run_id) / "outputs"
    assert (outputs / "a.txt").read_text() == (outputs / "hard").read_text() == "a"
    assert (outputs / "a.txt").samefile(outputs / "hard")
    assert (outputs / "deep/er/b.txt").read_text() == "bb"
    assert (outputs / "empty").is_dir()
    links = {name: str((outputs / name).readlink()) for name in ("link", "dangling", "folder")}
    assert links == {"link": "a.txt", "dangling": "/nowhere", "folder": "deep"}
    assert os.access(outputs / "run.sh", os.X_OK)
    assert b"\xff\n" in os.listdir(os.fsencode(outputs))  # noqa: PTH208
    assert len(os.listdir(outputs / "many")) == 500  # noqa: PTH208
    assert {path.lstat().st_uid for path in outputs.rglob("*")} == {os.getuid()}
    # A pipe has no content, and is not collected.
    assert project.record(done.run_id)["outputs"] == {"files": 507, "bytes": 1 + 1 + 2 + 5 + 8}
    assert f"Outputs: 507 files in {outputs}" in done.out


def test_links_and_outputs_that_cannot_be_collected(project: DockerProject) -> None:
    """Links keep their targets, and one bad file does not prevent the others."""
    project.write("kept.txt", "of the project")
    project.write(
        "train.py",
        "import os\nassert os.listdir('outputs') == []\nos.rmdir('outputs')\n"
        "os.makedirs('checkpoints/closed')\nos.makedirs('models/deep')\n"
        "for name in ('checkpoints/7.pt', 'checkpoints/k', 'checkpoints/closed/x', 'models/deep/m'):\n"
        "    open(name, 'w').write(name)\n"
        "os.symlink('checkpoints', 'outputs')\nos.symlink('models', 'link')\n"
        "os.symlink('../kept.txt', 'outputs/kept')\nos.symlink('../link/deep', 'outputs/deep')\n"
        "os.symlink(os.getcwd() + '/models/deep/m', 'outputs/absolute')\n"
        "os.symlink('../outputs/7.pt', 'outputs/last')\nos.symlink('/etc/passwd', 'outputs/passwd')\n"
        "os.symlink('round', 'outputs/round')\nos.mkfifo('outputs/pipe')\n"
        "at = os.getcwd()\nos.chdir('outputs')\n"
        "for n in range(20):\n    os.mkdir('d' * 250)\n    os.chdir('d' * 250)\nopen('end', 'w').close()\n"
        "os.chdir(at)\nos.chmod('outputs/k', 0)\nos.chmod('outputs/closed', 0o300)\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    outputs = project.run_folder(done.run_id) / "outputs"
    if project.place.is_docker and not project.place.volumes and project.engine.features.is_podman:
        # It gives nothing after the path that is too long for it.
        assert (outputs / "7.pt").read_text() == "checkpoints/7.pt"
        (missing,) = project.record(done.run_id)["not_collected"]
        assert (missing["path"], missing["kept"]) == ("checkpoints", True)
        assert "it has a path that is too long for Podman" in done.err
        assert len(project.containers()) == 1
        return
    contents = {
        "7.pt": "checkpoints/7.pt",
        "last": "checkpoints/7.pt",
        "k": "checkpoints/k",
        "closed/x": "checkpoints/closed/x",
        "kept": "of the project",
        "deep/m": "models/deep/m",
        "absolute": "models/deep/m",
    }
    assert {name: (outputs / name).read_text() for name in contents} == contents
    assert str((outputs / "passwd").readlink()) == "/etc/passwd"
    assert str((outputs / "round").readlink()) == "round"
    assert (outputs / ("d" * 250) / ("d" * 250)).is_dir()
    assert not (outputs / "pipe").exists()
    record = project.record(done.run_id)
    told = {one["path"]: (one["reason"], one["kept"]) for one in record["not_collected"]}
    assert told.pop("outputs/passwd")[0].endswith("leads out of the run's copy of the project: /etc/passwd")
    assert told == {"outputs/pipe": ("it is a FIFO", False)}
    assert "warning: outputs/pipe was not collected: it is a FIFO" in done.err
    assert not project.has_copy(done.run_id)


def test_a_copy_is_kept_until_all_outputs_are_collected(project: DockerProject) -> None:
    project.write(
        "train.py", "import os, shutil\nshutil.rmtree('outputs')\nopen('outputs', 'w').write('model')\n"
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    record = project.record(done.run_id)
    reason = {"path": "outputs", "reason": "it is a file, not a folder", "kept": True}
    assert (record["status"], record["not_collected"]) == ("Completed", [reason])
    assert "copy of the project is kept" in done.err
    kept = project.amlexec("experiment", "clean", "--all")
    assert f"amlexec experiment clean -r {done.run_id} removes it" in kept.err
    assert project.has_copy(done.run_id)
    again = project.amlexec("experiment", "return", "-r", done.run_id, "--overwrite")
    assert (again.code, project.record(done.run_id)["not_collected"]) == (0, [reason]), again.err
    assert project.amlexec("experiment", "clean", "-r", done.run_id).code == 0
    assert not project.has_copy(done.run_id)
    assert project.containers() == []
    assert project.record(done.run_id)["not_collected"] == [{**reason, "kept": False}]


def test_metrics_of_both_loggers_and_models_that_go_there_and_come_back(project: DockerProject) -> None:
    project.configure("Models:", "  - given:champion")
    folder = project.write("given/tool", "#!/bin/sh\necho given\n").parent
    (folder / "tool").chmod(0o755)
    project.write("given/deep/weights", "1 2 3")
    registry = opened(Project(str(project.root)))
    registry.register("given", folder)
    registry.promote("given:1", "champion")
    registry.register("given", folder / "deep")  # newer, and not asked for
    project.write(
        "train.py",
        "import os, subprocess\nfrom amlexec.model import path_of\n"
        "place = path_of('given:champion')\n"
        "assert (place, place) == (path_of('given'), path_of('given:1'))\n"
        "print('got', open(os.path.join(place, 'deep/weights')).read())\n"
        "assert subprocess.check_output([os.path.join(place, 'tool')]) == b'given\\n'\n"
        "for name in ('given:2', 'm'):\n    try:\n        path_of(name)\n"
        "    except OSError as error:\n        print(error)\n"
        "from amlexec.run import log\nfrom azureml.logging import get_azureml_logger\n"
        "log('loss', 0.5)\nlog('loss', 0.25)\n"
        "get_azureml_logger().log('Accuracy', 0.9)\n"
        "from amlexec.model import register\n"
        "open('outputs/model.txt', 'w').write('trained')\nregister('m', 'outputs/model.txt')\n"
        "open('beside.txt', 'w').write('beside')\nregister('n', 'beside.txt')\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    record = project.record(done.run_id)
    assert record["metrics"] == {"loss": 0.25, "Accuracy": 0.9}
    assert record["metric_counts"] == {"loss": 2, "Accuracy": 1}
    assert len((project.run_folder(done.run_id) / "metrics.jsonl").read_text().splitlines()) == 3
    registered = json.loads((project.run_folder(done.run_id) / "registered.json").read_text())
    assert [(each["id"], each["problem"]) for each in registered] == [("m:1", ""), ("n:1", "")]
    assert record["models"] == {"given:champion": "given:1"}
    assert "got 1 2 3\n" in done.out
    assert done.out.count("did not come with this run: add it to Models in the run configuration\n") == 2
    assert registry.path(registry.find("m")).read_text() == "trained"
    run = registry.find("n").version.origin.run
    assert run is not None
    assert (run.metrics["Accuracy"], run.path) == (0.9, "outputs/models/n/beside.txt")
    outputs = project.run_folder(done.run_id) / "outputs"
    assert sorted(path.name for path in outputs.iterdir()) == ["model.txt", "models"]
    assert not project.has_copy(done.run_id)
    assert not (project.run_folder(done.run_id) / "models").exists()


LOGGING = """\
import os, time
from amlexec.run import log, tag
log("loss", 0.5, step=10)
print("begun", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
for step in range(3):
    log("loss", 0.25, step=step)
log("text", "\u00fc" * 100)
# As MLflow's client does.
of_mlflow = "outputs/mlruns/0/run"
os.makedirs(of_mlflow + "/metrics")
for name, text in (("metrics/f1", "1500000000000 0.75 1\\n"), ("meta.yaml", "start_time: 1500000000000\\n")):
    with open(of_mlflow + "/" + name, "w") as file:
        file.write(text)
tag("data", "v2")
while not os.path.exists("end"):
    time.sleep(0.02)
print("done")
"""


def test_status_metrics_and_output_of_a_running_run(project: DockerProject) -> None:
    """`--async`; then other shells see its status and metrics, and follow it."""
    project.write("train.py", LOGGING)
    done = project.submit("--async", "train.py")
    assert done.code == 0, done.err
    run_id = done.run_id
    assert f"amlexec experiment status -r {run_id}" in done.err
    project.begun(run_id)
    assert f"{run_id}  Running" in project.amlexec("experiment", "status", "-r", run_id).out
    assert project.record(run_id)["end_time_utc"] is None
    follow = ("-m", "amlexec", "experiment", "follow", "-r", run_id)
    followers = [project.start(sys.executable, *follow) for _ in range(2)]
    for follower in followers:
        until_begun(follower)

    def shown() -> dict[str, object]:
        done = project.amlexec("history", "info", "-r", run_id, "-o", "json")
        assert done.code == 0, done.err
        view = json.loads(done.out)
        return {key: view[key] for key in ("status", "metrics", "metric_counts")}

    assert shown() == {"status": "Running", "metrics": {"loss": 0.5}, "metric_counts": {"loss": 1}}
    project.tell(run_id)
    expected = {"metrics": {"loss": 0.25, "text": "\u00fc" * 100}, "metric_counts": {"loss": 4, "text": 1}}
    everything = {
        "metrics": {**expected["metrics"], "f1": 0.75},
        "metric_counts": {**expected["metric_counts"], "f1": 1},
    }
    # What other loggers write is in the outputs, which are here only if they are not copied at the end.
    now = everything if project.place.mounts else expected
    eventually(lambda: shown() == {"status": "Running", **now}, "the new metrics are shown")
    project.tell(run_id, "end")
    for follower in followers:
        out, err = follower.communicate(timeout=PATIENCE)
        assert follower.returncode == 0, err
        assert b"done\n" in out, "each follower sees the whole output"
    assert shown() == {"status": "Completed", **everything}
    folder = project.run_folder(run_id)
    assert [*read_series(folder / "metrics.jsonl")["loss"].steps] == [10, 0, 1, 2]
    assert json.loads((folder / "tags.jsonl").read_text())["value"] == "v2"
    assert project.record(run_id)["outputs"] == {"files": 2, "bytes": 21 + 26}
    assert project.containers() == []
    again = project.amlexec(*follow[2:])
    assert again.code == 0, again.err
    assert "begun\ndone\n" in again.out, "also of a finished run"


def test_the_shared_directory_ends_with_a_separator_and_stays(project: DockerProject) -> None:
    project.write(
        f"aml_config/{project.place.name}.compute",
        project.compute(f'nativeSharedDirectory: "~/.azureml/{project.place.name}/"'),
    )
    project.write(
        "train.py",
        "import os\nshared = os.environ.get('AZUREML_NATIVE_SHARE_DIRECTORY')\nprint(shared)\n"
        "if shared:\n    assert shared.endswith('/')\n    open(shared + 'model.pkl', 'a').write('x')\n",
    )
    first, second = project.submit("train.py"), project.submit("train.py")
    assert (first.code, second.code) == (0, 0), first.err
    kept = Path(f"~/.azureml/{project.place.name}/demo/model.pkl").expanduser()
    if project.place.mounts:
        assert kept.read_text() == "xx"
        assert "AZUREML_NATIVE_SHARE_DIRECTORY" not in first.err
    elif project.place.kind == "cluster":
        assert "\nNone\n" in first.out
    elif isinstance(project, RemoteProject):
        there = f"/home/{QUIET}/.azureml/{project.place.name}/demo/"
        assert f"\n{there}\n" in first.out
        assert project.host.ssh(f"cat {there}model.pkl") == "xx"
    else:
        assert not kept.exists()
        if project.place.volumes:
            shared = f"/home/{QUIET}/.azureml/{project.place.name}/demo"
            assert "\n/azureml-share/\n" in first.out
            assert project.host.ssh(f"cat {shared}/model.pkl; stat -c %U {shared}") == f"xx{QUIET}\n"
            return
        assert "\nNone\n" in first.out
        assert first.err.count("AZUREML_NATIVE_SHARE_DIRECTORY") == 1
        assert not kept.exists()
    if project.place.name == "docker":
        assert "\n/azureml-share/\n" in first.out


def test_an_invalid_shared_directory(project: DockerProject) -> None:
    project.write("train.py", "")
    project.write("file", "")
    where = f"aml_config/{project.place.name}.compute"
    project.write(where, project.compute(f'nativeSharedDirectory: "{project.root}/file/"'))
    done = project.submit("train.py")
    if project.place.mounts:
        assert done.code == 2
        assert "nativeSharedDirectory" in done.err
        assert "hint: name a folder that you may write to" in done.err
        assert project.run_ids() == []
    else:
        assert done.code == 0, done.err


def test_ctrl_c_detaches_and_the_run_goes_on(project: DockerProject) -> None:
    project.write("train.py", WAITING)
    process = start(project, "train.py")
    until_begun(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (run_id,) = project.run_ids()
    assert f"stopped following; the run {run_id} goes on" in err.decode()
    assert f"amlexec experiment follow -r {run_id}" in err.decode()
    assert f"amlexec experiment cancel -r {run_id}" in err.decode()
    project.tell(run_id)
    done = project.amlexec("experiment", "follow", "-r", "last")
    assert done.code == 0, done.err
    assert "begun\ndone\n" in done.out
    assert project.record(run_id)["status"] == "Completed"


def test_killing_the_client_leaves_the_run_alone(project: DockerProject) -> None:
    project.write("train.py", WAITING)
    process = start(project, "train.py")
    until_begun(process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    (run_id,) = project.run_ids()
    assert "Running" in project.amlexec("experiment", "status", "-r", run_id).out
    project.tell(run_id)

    def is_over() -> bool:
        return "Completed" in project.amlexec("experiment", "status", "-r", run_id).out

    eventually(is_over, "the run ends by itself")
    record = project.record(run_id)
    assert (record["exit_code"], record["outputs"]) == (0, {"files": 1, "bytes": 1})
    assert (project.run_folder(run_id) / "stdout.log").read_bytes() == b"begun\ndone\n"
    assert project.containers() == []


def test_cancel_ends_everything_the_script_started(project: DockerProject) -> None:
    token = f"600.{os.getpid()}{os.urandom(4).hex().translate(str.maketrans('abcdef', '123456'))}"
    project.write(
        "train.py",
        "import os, signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').write('x')\n"
        "subprocess.Popen(['sleep', sys.argv[1]])\nprint('begun', flush=True)\ntime.sleep(600)\n",
    )
    run_id = project.submit("--async", "train.py", token).run_id
    project.begun(run_id)
    done = project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1")
    assert done.code == 0, done.err
    assert f"{run_id}  Canceled" in done.out
    assert not alive(token), "TERM was ignored; KILL is not"
    record = project.record(run_id)
    # spark-submit gets the signal too, and does not wait for its script.
    code = 143 if project.place.has_spark else 137
    assert (record["status"], record["exit_code"]) == ("Canceled", code)
    assert record["outputs"] == {"files": 1, "bytes": 1}
    again = project.amlexec("experiment", "cancel", "-r", run_id)
    assert again.code == 0
    assert "already ended: Canceled" in again.err
    assert project.containers() == []


def test_cancel_lets_a_script_clean_up(project: DockerProject) -> None:
    project.write(
        "train.py",
        "import signal, sys, time\ndef end(*_):\n    print('tidy', flush=True)\n    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('begun', flush=True)\ntime.sleep(600)\n",
    )
    process = start(project, "train.py")
    until_begun(process)
    done = project.amlexec("experiment", "cancel", "-r", "last")
    assert done.code == 0, done.err
    out, err = process.communicate(timeout=PATIENCE)
    assert b"tidy\n" in out or project.place.has_spark
    assert process.returncode == 1, err
    (run_id,) = project.run_ids()
    record = project.record(run_id)
    assert record["status"] == "Canceled"
    # Under Spark, Java may end before it has read the script's exit code.
    assert record["exit_code"] in ({3, 143} if project.place.has_spark else {3})


def test_a_script_killed_by_a_signal(project: DockerProject) -> None:
    project.write("train.py", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = project.submit("train.py")
    assert done.code == 1
    record = project.record(done.run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 137)
    assert "SIGKILL" in record["reason"]


@pytest.mark.parametrize(
    ("place", "code"),
    [*((place, 0) for place in PLACES[:2]), *((place, 1) for place in EVERYWHERE)],
    ids=lambda value: value.name if isinstance(value, Place) else None,
    indirect=["place"],
)
def test_an_untracked_run_leaves_nothing(project: DockerProject, code: int) -> None:
    project.write("train.py", f"print('here')\nraise SystemExit({code})\n")
    project.configure("TrackedRun: false")
    done = project.submit("train.py")
    assert done.code == code, done.err
    assert "here" in done.out
    assert "not tracked" in done.out
    assert project.run_ids() == []
    assert project.containers() == []


def test_simultaneous_submits_are_separate_runs(project: DockerProject) -> None:
    project.write("train.py", "print('x')\n")
    number = 3 if project.place.name in {"local", "docker"} else 2  # the others get their ids in the same way
    together = [start(project, "train.py") for _ in range(number)]
    ended = [process.communicate(timeout=PATIENCE) for process in together]
    assert [process.returncode for process in together] == [0] * number, ended
    assert [project.record(run_id)["status"] for run_id in project.run_ids()] == ["Completed"] * number
    assert project.containers() == []


def by_hand(
    project: DockerProject, uid: int, gid: int, before: Callable[[str], object] = str
) -> tuple[Run, bytes, RunPaths]:
    """Run `train.py` with a target's methods: the run, its output, its paths. `before` gets its id."""
    told = config.find_project(project.root)
    ground = LocalVolumes(told, project.shop.engine, uid=uid, gid=gid)
    target = DockerTarget(told, project.shop.engine, ground)
    planned = plan(config.load(told, project.place.name), "train.py")
    launch = target.check(planned, ensure(planned, target.store(planned)))
    paths, run, held = folders.create(told, Run(**_blank(project)), int(time.time() * 1000))
    paths.checkout.mkdir()
    (paths.checkout / "train.py").write_bytes((project.root / "train.py").read_bytes())
    before(run.run_id)
    out: list[bytes] = []
    try:
        target.start(paths, planned, launch, held)
        state = target.follow(paths, None, out.append, out.append)
        return lifecycle.settle(paths, run, target, state), b"".join(out), paths
    finally:
        held.release()


def test_a_container_name_that_is_taken(prepared: Shop, shop: Shop, tmp_path: Path) -> None:
    """Like two projects with the same name that start a run in the same millisecond."""
    project = DockerProject(tmp_path / "demo", shop)
    project.write("train.py", "print('mine')\n")
    taken = []

    def take(run_id: str) -> None:
        settings = {"Image": shop.base, "Cmd": ["true"]}
        taken.append(containers.create(shop.engine, settings, name=f"amlexec-{run_id}"))

    try:
        done, out, _ = by_hand(project, os.getuid(), os.getgid(), take)
        assert (done.status, out) == ("Completed", b"mine\n")
        assert containers.inspect(shop.engine, taken[0]) is not None
    finally:
        for container in taken:
            containers.remove(shop.engine, container, force=True)


@pytest.mark.parametrize("mounts", [True, False])
def test_an_unknown_user_id_has_a_name_a_home_and_the_outputs(
    prepared: Shop, shop: Shop, tmp_path: Path, mounts: bool
) -> None:
    """With a user id that neither this machine nor the image knows."""
    if os.geteuid() != 0:
        if is_required("docker"):
            pytest.fail("only root may give files to another user", pytrace=False)
        pytest.skip("only root may give files to another user: run the suite as root in a container")
    project = DockerProject(tmp_path / "demo", shop, PLACES[1] if mounts else PLACES[2])
    project.write(
        "train.py",
        "import getpass, os, pwd, subprocess\n"
        "assert (os.getuid(), os.getgid()) == (12345, 12346)\n"
        "assert getpass.getuser() == pwd.getpwuid(12345).pw_name == os.environ['USER']\n"
        "home = os.path.expanduser('~')\nassert home == pwd.getpwuid(12345).pw_dir == os.environ['HOME']\n"
        "open(home + '/.written', 'w').close()\nos.makedirs(home + '/.cache/x')\n"
        "print(subprocess.check_output(['id', '-un']).decode().strip())\n"
        "os.makedirs('outputs/deep')\nopen('outputs/deep/x', 'w').write('x')\n"
        "from amlexec.run import log\nlog('loss', 1)\nopen('beside.txt', 'w').close()\n",
    )
    done, out, paths = by_hand(project, 12345, 12346)
    assert done.status == "Completed", out
    assert out == paths.stdout.read_bytes() == b"user\n"
    assert done.metrics == {"loss": 1}
    for path in (paths.outputs, *paths.outputs.rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346), path
    assert project.containers() == []


def _blank(project: DockerProject) -> dict[str, object]:
    """A new record."""
    told: dict[str, object] = dict.fromkeys(Run._fields, "")
    told |= {"status": "Preparing", "arguments": (), "tracked": True, "environment_variables": {}}
    told |= {"metrics": {}, "target": project.place.name, "target_kind": "docker"}
    nothing = ("argv", "start_time_utc", "end_time_utc", "exit_code", "python", "platform", "snapshot")
    told |= dict.fromkeys((*nothing, "source", "environment_digest", "image_id", "outputs"))
    return told


def test_a_container_has_the_labels_of_its_run(prepared: Shop, shop: Shop, tmp_path: Path) -> None:
    project = DockerProject(tmp_path / f"demo-{shop.session}", shop)  # a unique name
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    (found,) = project.containers()
    record = project.record(run_id)
    assert found["Labels"]["amlexec.run"] == run_id
    assert found["Labels"]["amlexec.project"] == project.root.name
    assert found["Labels"]["amlexec.project.folder"] == str(project.root)
    assert found["Labels"]["amlexec.digest"] == record["environment_digest"]
    assert found["ImageID"] == record["image_id"]
    assert found["Names"] == [f"/amlexec-{run_id}"]
    told = containers.inspect(shop.engine, found["Id"])
    assert told is not None
    assert told["HostConfig"]["Init"] is True
    assert told["HostConfig"]["ShmSize"] == 2 << 30
    project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0")
    assert project.containers() == []


@pytest.mark.parametrize(
    "place",
    [place for place in PLACES if place.kind == "remotedocker"],
    ids=lambda place: place.name,
    indirect=True,
)
def test_another_computer_finds_the_runs_of_an_engine(project: DockerProject, tmp_path: Path) -> None:
    other = ProjectFolder(tmp_path / "other" / "demo")
    other.write("aml_config/box.compute", project.compute())

    def ask(*words: str) -> Done:
        return other.amlexec(*words, "--from", "box")

    def listed() -> dict[str, str]:
        done = ask("history", "list", "-o", "json")
        assert done.code == 0, done.err
        return {one["run_id"]: one["status"] for one in json.loads(done.out)}

    before = listed()
    project.write("train.py", f"{WAITING}from amlexec.run import log\nlog('A', 1)\nraise SystemExit(3)\n")
    first, second = [project.submit("--async", "train.py").run_id for _ in range(2)]
    for run_id in (first, second):
        project.begun(run_id)
    assert listed() == {**before, first: "Running", second: "Running"}
    assert ask("experiment", "status", "-r", second).out == f"{second}  Running\n"
    assert ask("experiment", "clean", "-r", second).code == 3

    # The other computer follows it, and both collect it.
    project.tell(first)
    done = ask("experiment", "follow", "-r", first)
    assert (done.code, "begun\ndone\n" in done.out) == (1, True), done.err
    record = other.record(first)
    assert (record["status"], record["exit_code"], record["metrics"]) == ("Failed", 3, {"A": 1})
    assert (other.run_folder(first) / "outputs/x").read_text() == "x"
    assert project.amlexec("experiment", "status", "-r", first).out.startswith(f"{first}  Failed")
    own = project.record(first)
    assert (own.pop("target"), record.pop("target")) == (project.place.name, "box")
    assert own == record
    assert (project.run_folder(first) / "outputs/x").read_text() == "x"

    # The other computer cancels it, this one sees that; then it is removed.
    done = ask("experiment", "cancel", "-r", second, "-o", "json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "Canceled"), done.err
    assert listed()[second] == "Canceled"
    done = ask("experiment", "return", "-r", second)
    assert done.code == 0, done.err
    assert (other.run_folder(second) / "stdout.log").read_text() == "begun\n"
    assert other.amlexec("experiment", "clean", "--all").code == 0
    assert project.amlexec("experiment", "status", "-r", second).out.startswith(f"{second}  Canceled")
    third = project.submit("--async", "train.py").run_id
    project.begun(third)
    assert ask("experiment", "cancel", "-r", third).code == 0
    assert ask("experiment", "clean", "-r", third).code == 0
    assert listed() == before
    assert project.amlexec("experiment", "status", "-r", third).out.startswith(f"{third}  Lost")
