"""Runs on every kind of compute target: one suite for all, through the command line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Told(NamedTuple):
    """A run that has ended, which several tests look at: none of them changes it."""

    project: DockerProject
    done: Done
    seen: dict[str, Any]
    """What was so at its end, and is not any more."""

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.project.run_folder(self.done.run_id)

    @property
    def record(self) -> dict[str, Any]:
        """Of the run."""
        return self.project.record(self.done.run_id)


@pytest.fixture(scope="session")
def kept() -> dict[tuple[str, str], Any]:
    """Runs that several tests look at, by their names and places."""
    return {}


SPECIAL = "-x 'b\"; echo $HOME #ü\nline"


@pytest.fixture
def whole(
    kept: dict[tuple[str, str], Any],
    make: Callable[[str], DockerProject],
    place: Place,
) -> Told:
    """One run that does what most runs do, whose names are as awkward as may be. Each part has its test."""
    if ("whole", place.name) in kept:
        found: Told = kept["whole", place.name]
        return found
    project = make(SPECIAL)
    _name_specially(project, "Models:", "  - given:champion")
    project.write("data/x.txt", "there")
    project.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / "link").symlink_to("data/x.txt")
    project.write("near.py", "NEAR = 'near'\n")
    folder = project.write("given/tool", "#!/bin/sh\necho given\n").parent
    (folder / "tool").chmod(0o755)
    project.write("given/deep/weights", "1 2 3")
    registry = opened(Project(str(project.root)))
    registry.register("given", folder)
    registry.promote("given:1", "champion")
    registry.register("given", folder / "deep")  # newer, and not asked for
    project.write(f"{SPECIAL}/{SPECIAL}.txt", "x")
    script = f"{SPECIAL}/{SPECIAL}.py"
    parts = (_OF_COPY, _OF_NAMES.format(name=SPECIAL, at=len(_ANYTHING) + 1), _OF_MODELS, _OF_OUTPUTS)
    project.write(script, "".join(parts))
    token = f"601.{os.getpid()}{os.urandom(4).hex().translate(str.maketrans('abcdef', '123456'))}"
    before = _tree(project.root)
    done = project.submit("--", script, *_ANYTHING, SPECIAL, "--with", SECRET, token)
    assert done.code == 0, done.err
    seen = {"token": token, "is_alive": alive(token), "is_changed": _tree(project.root) != before}
    kept["whole", place.name] = Told(project, done, seen)
    return kept["whole", place.name]


_OF_COPY = """\
import json, os, signal, sys
sys.path.insert(0, '')
import near
assert sys.stdin.read() == ''
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
assert os.path.islink('link') and open('link').read() == 'there'
assert os.access('tool.sh', os.X_OK) and not os.access('near.py', os.X_OK) or os.getuid() == 0
open('new.txt', 'w').close()
open('data/x.txt', 'w').write('changed')
assert 'AMLEXEC_PYTHON' not in os.environ
version = '.'.join(map(str, sys.version_info[:3]))
python = {'path': sys.executable, 'version': version, 'prefix': sys.prefix}
print(json.dumps([os.getcwd(), sys.argv, python]))
"""


def test_a_script_runs_in_a_copy_and_is_recorded(whole: Told) -> None:
    project, folder, record, run_id = whole.project, whole.folder, whole.record, whole.done.run_id
    script, last = f"{SPECIAL}/{SPECIAL}.py", whole.seen["token"]
    printed = (folder / "stdout.log").read_bytes()
    cwd, argv, python = json.loads(printed.splitlines()[0])
    there = f"/home/{QUIET}/.amlexec/runs/{run_id}/project"
    places = {"local": f"{folder}/project", "remote": there, "cluster": there, "slurm": there}
    assert cwd == places.get(project.place.kind, "/azureml-run")
    # Its name would be an option.
    assert argv == [f"./{script}", *_ANYTHING, SPECIAL, "--with", SECRET, last]
    assert printed.decode() in whole.done.out
    assert not whole.seen["is_changed"]
    assert (record["status"], record["exit_code"]) == ("Completed", 0)
    arguments = [*_ANYTHING, SPECIAL, "--with", "***", last]
    assert record["arguments"] == arguments
    assert record["argv"][-len(arguments) - 1 :] == [f"./{script}", *arguments]
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

    Where it comes over an engine or a network, 5 MB: more than what any part of the way gets at once.
    """
    blocks = 50 if project.place.kind == "local" else 5
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


