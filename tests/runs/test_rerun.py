"""`amlexec experiment rerun`: the same code, environment, arguments and variables, and what can't be."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import images
from amlexec.environments import resolved_lock
from amlexec.errors import TargetError, UsageError
from amlexec.runs.rerun_arguments import overridden, variables
from amlexec.runs.rerun_sources import Sources
from amlexec.snapshots import take as snapshot
from amlexec.values import Project
from tests.support import own_package
from tests.support.places import LABEL, PLACES, DockerProject, RemoteProject, Shop, new_base
from tests.support.records import RUN

if TYPE_CHECKING:
    from tests.conftest import Done, ProjectFolder
    from tests.support.hosts import Client, Host

SCRIPT = """\
import json, os, sys
os.makedirs("outputs", exist_ok=True)
with open("outputs/told.json", "w") as file:
    variables = {"word": os.environ.get("WORD"), "key": os.environ.get("API_KEY")}
    json.dump({"arguments": sys.argv[1:], **variables}, file)
"""
MANAGED = next(place for place in PLACES if place.name == "managed")


def rerun(project: ProjectFolder, run_id: str, *arguments: str) -> Done:
    return project.amlexec("experiment", "rerun", run_id, *arguments)


def told(project: ProjectFolder, done: Done) -> dict[str, object]:
    assert done.code == 0, done
    found: dict[str, object] = json.loads((project.run_folder(done.run_id) / "outputs/told.json").read_text())
    return found


@pytest.mark.parametrize(
    ("recorded", "given", "wanted"),
    [
        ("--lr 0.1 data.csv", "--lr 0.2", "--lr 0.2 data.csv"),
        ("--lr=0.1 data.csv", "--lr 0.2", "--lr=0.2 data.csv"),
        ("--lr 0.1", "--lr=0.2", "--lr 0.2"),
        ("--lr 0.1 -n 3", "-n -4 --new", "--lr 0.1 -n -4 --new"),
        ("--layers 64 32 --x", "--layers 16 8", "--layers 16 8 --x"),
        ("--quick data.csv", "--quick", "--quick data.csv"),
        ("--quick --lr 1", "--quick yes", "--quick yes --lr 1"),
        ("data.csv", "", "data.csv"),
    ],
)
def test_an_option_replaces_the_recorded_one(recorded: str, given: str, wanted: str) -> None:
    run = RUN._replace(arguments=tuple(recorded.split()))
    assert overridden(run, given.split()) == tuple(wanted.split())


def test_what_can_not_be_replaced_by_name_is_an_error() -> None:
    run = RUN._replace(arguments=("--f", "a", "--f", "b", "--api-key", "***"))
    for given, message in [
        (["more.csv"], "'more.csv' belongs to no option"),
        (["--f", "c"], "has the option --f 2 times"),
        (["--lr", "1"], "argument 6 of  is a secret that was not recorded: --api-key"),
    ]:
        with pytest.raises(UsageError) as caught:
            overridden(run, given)
        assert message in caught.value.message
        assert "--replace" in caught.value.hint
    assert overridden(run, ["--api-key", "new"])[-1] == "new"
    assert overridden(run, ["more.csv", "--f"], replace=True) == ("more.csv", "--f")


def test_secret_variables_are_given_again() -> None:
    run = RUN._replace(environment_variables={"WORD": "x", "API_KEY": "***", "TOKEN": "${env:HUB}"})
    with pytest.raises(UsageError) as caught:
        variables(run, {}, {})
    assert caught.value.message.endswith("because secrets are not recorded: HUB, API_KEY")
    assert "set HUB in the environment" in caught.value.hint
    assert "declare API_KEY in EnvironmentVariables" in caught.value.hint
    found = variables(run, {"API_KEY": "${env:KEY}"}, {"HUB": "1", "KEY": "2"})
    assert dict(found) == {"WORD": "x", "API_KEY": "${env:KEY}", "TOKEN": "${env:HUB}"}


def test_a_rerun_executes_what_was_recorded(project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("train.py", SCRIPT)
    lines = "EnvironmentVariables:\n  WORD: one two\n  API_KEY: ${env:MY_KEY}\n"
    project.write("aml_config/local.runconfig", f"Target: local\nFramework: Python\n{lines}")
    monkeypatch.setenv("MY_KEY", "first-secret")
    first = project.submit("train.py", "--lr", "0.1", "it's\nhere")
    wanted = {"arguments": ["--lr", "0.1", "it's\nhere"], "word": "one two", "key": "first-secret"}
    assert told(project, first) == wanted
    # The project has moved on: its code, its variables, and its run configuration.
    project.write("train.py", "raise SystemExit(3)\n")
    project.write("new.py", "")
    (project.configuration / "local.runconfig").unlink()
    monkeypatch.setenv("MY_KEY", "second-secret")
    again = rerun(project, first.run_id)
    assert told(project, again) == {**wanted, "key": "second-secret"}
    before, record = project.record(first.run_id), project.record(again.run_id)
    assert record["rerun_of"] == first.run_id
    assert before["rerun_of"] is None
    same = ("snapshot", "source", "script_name", "arguments", "environment_variables", "framework", "target")
    assert [record[key] for key in same] == [before[key] for key in same]
    assert "second-secret" not in json.dumps(record)
    # Of a rerun too; options of amlexec may follow the id.
    third = rerun(project, again.run_id, "-o", "json", "--lr", "0.2")
    assert third.code == 0, third.err
    assert json.loads(third.out)["arguments"] == ["--lr", "0.2", "it's\nhere"]
    assert json.loads(third.out)["rerun_of"] == again.run_id
    monkeypatch.delenv("MY_KEY")
    refused = rerun(project, first.run_id)
    assert (refused.code, len(project.run_ids())) == (3, 3)
    assert "have to be given again, because secrets are not recorded: MY_KEY" in refused.err


def test_a_run_without_its_snapshot_is_refused(project: ProjectFolder) -> None:
    project.write("train.py", SCRIPT)
    first = project.submit("train.py")
    shutil.rmtree(project.root / ".amlexec/snapshots.git")
    refused = rerun(project, first.run_id)
    assert refused.code == 2
    assert f"the snapshot of {first.run_id} no longer exists" in refused.err
    assert project.run_ids() == [first.run_id]


def test_another_python_is_named_before_anything_starts(project: ProjectFolder) -> None:
    project.write("train.py", SCRIPT)
    first = project.submit("train.py")
    record = project.run_folder(first.run_id) / "run.json"
    values = json.loads(record.read_text())
    values["python"]["version"] = "3.6.1"
    record.write_text(json.dumps(values))
    refused = rerun(project, first.run_id)
    assert refused.code == 2
    assert "can't be repeated exactly: the run used Python 3.6.1" in refused.err
    assert "hint: --accept-changes" in refused.err
    assert project.run_ids() == [first.run_id]
    accepted = rerun(project, first.run_id, "--accept-changes")
    assert accepted.code == 0, accepted.err
    assert "warning: the run used Python 3.6.1" in accepted.err


def test_packages_that_have_changed_are_named(project: ProjectFolder, tmp_path: Path) -> None:
    import venv

    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv/lib").glob("python3*/site-packages")
    for name in ("numpy-1.26.4.dist-info", "Old_Tool-2-py3.11.egg-info", "same-1.0.dist-info"):
        (site / name).mkdir()
    project.write("aml_config/local.compute", f"type: local\npythonLocation: {tmp_path}/venv/bin/python\n")
    project.write("train.py", SCRIPT)
    first = project.submit("train.py")
    assert first.code == 0, first.err
    name = project.record(first.run_id)["environment_lock"]
    text = resolved_lock.path_of(Project(str(project.root)), name).read_text()
    assert text == f"# in {site}\nOld_Tool 2\nnumpy 1.26.4\nsame 1.0\n"
    assert not (project.run_folder(first.run_id) / "packages.txt").exists()
    (site / "new-1.0.dist-info").mkdir()
    again = rerun(project, first.run_id)
    assert again.code == 0, again.err
    (site / "numpy-1.26.4.dist-info").rename(site / "numpy-2.0.1.dist-info")
    (site / "Old_Tool-2-py3.11.egg-info").rmdir()
    changed = "numpy 1.26.4 -> 2.0.1, old-tool 2 was removed"
    refused = rerun(project, first.run_id)
    assert (refused.code, len(project.run_ids())) == (2, 2)
    assert f"have changed: {changed}\n" in refused.err
    # Another interpreter of the same version is asked.
    (tmp_path / "venv").rename(tmp_path / "moved")
    project.write("aml_config/local.compute", f"type: local\npythonLocation: {tmp_path}/moved/bin/python\n")
    refused = rerun(project, first.run_id)
    assert f"have changed: {changed}\n" in refused.err
    assert rerun(project, first.run_id, "--accept-changes").code == 0


@pytest.fixture
def docker(tmp_path: Path, shop: Shop) -> DockerProject:
    """A project in a container with conda packages, a wheel and a package of its own."""
    lines = ("--no-index", f"--find-links {shop.wheels}", "tabulate", "-e ./lib")
    project = DockerProject(tmp_path / "demo", shop, conda=shop.conda("six=1.16", pip=lines))
    own_package.write(project, "lib", "libx", "WORD = 'first'\n")
    project.write(
        "train.py",
        "import libx, six, tabulate\n"
        "open('outputs/versions', 'w').write(' '.join([six.__version__, tabulate.__version__, libx.WORD]))\n",
    )
    return project


def versions(project: DockerProject, done: Done) -> str:
    assert done.code == 0, done
    return (project.run_folder(done.run_id) / "outputs/versions").read_text()


def environments(project: DockerProject) -> None:
    """Remove every environment of a project."""
    assert project.amlexec("experiment", "clean", "--environments").code == 0


def test_an_environment_is_built_again_from_its_lock(docker: DockerProject, shop: Shop) -> None:
    first = docker.submit("--prepare", "train.py")
    assert versions(docker, first) == "1.16.0 0.9.0 first"
    before = docker.record(first.run_id)
    # The run's own environment is used, whatever the project's files are now.
    docker.write("aml_config/conda_dependencies.yml", "broken: [\n")
    own = rerun(docker, first.run_id)
    assert versions(docker, own) == "1.16.0 0.9.0 first"
    assert docker.record(own.run_id)["image_id"] == before["image_id"]
    # The dependencies and the package of the project have changed since, and no environment is left.
    docker.write("aml_config/conda_dependencies.yml", shop.conda("six=1.17"))
    docker.write("lib/libx.py", "WORD = 'second'\n")
    environments(docker)
    shutil.rmtree(shop.cache, ignore_errors=True)
    again = rerun(docker, first.run_id)
    assert versions(docker, again) == "1.16.0 0.9.0 first"
    assert "solving" not in again.err
    record = docker.record(again.run_id)
    assert record["environment_lock"] == before["environment_lock"]
    # Found now, by its lock; and what the run configuration was prepared with last is not forgotten.
    third = rerun(docker, first.run_id)
    assert versions(docker, third) == "1.16.0 0.9.0 first"
    assert "building" not in third.err
    assert docker.record(third.run_id)["image_id"] == record["image_id"]
    assert "six 1.16 -> 1.17" in docker.prepare("--check").out


def test_what_is_gone_is_named_before_anything_starts(
    tmp_path: Path, docker: DockerProject, shop: Shop
) -> None:
    channel = tmp_path / "channel"
    shutil.copytree(shop.channel.removeprefix("file://"), channel)
    docker.write("aml_config/conda_dependencies.yml", shop.conda("six", channel=channel.as_uri()))
    docker.write("train.py", "import six\nopen('outputs/versions', 'w').write(six.__version__)\n")
    first = docker.submit("--prepare", "train.py")
    assert versions(docker, first) == "1.17.0"
    environments(docker)
    shutil.rmtree(shop.cache, ignore_errors=True)
    for at in channel.glob("noarch/six-1.17*"):
        at.unlink()
    data = channel / "noarch/repodata.json"
    repodata = json.loads(data.read_text())
    del repodata["packages"]["six-1.17.0-py_0.tar.bz2"]
    data.write_text(json.dumps(repodata))
    images_before = {one["Id"] for one in shop.images()}
    refused = rerun(docker, first.run_id)
    assert refused.code == 2
    assert "packages of its environment are gone: " in refused.err
    assert "six-1.17.0-py_0.tar.bz2 no longer exists" in refused.err
    assert "conda_dependencies.yml of its snapshot would be solved anew for docker" in refused.err
    assert docker.run_ids() == [first.run_id]
    assert {one["Id"] for one in shop.images()} == images_before
    # The whole channel is gone: then nothing can be used instead.
    channel.rename(tmp_path / "away")
    for options, message in (
        ((), "packages of its environment are gone: "),
        (("--accept-changes",), channel.name),
    ):
        unreachable = rerun(docker, first.run_id, *options)
        assert (unreachable.code in {2, 3}, message in unreachable.err) == (True, True), unreachable
        assert docker.run_ids() == [first.run_id]
    (tmp_path / "away").rename(channel)
    accepted = rerun(docker, first.run_id, "--accept-changes")
    assert versions(docker, accepted) == "1.16.0"
    assert "warning: packages of its environment are gone" in accepted.err
    assert (
        docker.record(accepted.run_id)["environment_lock"] != docker.record(first.run_id)["environment_lock"]
    )


def test_the_base_image_is_pulled_by_its_digest(tmp_path: Path, shop: Shop, registry: str) -> None:
    """Its tag has moved since, and no registry but that one ever had it."""
    tag = f"{registry}/team/{uuid.uuid4().hex[:8]}:1"

    def publish(label: str) -> None:
        new_base(shop.engine, shop.base, tag, label, f"{LABEL}={shop.session}")
        images.push(shop.engine, tag)
        images.remove(shop.engine, tag, force=True)

    publish("base=first")
    project = DockerProject(tmp_path / "demo", shop, conda=shop.conda("six=1.16"))
    project.write("aml_config/docker.compute", project.compute(base=tag))
    project.write("train.py", "open('outputs/versions', 'w').write('1')\n")
    first = project.submit("--prepare", "train.py")
    assert versions(project, first) == "1"
    environments(project)
    images.remove(shop.engine, tag, force=True)
    publish("base=second")
    again = rerun(project, first.run_id)
    assert versions(project, again) == "1"
    record = project.record(again.run_id)
    found = images.inspect(shop.engine, record["image_id"])
    assert found is not None
    assert found["Config"]["Labels"]["base"] == "first"
    assert record["environment_lock"] == project.record(first.run_id)["environment_lock"]


@pytest.mark.parametrize("name", ["../../beside.yml", "linked/beside.yml"])
def test_nothing_outside_the_snapshot_is_written(tmp_path: Path, project: ProjectFolder, name: str) -> None:
    """A snapshot may come from a stranger."""
    outside = tmp_path / "beside.lock"
    outside.write_text("mine")
    (project.root / "linked").symlink_to(tmp_path)
    project.write("train.py", "")
    own = Project(str(project.root))
    with Sources(own, snapshot.take(own).tree) as sources:
        root = Path(sources.project.root)
        (root.parent / "beside.lock").write_text("mine")
        with pytest.raises(TargetError, match="outside of the project"):
            sources.with_lock(name, "version: 6\n")
        assert (root / "train.py").exists()
        assert [path.read_text() for path in (outside, root.parent / "beside.lock")] == ["mine", "mine"]
    assert not root.exists()


def test_a_run_of_a_version_without_locks(docker: DockerProject) -> None:
    docker.write("aml_config/conda_dependencies.yml", docker.shop.conda_for("a run without a lock"))
    docker.write("train.py", "import six\nopen('outputs/versions', 'w').write(six.__version__)\n")
    first = docker.submit("--prepare", "train.py")
    path = docker.run_folder(first.run_id) / "run.json"
    values = json.loads(path.read_text())
    del values["environment_lock"], values["rerun_of"]
    path.write_text(json.dumps(values))
    # Its image is still here, by its id.
    assert versions(docker, rerun(docker, first.run_id)) == "1.17.0"
    images.remove(docker.shop.engine, values["image_id"], force=True)
    refused = rerun(docker, first.run_id)
    assert refused.code == 2
    assert "no resolved lock of its environment was kept" in refused.err
    assert versions(docker, rerun(docker, first.run_id, "--accept-changes")) == "1.17.0"


def test_a_run_goes_to_another_kind_of_target(
    tmp_path: Path, shop: Shop, client: Client, host: Host, docker: DockerProject
) -> None:
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    first = docker.submit("--prepare", "train.py")
    other = RemoteProject(tmp_path / "other", shop, MANAGED, host)
    shutil.copy(other.configuration / "managed.compute", docker.configuration / "managed.compute")
    again = rerun(docker, first.run_id, "-t", "managed", "--verify")
    assert (again.code, again.out[:10]) == (0, "verified: "), again
    (run_id,) = set(docker.run_ids()) - {first.run_id}
    before, record = docker.record(first.run_id), docker.record(run_id)
    assert (record["target"], record["target_kind"]) == ("managed", "remote")

    def packages(name: str) -> list[str]:
        text = resolved_lock.path_of(Project(str(docker.root)), name).read_text()
        return [line for line in text.splitlines() if "sha256" in line and not line.startswith("#")]

    assert packages(record["environment_lock"]) == packages(before["environment_lock"])
    local = rerun(docker, first.run_id, "-t", "local")
    assert local.code == 2
    assert (
        "the run used an environment that amlexec had prepared; the Python of local would be used"
        in local.err
    )


NUMBERS = """\
import random, sys
from amlexec.run import log
random.seed(sys.argv[2])
for step in range(3):
    log("loss", random.random(), step=10 * step)
