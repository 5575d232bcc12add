"""Conda environments on a machine over SSH: built once, atomically, also by several users at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from amlexec.prefixes.remote_prefix import NAME_LENGTH
from tests.conftest import PATIENCE
from tests.engines import packages
from tests.engines.serving import serve
from tests.engines.ssh_host import QUIET
from tests.packages.test_conda_bootstrap import channel_of
from tests.support.places import PLACES, RemoteProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.hosts import Client, Host

MANAGED = next(place for place in PLACES if place.name == "managed")
HOME = f"/home/{QUIET}"
ENVIRONMENTS = f"{HOME}/.amlexec/envs"
NEVER = "it was never prepared here"
COMMAND = (sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "managed")


class ManagedProject(RemoteProject):
    """A project with a unique environment: the spelling of its dependencies is unique."""

    own = ""

    def conda(self, *specs: str, pip: tuple[str, ...] = (), channel: str = "") -> None:
        """Write the dependencies."""
        self.own = self.own or f"six>=0.{uuid.uuid4().int % 10**9}"
        self.write(
            "aml_config/conda_dependencies.yml", self.shop.conda(self.own, *specs, pip=pip, channel=channel)
        )

    @property
    def folder(self) -> str:
        """The environment's folder, even if it does not exist yet."""
        digest = self.prepare("--print-digest").out.strip()
        return f"{ENVIRONMENTS}/{digest[:NAME_LENGTH]}"

    def listed(self, what: str) -> str:
        """The output of `ls` on the machine; "" if there is nothing."""
        return self.host.ssh(f"ls -A {what} 2>/dev/null || :").strip()


@pytest.fixture
def make(shop: Shop, client: Client, tmp_path: Path) -> Callable[..., ManagedProject]:
    """Create a project of that name whose environment is on that machine."""

    def made(name: str, host: Host) -> ManagedProject:
        client.knows(host)
        client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
        project = ManagedProject(tmp_path / name, shop, MANAGED, host)
        project.conda()
        return project

    return made


@pytest.fixture
def project(make: Callable[..., ManagedProject], host: Host) -> ManagedProject:
    """A project in a folder named `demo`, on the shared machine."""
    return make("demo", host)


@pytest.fixture
def count(client: Client, tmp_path: Path) -> Callable[[], int]:
    """The number of `ssh` calls since the last count."""
    program, log = Path(shutil.which("ssh") or ""), tmp_path / "calls"
    assert program.is_relative_to(tmp_path)
    program.write_text(program.read_text().replace("exec ", f'echo "$*" >>{log}\nexec ', 1))

    def counted() -> int:
        calls = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return len([one for one in calls if "-O" not in one.split()])

    return counted