_OF_NAMES = """\
import inside, os, sys
name = {name!r}
assert open(os.path.join(name, name + '.txt')).read() == 'x'
os.makedirs('outputs', exist_ok=True)
open('outputs/' + name, 'w').close()
names = ('PLAIN', 'QUOTED', 'MY_PASSWORD', 'EMPTY')
print([os.environ.get(name) for name in names], *sys.argv[{at}:][:3])
"""
SECRET = "hunter22222"


def _name_specially(project: DockerProject, *lines: str) -> None:
    """Give a project variables that a shell or YAML might change, and a secret."""
    project.configure(
        *lines,
        "EnvironmentVariables:",
        "  PLAIN: 0123",
        "  QUOTED: \"a b $HOME 'x'\\nsecond\"",
        f"  MY_PASSWORD: {SECRET}",
        "  EMPTY: ''",
        "  PYTHONPATH: lib",
    )
    project.write("lib/inside.py", "")


def _is_named_specially(project: DockerProject, done: Done, name: str) -> None:
    said = f"['0123', \"a b $HOME 'x'\\nsecond\", '{SECRET}', ''] {name} --with {SECRET}\n"
    assert said in done.out
    record, folder = project.record(done.run_id), project.run_folder(done.run_id)
    assert (folder / "outputs" / name).exists()
    assert record["environment_variables"]["PLAIN"] == "0123"
    for file in ("run.json", "control.log"):
        assert SECRET not in (folder / file).read_text()


@pytest.mark.parametrize("place", PLACES[:2], ids=lambda place: place.name, indirect=True)
@pytest.mark.parametrize("name", ["new\nline", "a 'b\"; echo $HOME #ü", "-x"])
def test_special_characters_in_names_arguments_and_variables(
    make: Callable[[str], DockerProject], name: str
) -> None:
    """They reach the script, and secrets reach no record."""
    project = make(name)
    _name_specially(project)
    project.write(f"{name}/{name}.txt", "x")
    project.write(f"{name}.py", _OF_NAMES.format(name=name, at=1))
    words = [f"{name}.py", name, "--with", SECRET]
    done = project.submit(*(["--"] if name.startswith("-") else []), *words)
    assert done.code == 0, done.err
    _is_named_specially(project, done, name)
    record = project.record(done.run_id)
    assert (record["script_name"], record["arguments"]) == (f"{name}.py", [name, "--with", "***"])


def test_all_special_characters_at_once(whole: Told) -> None:
    _is_named_specially(whole.project, whole.done, SPECIAL)
    assert whole.record["script_name"] == f"{SPECIAL}/{SPECIAL}.py"


_OF_OUTPUTS = """\
import subprocess
subprocess.Popen(['sleep', sys.argv[-1]])
print('left')
os.makedirs('outputs/deep/er')
os.makedirs('outputs/empty')
open('outputs/a.txt', 'w').write('a')
open('outputs/deep/er/b.txt', 'w').write('bb')
os.symlink('a.txt', 'outputs/link')
os.symlink('/nowhere', 'outputs/dangling')
os.symlink('deep', 'outputs/folder')
os.link('outputs/a.txt', 'outputs/hard')
open(b'outputs/\\xff\\n', 'w').close()
os.chmod('outputs/a.txt', 0o400)
open('outputs/run.sh', 'w').close()
os.chmod('outputs/run.sh', 0o755)
os.mkfifo('outputs/pipe')
os.mkdir('outputs/many')
for n in range(500):
    open('outputs/many/%d' % n, 'w').close()
os.chmod('outputs/deep', 0o500)
os.chdir('/')
print(oct(os.umask(0)))
"""