log("nothing", float("nan"))
open("outputs/model", "w").write("%r\\n" % random.random())
"""


def test_a_rerun_is_verified(project: ProjectFolder) -> None:
    project.write("train.py", NUMBERS)
    first = project.submit("train.py", "--seed", "1")
    equal = rerun(project, first.run_id, "--verify")
    assert equal.code == 0, equal
    (second,) = set(project.run_ids()) - {first.run_id}
    size = (project.run_folder(first.run_id) / "outputs/model").stat().st_size
    assert equal.out == f"verified: {second} equals {first.run_id}: 1 output ({size} bytes), 2 metrics\n"
    assert "Executing user inputs" in equal.err
    differs = rerun(project, first.run_id, "--verify", "-o", "json", "--seed", "2")
    assert differs.code == 1, differs
    found = json.loads(differs.out, parse_constant=lambda name: pytest.fail(name))
    assert (found["equal"], found["rerun_of"]) == (False, first.run_id)
    (output, metric) = found["differences"]
    assert (output["kind"], output["name"]) == ("output", "model")
    assert output["at"] is not None
    assert (metric["kind"], metric["name"], metric["at"]) == ("metric", "loss", 0)
    assert metric["note"] == f"step 0 is {metric['before']}, then {metric['after']}"
    close = rerun(project, first.run_id, "--verify", "--atol", "1", "--seed", "2")
    assert (close.code, close.out.count("differs: ")) == (1, 1), close
    assert "differs: outputs/model: byte " in close.out
    assert close.out.endswith("1 of 1 output, 0 of 2 metrics\n")
    failed = rerun(project, first.run_id, "--verify", "--replace")
    assert failed.code == 1
    assert "differs: status: Completed, then Failed\ndiffers: exit_code: 0, then 1\n" in failed.out
    assert rerun(project, first.run_id, "--verify", "--async").code == 3
    assert rerun(project, first.run_id, "--rtol", "1").code == 3
    assert rerun(project, first.run_id, "--verify", "--rtol", "much").code == 3


def test_a_script_that_began_with_a_dash(project: ProjectFolder) -> None:
    project.write("-x.py", SCRIPT)
    first = project.submit("--", "-x.py", "--target", "5")
    again = rerun(project, first.run_id, "--", "--target", "6")
    assert told(project, again)["arguments"] == ["--target", "6"]
