"""A conda environment of ours on a machine over SSH: made once, whole or not at all, by whoever wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.ssh_host import QUIET
from tests.places import PLACES, RemoteProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hosts import Client, Host

MANAGED = next(place for place in PLACES if place.name == "managed")
HOME = f"/home/{QUIET}"


@pytest.fixture
def make(shop: Shop, client: Client, tmp_path: Path) -> Callable[[str, Host], RemoteProject]:
    """Make a project of that name whose environment is on that machine."""

    def made(name: str, host: Host) -> RemoteProject:
        client.knows(host)
        client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
        return RemoteProject(tmp_path / name, shop, MANAGED, host)

    return made


@pytest.fixture
def project(make: Callable[[str, Host], RemoteProject], host: Host) -> RemoteProject:
    """A project in a folder named `demo`, on the machine that all tests share."""
    return make("demo", host)


def test_made_once(project: RemoteProject) -> None:
    project.write(
        "train.py", "import os, six, sys\nprint(sys.prefix, os.environ['CONDA_PREFIX'], six.__version__)\n"
    )
    first = project.prepare()
    assert (first.code, first.out) == (0, "managed: prepared: it was never prepared here\n"), first.err
    print(first.err)
    again = project.prepare()
    assert again.code == 0 and again.err == ""
    done = project.submit("train.py")
    print(again.out, done)
    assert done.code == 0