def test_an_environment_is_built_once(project: ManagedProject, count: Callable[[], int]) -> None:
    project.write(
        "train.py", "import os, six, sys\nprint(sys.prefix, os.environ['CONDA_PREFIX'], os.environ['PATH'])\n"
    )
    refused = project.submit("train.py")
    assert refused.code == 2
    assert f"managed: error: the environment of managed is not ready: {NEVER}" in refused.err
    assert "hint: amlexec experiment prepare -c managed, or submit with --prepare" in refused.err
    assert project.prepare("--check").code == 1
    first = project.prepare("-o", "json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    name = f"~/.amlexec/envs/{told['digest'][:NAME_LENGTH]}"
    assert (told["ready"], told["reason"], told["platform"]) == (
        True,
        "prepared for the first time",
        packages.subdir(),
    )
    assert told["folder"].startswith(f"{HOME}{name[1:]}/")
    marker = json.loads(project.host.ssh(f"cat {told['folder']}/amlexec.json"))
    assert (marker["digest"], marker["python"], marker["project"]) == (told["digest"], told["python"], "demo")
    assert {"python", "six"} <= {one[0] for one in marker["packages"]["conda"]}
    # The sent files are removed, and everything else is private to its user.
    assert project.listed(f"{HOME}/.amlexec/incoming") == project.listed("/dev/shm") == ""
    assert project.listed(project.folder) == told["folder"].rpartition("/")[2]
    assert project.host.ssh(f"stat -c %a {ENVIRONMENTS}").strip() == "700"
    count()
    again = project.prepare()
    assert (again.code, again.out, again.err) == (0, f"managed: up to date: managed has {name}\n", "")
    # plumbum takes longer to import than all of this.
    program = "import sys; sys.modules['plumbum'] = None; from amlexec import cli; cli.run(sys.argv[1:])"
    without = project.call(sys.executable, "-c", program, "experiment", "prepare", "-c", "managed")
    assert (without.out, without.err) == (again.out, "")
    assert count() == 2
    assert f"managed: up to date when last checked: managed has {name}" not in again.out
    info = project.doit("info", "prepare:managed")
    assert f"managed has {name}" in info.out
    assert count() == 0
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert f"{told['folder']} {told['folder']} {told['folder']}/bin:/" in done.out
    assert project.record(done.run_id)["environment_digest"] == told["digest"]
    assert project.record(done.run_id)["python"]["version"] == told["python"]
    # One round trip tells whether it exists, and all other facts that a run needs.
    project.conda("tabulate")
    count()
    assert project.submit("train.py").code == 2
    assert count() in {1, 2}, "the channel of a next question may have been opened already"


def test_an_environment_is_changed_deleted_and_removed(project: ManagedProject) -> None:
    assert project.prepare().code == 0
    first = project.folder
    project.conda("idna=3.7")
    told = project.prepare("--check")
    assert told.out == "managed: not ready: aml_config/conda_dependencies.yml:6: idna=3.7 added\n"
    # Packages that the machine has are not sent again.
    done = project.prepare()
    assert done.code == 0, done.err
    assert "sending 1 conda package " in done.err
    assert "installer" not in done.err
    for gone in (project.folder, f"{project.folder}/*/bin/python"):
        project.host.ssh(f"rm -r {gone}")
        again = project.prepare()
        assert again.out == "managed: prepared: its folder is no longer on managed\n", again.err
        assert len(project.listed(project.folder).split()) == 1
    dry = project.doit("clean", "-n", "prepare:managed")
    assert dry.code == 0, dry.err
    removed = project.doit("clean", "prepare:managed")
    assert removed.code == 0, removed.err
    assert "removed, " in removed.out
    assert project.listed(project.folder) == ""
    assert project.listed(first) != ""
    cleaned = project.amlexec("experiment", "clean", "--environments")
    assert cleaned.code == 0, cleaned.err
    assert project.listed(first) == ""
    assert project.prepare("--check").out == "managed: not ready: its folder is no longer on managed\n"


class Cut(NamedTuple):
    """A moment of a build: a shell condition that is true on the machine from then on."""

    name: str
    seen: str


SENDING = Cut("sending", f"ls {HOME}/.amlexec/incoming/NAME.*/sent")
CUTS = (
    Cut("begun", f"ls {ENVIRONMENTS}/NAME/turn/who"),
    Cut("linking", f"ls {ENVIRONMENTS}/NAME/*/conda-meta"),
    Cut("compiled", f"ls {ENVIRONMENTS}/NAME/*/lib/python3*/site-packages/__pycache__"),
)


def waited(project: ManagedProject, process: subprocess.Popen[bytes], cut: Cut, name: str) -> None:
    """Wait until the condition is true."""
    script = f"until {cut.seen.replace('NAME', name)} >/dev/null 2>&1; do sleep 0.01; done"
    project.host.ssh(f"timeout {int(PATIENCE)} sh -c {json.dumps(script)}")
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("cut", CUTS, ids=[cut.name for cut in CUTS])
def test_a_killed_client(project: ManagedProject, cut: Cut) -> None:
    name = project.folder.rpartition("/")[2]
    process = project.start(*COMMAND)
    waited(project, process, cut, name)
    process.kill()
    process.communicate()
    assert project.listed(f"{project.folder}/*/amlexec.json") == ""
    assert project.prepare("--check").code == 1
    done = project.prepare()
    assert done.code == 0, done.err
    assert len(project.listed(project.folder).split()) == 1
    assert project.listed(f"{HOME}/.amlexec/incoming/{name}.*") == ""


def test_a_crashed_machine(
    make: Callable[..., ManagedProject], new_host: Callable[..., Host], client: Client
) -> None:
    host = new_host()
    project = make("demo", host)
    name = project.folder.rpartition("/")[2]
    for cut in (SENDING, CUTS[1]):
        process = project.start(*COMMAND)
        waited(project, process, cut, name)
        host.kill()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert said.count(b"managed: error: ") == 1, said
        host.start()
        client.hang_up()
        assert project.listed(f"{project.folder}/*/amlexec.json") == ""
    done = project.prepare()
    assert done.code == 0, done.err
    assert "waiting" not in done.err, (
        "a lock that was left is seen to be, also that of one who took such a lock"
    )
    assert len(project.listed(project.folder).split()) == 1


def test_two_builds_of_one_environment_at_once(make: Callable[..., ManagedProject], host: Host) -> None:
    one, other = make("one", host), make("other", host)
    other.own = one.own
    other.conda()
    name = one.folder.rpartition("/")[2]
    first = one.start(*COMMAND)
    waited(one, first, CUTS[0], name)
    second = other.start(*COMMAND)
    out, err = second.communicate(timeout=PATIENCE)
    _, said = first.communicate(timeout=PATIENCE)
    assert (first.returncode, second.returncode) == (0, 0), (said, err)
    assert f"(process {first.pid}), who is building it on managed".encode() in err
    assert b"installing" not in err
    assert out.startswith(b"managed: up to date: ")
    # An environment that was built for another project is kept.
    kept = other.doit("clean", "prepare:managed")
    assert "kept: it was built for the project one" in kept.out


def test_a_lock_whose_holder_has_ended(project: ManagedProject) -> None:
    folder = project.folder
    # A process of this machine that has ended: do not wait for it.
    left = (
        f"mkdir -p {folder}/turn && cd {folder}/turn && echo ann >who && echo 99999999 1/x $(uname -n) >here"
    )
    project.host.ssh(left, QUIET)
    done = project.prepare()
    assert done.code == 0, done.err


INSTALLER_MB = 97
"""The installer, unpacked."""
FULL = (
    (24, 0, "its disk is full: the installer could not be sent"),
    (INSTALLER_MB, 0.5, "its disk is full: a package could not be sent"),
    (INSTALLER_MB, 1.5, "the disk is full: the conda packages cannot be unpacked"),
)


@pytest.mark.parametrize(("size", "packages", "said"), FULL, ids=["installer", "package", "unpacked"])
def test_a_full_disk(
    make: Callable[..., ManagedProject],
    new_host: Callable[..., Host],
    shop: Shop,
    size: int,
    packages: float,
    said: str,
) -> None:
    """The disk has `size` MB, and as many as `packages` packages of Python need."""
    (python,) = Path(shop.channel.removeprefix("file://")).glob("*/python-*.conda")
    size += round(packages * python.stat().st_size / 1e6)
    host = new_host(Tmpfs={HOME: f"size={size}m,exec"})
    host.ssh(f"chmod 777 {HOME}")
    project = make("demo", host)
    done = project.prepare()
    assert done.code == 2
    assert f"managed: error: {said}" in done.err
    assert "Traceback" not in done.err
    assert project.listed(project.folder) == project.listed(f"{HOME}/.amlexec/incoming") == ""


UNFIT = (
    ("read-only", f"mount -o remount,ro {HOME}", "~/.amlexec can't be written"),
    ("noexec", f"mount -o remount,noexec {HOME}", "the home folder is mounted with noexec"),
    (
        "old",
        "printf '#!/bin/sh\\necho glibc 2.17\\n' >/usr/bin/getconf",
        "it has glibc 2.17, but packages are",
    ),
    ("musl", "printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/getconf", "it has no glibc"),
    (
        "other",
        "cp /bin/uname /bin/u; printf '#!/bin/sh\\n[ $1 = -m ] && echo riscv64 || u $1\\n' >/bin/uname",
        "it is Linux on riscv64, but its environments are made for",
    ),
)


@pytest.mark.parametrize(("script", "said"), [one[1:] for one in UNFIT], ids=[one[0] for one in UNFIT])
def test_an_unsuitable_machine(
    make: Callable[..., ManagedProject], new_host: Callable[..., Host], script: str, said: str
) -> None:
    host = new_host(Tmpfs={HOME: "exec"}, CapAdd=["SYS_ADMIN"])
    host.ssh(f"chmod 777 {HOME}; {script}")
    done = make("demo", host).prepare()
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if "error: " in line]) == 1
    assert "managed: error: " in done.err
    assert said in done.err
    assert "solving" not in done.err