def test_outputs_of_every_kind_are_collected(whole: Told) -> None:
    """And processes that the script leaves behind are ended."""
    assert "left\n" in whole.done.out
    assert not whole.seen["is_alive"]
    outputs = whole.folder / "outputs"
    assert (outputs / "a.txt").read_text() == (outputs / "hard").read_text() == "a"
    assert (outputs / "a.txt").samefile(outputs / "hard")
    assert (outputs / "deep/er/b.txt").read_text() == "bb"
    assert (outputs / "empty").is_dir()
    links = {name: str((outputs / name).readlink()) for name in ("link", "dangling", "folder")}
    assert links == {"link": "a.txt", "dangling": "/nowhere", "folder": "deep"}
    assert os.access(outputs / "run.sh", os.X_OK)
    own = {"a.txt", "dangling", "deep", "empty", "folder", "hard", "link", "many", "run.sh"}
    of_others = {"model.txt", "models", SPECIAL}
    # A pipe has no content, and is not collected.
    assert {*os.listdir(os.fsencode(outputs))} == {b"\xff\n", *map(os.fsencode, own | of_others)}  # noqa: PTH208
    assert len(os.listdir(outputs / "many")) == 500  # noqa: PTH208
    assert {path.lstat().st_uid for path in outputs.rglob("*")} == {os.getuid()}
    size = 1 + 1 + 2 + 5 + 8 + len("trained") + len("beside")
    assert whole.record["outputs"] == {"files": 507 + 3, "bytes": size}
    assert f"Outputs: 510 files in {outputs}" in whole.done.out


class Several(NamedTuple):
    """Runs of one project on a place, which several tests look at."""

    project: DockerProject
    done: list[Done]
    """Of `LINKS` and `KILLED`, which were submitted at once, perhaps with others."""
    containers: list[dict[str, Any]]
    """What was left of these."""
    has_copy: bool
    """Whether `LINKS` had left its copy."""
    last: Done
    """Of `NO_FOLDER`, later."""
    home: Path


@pytest.fixture
def several(kept: dict[tuple[str, str], Any], make: Callable[[str], DockerProject], place: Place) -> Several:
    """Two runs at once, and one after them, which share a directory."""
    if ("several", place.name) in kept:
        found: Several = kept["several", place.name]
        return found
    project = make("demo")
    share = f'nativeSharedDirectory: "~/.azureml/{place.name}/"'
    project.write(f"aml_config/{place.name}.compute", project.compute(share))
    project.write("kept.txt", "of the project")
    scripts = {
        "links.py": LINKS,
        "killed.py": KILLED,
        "src/no_folder.py": NO_FOLDER,
        "short.py": "print('x')\n",
    }
    for name, text in scripts.items():
        project.write(name, text)
    # The others get their ids in the same way.
    at_once = ["links.py", "killed.py", *(["short.py"] if place.name in {"local", "docker"} else [])]
    with ThreadPoolExecutor() as pool:
        done = [*pool.map(project.submit, at_once)]
    assert [each.code for each in done] == [0, 1, 0][: len(done)], [each.err for each in done]
    left, has_copy = project.containers(), project.has_copy(done[0].run_id)
    last = project.submit("src/no_folder.py", "a b")
    assert last.code == 0, last.err
    kept["several", place.name] = Several(project, done, left, has_copy, last, Path.home())
    return kept["several", place.name]


_SHARE = """\
import os
shared = os.environ.get('AZUREML_NATIVE_SHARE_DIRECTORY')
print(shared, flush=True)
if shared:
    assert shared.endswith('/')
    open(shared + 'model.pkl', 'a').write('x')
"""
LINKS = f"""\
{_SHARE}
assert os.listdir('outputs') == []
os.rmdir('outputs')
os.makedirs('checkpoints/closed')
os.makedirs('models/deep')
for name in ('checkpoints/7.pt', 'checkpoints/k', 'checkpoints/closed/x', 'models/deep/m'):
    open(name, 'w').write(name)
os.symlink('checkpoints', 'outputs')
os.symlink('models', 'link')
os.symlink('../kept.txt', 'outputs/kept')
os.symlink('../link/deep', 'outputs/deep')
os.symlink(os.getcwd() + '/models/deep/m', 'outputs/absolute')
os.symlink('../outputs/7.pt', 'outputs/last')
os.symlink('/etc/passwd', 'outputs/passwd')
os.symlink('round', 'outputs/round')
os.mkfifo('outputs/pipe')
at = os.getcwd()
os.chdir('outputs')
for n in range(20):
    os.mkdir('d' * 250)
    os.chdir('d' * 250)
open('end', 'w').close()
os.chdir(at)
os.chmod('outputs/k', 0)
os.chmod('outputs/closed', 0o300)
"""
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
NO_FOLDER = f"""\
{_SHARE}
import shutil, sys
assert sys.argv == ['src/no_folder.py', 'a b']
shutil.rmtree('outputs')
open('outputs', 'w').write('model')
"""


