"""`doit prepare` with environments on several machines."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually
from tests.engines.ssh_host import QUIET
from tests.support.places import PLACES, RemoteProject, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import Client, Host

MANAGED = next(place for place in PLACES if place.name == "managed")
ENVIRONMENTS = f"/home/{QUIET}/.amlexec/envs"


@pytest.fixture
def project(shop: Shop, client: Client, host: Host, tmp_path: Path) -> RemoteProject:
    """A project with three run configurations: of two environments on one machine, and one on none."""
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    made = RemoteProject(tmp_path / "side", shop, MANAGED, host)
    for name in ("local.runconfig", "local.compute", "managed.runconfig", "managed.compute"):
        (made.configuration / name).unlink()
    for name, spec in (("one", "six=1.17"), ("two", "six=1.16"), ("gone", "six")):
        made.write(f"aml_config/{name}.yml", shop.conda(spec, f"tabulate>=0.0.{tmp_path.stat().st_ino}"))
        made.write(
            f"aml_config/{name}.runconfig",
            f"Target: {name}\nFramework: Python\nCondaDependenciesFile: aml_config/{name}.yml\n",
        )
        address = "127.0.0.1:1" if name == "gone" else host.address
        made.write(f"aml_config/{name}.compute", made.compute().replace(host.address, address))
    return made


def test_an_unreachable_machine_fails_alone(project: RemoteProject) -> None:
    listed = project.doit("list", "--all", "--status")
    assert listed.code == 0, listed.err
    info = project.doit("info", "prepare:gone")
    assert "it was never prepared here" in info.out + info.err
    done = project.doit("prepare")
    assert done.code == 2
    assert "one: prepared for the first time\n" in done.out
    assert "two: prepared for the first time\n" in done.out
    assert done.err.count("gone: error: no connection to port 1: connection refused") == 1
    # Each line begins with the environment's name.
    told = [line for line in done.err.splitlines() if "gone: error" not in line and "hint:" not in line]
    assert {line.partition(": ")[0] for line in told} == {"one", "two"}
    assert "one: installing 3 conda packages on one" in told
    again = project.doit("-n", "2", "prepare:one", "prepare:two")
    assert again.code == 0, again.err
    assert again.err == ""
    assert again.out.count("up to date: ") == 2


def test_ctrl_c(project: RemoteProject) -> None:
    process = project.start(sys.executable, "-m", "doit", "prepare:one", "prepare:two")
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, (out, err)
    assert b"Traceback" not in err
    assert b"interrupted" in err
    whole = f"ls -d {ENVIRONMENTS}/*/turn 2>/dev/null || :"
    eventually(lambda: project.host.ssh(whole) == "", "the locks end with their holder")
    # Processes that doit forks have none of its threads.
    after = project.doit("-n", "2", "prepare:one", "prepare:two")
    assert after.code == 0, after.err