IN_TREE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """\
import os, zipfile

def build_editable(folder, settings=None, metadata=None):
    name, about = "edited-2.0-py3-none-any.whl", "edited-2.0.dist-info/"
    files = {
        "edited.pth": os.getcwd() + "\\n",
        about + "METADATA": "Metadata-Version: 2.1\\nName: edited\\nVersion: 2.0\\n",
        about + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[about + "RECORD"] = "".join(name + ",,\\n" for name in [*files, about + "RECORD"])
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
"""Instead of setuptools, which pip would install for each build, and compile its hundreds of modules."""


def test_the_pip_section(project: ManagedProject, tmp_path: Path) -> None:
    wheels = Path(project.shop.wheels.removeprefix("file://"))
    (project.root / "wheels").mkdir()
    own = packages.write_wheel(project.root / "wheels", "own-wheel", "1.0", "X = 1\n")
    project.write("lib/pyproject.toml", '[project]\nname = "edited"\nversion = "2.0"\n' + IN_TREE)
    project.write("lib/backend.py", BACKEND)
    project.write("lib/edited.py", "Y = 2\n")
    project.conda(
        "tabulate",
        pip=(
            f"--find-links {wheels}",
            "--no-index",
            f"./wheels/{own.name}",
            "-e ./lib",
            "amlexec-test-greet==1.0",
        ),
    )
    done = project.prepare()
    assert done.code == 0, done.err
    project.write(
        "train.py", "import edited, own_wheel, amlexec_test_greet\nprint(edited.__file__, own_wheel.X)\n"
    )
    ran = project.submit("train.py")
    assert ran.code == 0, ran.err + ran.out
    assert f"{project.folder}/" in ran.out
    assert project.listed(f"{project.folder}/*/src").split() != []
    assert project.host.ssh(f"find {project.folder} -name '*.whl'") == ""
    locked = project.amlexec("lock", "-c", "managed")
    assert locked.code == 0, locked.err
    again = project.submit("--prepare", "train.py")
    assert again.code == 0, again.err + again.out
    assert f"{project.folder}/" in again.out
    assert "/src/" in again.out
    (project.root / "aml_config/conda_dependencies.lock").unlink()
    project.conda(pip=("--no-index", "no-such-thing==1.0"))
    failed = project.prepare()
    assert failed.code == 2
    assert "aml_config/conda_dependencies.yml:9:" in failed.err
    assert "pip failed: " in failed.err
    project.conda(pip=("--index-url http://127.0.0.1:3141/simple", "tabulate"))
    unreachable = project.prepare()
    assert unreachable.code == 3
    assert (
        "http://127.0.0.1:3141/simple is only on this machine, so managed can't reach it" in unreachable.err
    )


def test_a_channel_with_a_login(
    make: Callable[..., ManagedProject], new_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make("demo", new_host())
    canary = f"c4naRy{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("CHANNEL_LOGIN", f"ann:{canary}")
    folder = project.shop.channel.removeprefix("file://")
    wheels = project.shop.wheels.removeprefix("file://")
    with (
        serve(folder, user="ann", password=canary) as site,
        serve(wheels, user="ann", password=canary) as index,
    ):
        address, simple = (one.url.replace("127.0.0.1", "${CHANNEL_LOGIN}@0.0.0.0") for one in (site, index))
        options = (f"--index-url {simple}/simple", "--trusted-host 0.0.0.0")
        project.conda("pip", channel=address, pip=(*options, "amlexec-test-greet"))
        process = project.start(*COMMAND)
        shown = set()
        while process.poll() is None:
            shown |= {path for path in _processes() if canary in path}
            time.sleep(0.05)  # those that fetch and install live longer than that
        out, err = process.communicate()
        assert process.returncode == 0, err
        asked = [path for path in site.requests if path.endswith((".conda", ".tar.bz2"))]
    assert not shown
    assert b"sending" not in err.replace(b"sending an installer", b"")
    # Not sent: the machine downloads them itself. Only the bootstrap Python is downloaded here.
    assert {one.rpartition("/")[2].partition("-")[0] for one in asked} == {"pip", "python", "six"}
    assert any(path.endswith(".whl") for path in index.requests)
    assert canary.encode() not in out + err
    search = ["grep", "-r", "-l", canary]
    assert project.host.ssh(f"{' '.join(search)} {HOME} /dev/shm /tmp 2>/dev/null || :") == ""
    found = subprocess.run([*search, project.root], capture_output=True, text=True)
    assert found.stdout == ""


def _processes() -> list[str]:
    """Command line and environment of every process: the machines are containers on this one."""
    told = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            for name in ("cmdline", "environ"):
                try:
                    text = Path(entry.path, name).read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "CHANNEL_LOGIN=" not in text:
                    told.append(text)
    return told


def test_a_lock_file(project: ManagedProject) -> None:
    project.conda("tabulate")
    locked = project.amlexec("lock", "-c", "managed")
    assert locked.code == 0, locked.err
    done = project.prepare()
    assert done.code == 0, done.err
    assert "solving" not in done.err


def test_a_channel_without_a_bootstrap_python(
    make: Callable[..., ManagedProject],
    new_host: Callable[..., Host],
    tmp_path: Path,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AMLEXEC_CACHE", str(tmp_path / "cache"))
    program = packages.Entry("bin/python", b'#!/bin/sh\nexec /usr/bin/python3 "$@"\n', 0o755)
    own = channel_of(
        tmp_path / "own",
        "",
        packages.Package("python", "3.9.1", "0", [program], noarch="generic"),
        packages.Package("six", "1.0", "0", noarch="generic"),
    )
    project = make("demo", new_host())
    project.conda(channel=own.as_uri())
    done = project.prepare()
    assert done.code == 0, done.err
    assert "no channel has a bootstrap Python for managed: installing 2 conda packages here" in done.err
    assert project.prepare("--check").code == 0


def test_a_forced_rebuild(project: ManagedProject) -> None:
    """The new folder replaces the old one, which a run may still use."""
    project.conda("six=1.16")
    project.write("train.py", "import sys, time\nprint(sys.prefix, flush=True)\ntime.sleep(600)\n")
    begun = project.submit("--prepare", "--async", "train.py")
    assert begun.code == 0, begun.err
    project.begun(begun.run_id)
    before = project.printed(begun.run_id).decode().strip()
    done = project.prepare("--force")
    assert done.out == "managed: prepared: --force was given\n", done.err
    told = json.loads(project.prepare("--check", "-o", "json").out)
    assert told["folder"] not in {"", before}
    assert (
        project.host.ssh(f"ls {before}/bin/python {before}/amlexec.json 2>/dev/null || :")
        == f"{before}/bin/python\n"
    )
    assert project.amlexec("experiment", "cancel", "-r", begun.run_id, "--grace", "0").code == 0
    assert project.prepare("--force").code == 0
    assert project.listed(f"{project.folder}/").split() == project.host.ssh(f"ls {project.folder}").split()
    assert len(project.host.ssh(f"ls -d {project.folder}/*/bin").split()) == 1