def _is_cut_off(project: DockerProject) -> bool:
    """Whether the engine gives nothing after the path that is too long for it."""
    return project.place.is_docker and not project.place.volumes and project.engine.features.is_podman


def test_simultaneous_submits_are_separate_runs(several: Several) -> None:
    project, ids = several.project, [each.run_id for each in several.done]
    assert len({*ids, several.last.run_id}) == len(ids) + 1 == len(project.run_ids())
    statuses = ["Completed", "Failed", "Completed"][: len(ids)]
    assert [project.record(run_id)["status"] for run_id in ids] == statuses
    assert len(several.containers) == (1 if _is_cut_off(project) else 0)


def test_a_script_killed_by_a_signal(several: Several) -> None:
    record = several.project.record(several.done[1].run_id)
    assert several.done[1].code == 1
    assert (record["status"], record["exit_code"]) == ("Failed", 137)
    assert "SIGKILL" in record["reason"]


def test_links_and_outputs_that_cannot_be_collected(several: Several) -> None:
    """Links keep their targets, and one bad file does not prevent the others."""
    project, done = several.project, several.done[0]
    outputs = project.run_folder(done.run_id) / "outputs"
    if _is_cut_off(project):
        assert (outputs / "7.pt").read_text() == "checkpoints/7.pt"
        (missing,) = project.record(done.run_id)["not_collected"]
        assert (missing["path"], missing["kept"]) == ("checkpoints", True)
        assert "it has a path that is too long for Podman" in done.err
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
    assert record["unread"] == []
    assert record["outputs"]["files"] in {9, 10}, "an engine does not give the file with the longest path"
    assert "warning: outputs/pipe was not collected: it is a FIFO" in done.err
    assert not several.has_copy


def test_the_shared_directory_ends_with_a_separator_and_stays(several: Several) -> None:
    project, first = several.project, several.done[0]
    kept = several.home / f".azureml/{project.place.name}/demo/model.pkl"
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


def test_a_copy_is_kept_until_all_outputs_are_collected(
    several: Several, kept: dict[tuple[str, str], Any]
) -> None:
    project, done = several.project, several.last
    record = project.record(done.run_id)
    reason = {"path": "outputs", "reason": "it is a file, not a folder", "kept": True}
    assert (record["status"], record["not_collected"]) == ("Completed", [reason])
    assert "copy of the project is kept" in done.err
    del kept["several", project.place.name]  # a test after this one makes its own
    cleaned = project.amlexec("experiment", "clean", "--all")
    assert f"amlexec experiment clean -r {done.run_id} removes it" in cleaned.err
    assert project.has_copy(done.run_id)
    again = project.amlexec("experiment", "return", "-r", done.run_id, "--overwrite")
    assert (again.code, project.record(done.run_id)["not_collected"]) == (0, [reason]), again.err
    assert project.amlexec("experiment", "clean", "-r", done.run_id).code == 0
    assert not project.has_copy(done.run_id)
    assert len(project.containers()) == (1 if _is_cut_off(project) else 0)
    assert project.record(done.run_id)["not_collected"] == [{**reason, "kept": False}]


_OF_MODELS = """\
import os, subprocess
from amlexec.model import path_of
place = path_of('given:champion')
assert (place, place) == (path_of('given'), path_of('given:1'))
print('got', open(os.path.join(place, 'deep/weights')).read())
assert subprocess.check_output([os.path.join(place, 'tool')]) == b'given\\n'
for name in ('given:2', 'm'):
    try:
        path_of(name)
    except OSError as error:
        print(error)
from amlexec.run import log
from azureml.logging import get_azureml_logger
log('loss', 0.5)
log('loss', 0.25)
get_azureml_logger().log('Accuracy', 0.9)
from amlexec.model import register
open('outputs/model.txt', 'w').write('trained')
register('m', 'outputs/model.txt')
open('beside.txt', 'w').write('beside')
register('n', 'beside.txt')
"""


