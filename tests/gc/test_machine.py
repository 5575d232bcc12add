"""`amlexec gc` on a machine over SSH: environments, cached packages, mirrors, copies of runs."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.environments import last_prepared
from amlexec.gc import machine_place
from amlexec.history import folders
from amlexec.owner import owner_of
from amlexec.prefixes.remote_prefix import NAME_LENGTH, script
from amlexec.runtime import HERE
from amlexec.values import Project
from tests.engines.ssh_host import QUIET
from tests.gc.test_gc import collected, gone, recorded
from tests.support.places import PLACES, RemoteProject

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.hosts import Client, Host
    from tests.support.places import Shop

REMOTE = next(place for place in PLACES if place.kind == "remote")
MACHINE = Path(machine_place.__file__).with_name("machine.sh").read_text("utf-8")


class Home:
    """A home folder with environments and packages as amlexec makes them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = home / ".amlexec"

    def package(self, name: str, size: int) -> Path:
        """A package in the cache with one large file."""
        path = self.base / "packages" / name / "lib" / "a file.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
        return path

    def environment(self, *packages: Path, project: str = "demo", owner: str = "me") -> str:
        """The digest of an environment that is linked to these packages."""
        digest = uuid.uuid4().hex * 2
        prefix = self.base / "envs" / digest[:NAME_LENGTH] / "abcd"
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin/python").write_text("#!/bin/sh\n" + "#" * 986 + "\n")
        (prefix / "bin/python").chmod(0o755)
        for number, package in enumerate(packages):
            os.link(package, prefix / f"{number}.bin")
        values = {"digest": digest, "python": "3.11", "platform": "x", "project": project, "owner": owner}
        (prefix / "amlexec.json").write_text(json.dumps(values) + "\n")
        return digest

    def run(self, verb: str, *arguments: str, prefix: bool = True) -> list[str]:
        """The lines that a verb prints."""
        host = "".join((HERE / name).read_text("utf-8") for name in ("identity.sh", "host.sh"))
        text = script(verb, more=MACHINE) if prefix else f'{host}\n{verb} "$@"\n'
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        command = ["sh", "-c", text, "sh", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def remote(shop: Shop, tmp_path: Path) -> Callable[..., RemoteProject]:
    """Make a project that runs on a machine, with the machine's own Python."""
    return lambda host: RemoteProject(tmp_path / "demo", shop, REMOTE, host)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_survey_tells_whose_every_file_is(home: Home) -> None:
    both, one = home.package("numpy-1.0-0", 50_000), home.package("six-1.0-0", 3000)
    home.package("unused-1.0-0", 7000)
    first, second = home.environment(both, one), home.environment(both)
    lines = home.run("survey", "me")
    assert {line for line in lines if line.startswith("package")} == {
        "package 50000 0 numpy-1.0-0",
        "package 3000 0 six-1.0-0",
        "package 7000 0 unused-1.0-0",
    }
    assert {line for line in lines if line.startswith("link")} == {
        f"link {first[:NAME_LENGTH]} numpy-1.0-0",
        f"link {first[:NAME_LENGTH]} six-1.0-0",
        f"link {second[:NAME_LENGTH]} numpy-1.0-0",
    }
    sizes = {line.split()[3]: int(line.split()[1]) for line in lines if line.startswith("environment")}
    assert all(1000 < size < 1500 for size in sizes.values()), "without what the cache has, too"


def test_a_project_whose_name_has_two_lines(home: Home) -> None:
    """Its mirror is found as any other, and hides no other."""
    for name in ("two\nlines \\n-1234", "plain-1234"):
        (home.base / "projects" / name).mkdir(parents=True)
    found = machine_place._parsed("\n".join(home.run("survey", "me")))
    assert sorted(found.entries["mirror"]) == ["plain-1234", "two\nlines \\n-1234"]
    assert all(size > 0 for size, _ in found.entries["mirror"].values())


def test_only_unused_packages_and_environments_are_removed(home: Home) -> None:
    used = home.package("numpy-1.0-0", 5000)
    home.package("unused-1.0-0", 7000)
    digest = home.environment(used)
    assert home.run("discard", "package", "numpy-1.0-0", "unused-1.0-0") == [
        "numpy-1.0-0 used",
        "unused-1.0-0 gone",
    ]
    assert used.exists()
    run = home.base / "runs/theirs_1"
    (run / "control").mkdir(parents=True)
    (run / "control/owner").write_text("somebody\n")
    (run / "run.json").write_text(json.dumps({"environment_digest": digest}))
    name = digest[:NAME_LENGTH]
    assert home.run("discard_environment", name, digest, "me") == ["needed"]
    assert home.run("discard_environment", name, digest, "somebody") != ["needed"]
    assert not (home.base / "envs" / name).exists()
    assert not [*(home.base / "incoming").glob("*")]


def test_archives_in_the_file_system_of_a_cluster(home: Home) -> None:
    """Their sizes there, and which environments need Spark's jars."""
    digest, jars = home.environment(), [f"spark-{each * 32}.zip" for each in "01"]
    folder = home.base / "archives"
    folder.mkdir()
    address = "hdfs://head:8020/user/me/.amlexec/archives"
    for name, size in ((f"{digest}.tar.gz", "50\n"), (jars[0], "1000\n"), (jars[1], "")):
        # Earlier versions did not write the size.
        (folder / f"{name}.cluster").write_text(f"{address}/{name}\n/usr/bin/false\nfs\n{size}")
    (folder / f"{jars[0]}.with").write_text(f"-\n{digest}\n../x\n")
    found = machine_place._parsed("\n".join(home.run("survey", "me")))
    assert {name: size for name, (size, _) in found.entries["archive"].items()} == {
        f"{digest}.tar.gz.cluster": 50
    }
    assert {name: size for name, (size, _) in found.entries["jars"].items()} == {jars[0]: 1000, jars[1]: 0}
    assert found.uses == {"-": [jars[0]], digest: [jars[0]]}

    control = home.base / "runs/one_1/control"
    control.mkdir(parents=True)
    (control / "archives").write_text(f"{jars[1]}\n")
    assert home.run("discard", "jars", jars[1]) == [f"{jars[1]} used"]
    (control / "end").write_text("0 1\n")
    # The cluster does not remove it.
    assert home.run("discard", "jars", jars[1]) == [f"{jars[1]} "]
    assert (folder / f"{jars[1]}.cluster").exists()


def test_what_is_being_built_stays(home: Home) -> None:
    home.package("unused-1.0-0", 7000)
    digest = home.environment()
    name = digest[:NAME_LENGTH]
    turn = home.base / "envs" / name / "turn"
    turn.mkdir()
    (turn / "here").write_text("1 1 elsewhere\n")
    assert f"locked {name}" in home.run("survey", "me")
    assert home.run("discard_environment", name, digest, "me") == ["locked"]
    assert home.run("discard", "package", "unused-1.0-0") == ["unused-1.0-0 locked"]
    half = home.base / "envs/aaaa/bbbb"
    half.mkdir(parents=True)
    assert any(line.startswith("unfinished ") and line.endswith(" aaaa") for line in home.run("survey", "me"))
    assert home.run("discard", "unfinished", "aaaa") == ["aaaa gone"]


def test_what_the_runs_of_a_job_array_share(home: Home) -> None:
    """It goes with the last of them, and with a client that was killed before all of it had come."""
    arrays = home.base / "arrays"

    def made(name: str, *runs: str, is_half: bool = False, owner: str = "me") -> Path:
        folder = arrays / name
        (folder / "tree").mkdir(parents=True)
        (folder / "runs").write_text("".join(f"{run}\n" for run in ("gone_1", *runs)))
        for run in runs:
            control = (folder / "made" if is_half else home.base / "runs") / run / "control"
            control.mkdir(parents=True)
            (control / "owner").write_text(f"{owner}\n")
        return folder

    made("used.points", "demo_1", "demo_2")
    made("theirs.points", "demo_3", owner="them")
    half = made("half.points", "demo_4", is_half=True)
    made("empty.points")
    withdrawn = arrays / f".gone.{os.uname().nodename}.{os.getpid()}"
    withdrawn.mkdir()
    (line,) = home.run(f'identify {os.getpid()}; echo "{os.getpid()} $identity $node" #', prefix=False)
    (half / "maker").write_text(f"{line}\n")

    def listed() -> set[str]:
        found = machine_place._parsed("\n".join(home.run("survey", "me")))
        assert found.arrays == {"demo_1": "used.points", "demo_2": "used.points"}
        return {name for kind in ("array", "withdrawn", "incoming") for name in found.entries.get(kind, {})}

    assert listed() == {"used.points", "empty.points"}
    assert home.run("discard", "array", "empty.points") == ["empty.points used"], "something is withdrawn"
    withdrawn.rename(arrays / ".gone.elsewhere.1")
    assert home.run("discard", "array", "empty.points") == ["empty.points used"]
    (arrays / ".gone.elsewhere.1").rename(arrays / f".gone.{os.uname().nodename}.{2**22 + 1}")
    names = ("used.points", "half.points", "empty.points")
    assert home.run("discard", "array", *names) == [
        "used.points used",
        "half.points used",
        "empty.points gone",
    ]
    (half / "maker").write_text(f"{2**22 + 1} 1 {os.uname().nodename}\n")
    gone = f"gone.{os.uname().nodename}.{2**22 + 1}"
    assert listed() == {"used.points", "half.points", gone}
    assert home.run("discard", "withdrawn", gone) == [f"{gone} gone"]
    assert home.run("discard", "array", "half.points") == ["half.points gone"]
    (home.base / f"incoming/gc.{2**22 + 1}").mkdir()
    assert listed() == {"used.points", f"gc.{2**22 + 1}"}
    assert home.run("discard", "incoming", f"gc.{2**22 + 1}") == [f"gc.{2**22 + 1} gone"]
    assert listed() == {"used.points"}


def test_a_mirror_goes_unless_a_submission_uses_it(home: Home) -> None:
    mirror = home.base / "projects/demo-1"
    (mirror / "tree").mkdir(parents=True)
    (mirror / "id").write_text("0\n")
    (mirror / "lock").mkdir()
    assert home.run("discard", "demo-1", prefix=False) == ["used"]
    (mirror / "lock").rmdir()
    reader = mirror / "reader.x.1"
    (line,) = home.run(f'identify {os.getpid()}; echo "{os.getpid()} $identity $node" #', prefix=False)
    reader.write_text(f"{line}\n")
    assert home.run("discard", "demo-1", prefix=False) == ["used"]
    assert (mirror / "id").exists()
    reader.unlink()
    assert home.run("discard", "demo-1", prefix=False) == ["gone"]
    assert not mirror.exists()
    assert home.run("discard", "demo-1", prefix=False) == ["gone"]


def test_on_a_machine(
    remote: Callable[..., RemoteProject],
    new_host: Callable[..., Host],
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = new_host()
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    project = remote(host)
    place = Project(str(project.root))
    project.write("train.py", "raise SystemExit(1)\n")
    failed, other = project.submit("train.py").run_id, project.submit("train.py").run_id
    assert project.has_copy(failed)
    home = f"/home/{QUIET}/.amlexec"
    made = Home(project.root.parent / "home")
    used, unused = made.package("numpy-1.0-0", 50_000), made.package("six-1.0-0", 3000)
    needed, free = made.environment(used), made.environment(unused)
    owned = {"project": "demo", "owner": owner_of(place)}
    for path in made.base.glob("envs/*/abcd/amlexec.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **owned}) + "\n")
    theirs = made.environment(project="another")
    archive = subprocess.run(["tar", "-cf", "-", "-C", str(made.base), "."], capture_output=True, check=True)
    host.ssh(f"tar -xf - -C {home}", QUIET, input=archive.stdout)
    kept = recorded(project, 1, environment_digest=needed, target=project.place.name, target_kind="remote")
    found = collected(project, "-t", project.place.name)
    assert gone(found, "environment") == [free[:NAME_LENGTH]]
    assert gone(found, "package") == ["six-1.0-0"]
    assert {*host.ssh(f"ls {home}/envs").split()} == {needed[:NAME_LENGTH], theirs[:NAME_LENGTH]}
    assert host.ssh(f"ls {home}/packages").split() == ["numpy-1.0-0"]
    assert project.has_copy(failed)
    found = collected(project, "--keep-last", "1")
    assert {*gone(found)} == {failed, kept.folder.name}
    assert gone(found, "copy") == [failed]
    assert not project.has_copy(failed)
    assert project.has_copy(other)
    assert gone(found, "environment") == [needed[:NAME_LENGTH]]
    assert gone(found, "package") == ["numpy-1.0-0"]
    assert last_prepared.digests(place) == set()
    monkeypatch.setenv("AMLEXEC_CACHE", str(project.root.parent / "cache"))  # the other goes on
    assert gone(collected(project, "--max", "1B", code=2), "mirror") == [owner_of(place)]
    assert host.ssh(f"ls {home}/projects").split() == []
    assert {*host.ssh(f"ls {home}/envs").split()} == {theirs[:NAME_LENGTH]}


def test_a_machine_that_does_not_answer_keeps_its_runs(
    remote: Callable[..., RemoteProject], host: Host, client: Client
) -> None:
    project = remote(host)
    client.configure("127.0.0.1", "Port 1", "ConnectTimeout 1")
    project.write(
        f"aml_config/{project.place.name}.compute", "type: remote\naddress: 127.0.0.1:1\nusername: x\n"
    )
    here = recorded(project, 1)
    there = recorded(project, 2, target=project.place.name, target_kind="remote")
    found = collected(project, "--keep-last", "0", code=2)
    assert gone(found) == [here.folder.name]
    assert folders.read(there).status == "Completed"
    assert len(found["problems"]) == 1