def test_metrics_of_both_loggers_and_models_that_go_there_and_come_back(whole: Told) -> None:
    project, done, record, folder = whole.project, whole.done, whole.record, whole.folder
    assert record["metrics"] == {"loss": 0.25, "Accuracy": 0.9}
    assert record["metric_counts"] == {"loss": 2, "Accuracy": 1}
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    registered = json.loads((folder / "registered.json").read_text())
    assert [(each["id"], each["problem"]) for each in registered] == [("m:1", ""), ("n:1", "")]
    assert record["models"] == {"given:champion": "given:1"}
    assert "got 1 2 3\n" in done.out
    assert done.out.count("did not come with this run: add it to Models in the run configuration\n") == 2
    registry = opened(Project(str(project.root)))
    assert registry.path(registry.find("m")).read_text() == "trained"
    run = registry.find("n").version.origin.run
    assert run is not None
    assert (run.metrics["Accuracy"], run.path) == (0.9, "outputs/models/n/beside.txt")
    assert (folder / "outputs/model.txt").exists()
    assert not (folder / "outputs/beside.txt").exists()
    assert not project.has_copy(done.run_id)
    assert not (folder / "models").exists()


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


def test_ctrl_c_detaches_and_the_run_goes_on(project: DockerProject) -> None:
    """Then other shells see its status and metrics, and follow it."""
    project.write("train.py", LOGGING)
    process = start(project, "train.py")
    until_begun(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (run_id,) = project.run_ids()
    assert f"stopped following; the run {run_id} goes on" in err.decode()
    assert f"amlexec experiment follow -r {run_id}" in err.decode()
    assert f"amlexec experiment cancel -r {run_id}" in err.decode()
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
    is_shown = lambda: shown() == {"status": "Running", **now}  # noqa: E731
    eventually(is_shown, "the new metrics are shown", pause=0.5)
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
    again = project.amlexec("experiment", "follow", "-r", "last")
    assert again.code == 0, again.err
    assert "begun\ndone\n" in again.out, "also of a finished run"


@pytest.mark.parametrize("place", PLACES[:2], ids=lambda place: place.name, indirect=True)
def test_an_invalid_shared_directory(project: DockerProject) -> None:
    project.write("train.py", "")
    _share_with_a_file(project)
    done = project.submit("train.py")
    assert done.code == 2
    assert "nativeSharedDirectory" in done.err
    assert "hint: name a folder that you may write to" in done.err
    assert project.run_ids() == []


def _share_with_a_file(project: DockerProject) -> None:
    """Let the shared directory be one that can't be made on this machine."""
    project.write("file", "")
    where = f"aml_config/{project.place.name}.compute"
    project.write(where, project.compute(f'nativeSharedDirectory: "{project.root}/file/"'))


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

    eventually(is_over, "the run ends by itself", pause=0.3)
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
    done = project.submit("--async", "train.py", token)
    assert done.code == 0, done.err
    run_id = done.run_id
    assert f"amlexec experiment status -r {run_id}" in done.err
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


@pytest.mark.parametrize(
    ("place", "code"),
    [*((place, 0) for place in PLACES[:2]), *((place, 1) for place in EVERYWHERE)],
    ids=lambda value: value.name if isinstance(value, Place) else None,
    indirect=["place"],
)
def test_an_untracked_run_leaves_nothing(project: DockerProject, code: int) -> None:
    project.write("train.py", f"print('here')\nraise SystemExit({code})\n")
    project.configure("TrackedRun: false")
    if not project.place.mounts:
        _share_with_a_file(project)  # of this machine: there, it is a folder
    done = project.submit("train.py")
    assert done.code == code, done.err
    assert "here" in done.out
    assert "not tracked" in done.out
    assert project.run_ids() == []
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
