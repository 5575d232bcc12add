"""Containers on another machine: environments made there, and what no cut of the connection loses."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import images
from amlexec.environments.image import CONDA, reference
from tests.places import LABEL, PLACES, DockerProject, RemoteDockerProject, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.engine import Engine
    from tests.engine_hosts import EngineHost

PLACE = next(place for place in PLACES if place.name == "remotedocker")
COPY = next(place for place in PLACES if place.name == "remotedocker-copy")


@pytest.fixture
def project(engine_host: EngineHost, shop: Shop, tmp_path: Path) -> RemoteDockerProject:
    """A project on the machine that all tests share."""
    return RemoteDockerProject(tmp_path / "demo", shop, PLACE, engine_host)


def layer_of(engine: Engine, image: str) -> dict[str, Any]:
    """What is in the last layer of an image: name to kind, mode, owner, time, and digest or target."""
    with images.save(engine, image) as stream:
        held = io.BytesIO(stream.read())
    with tarfile.open(fileobj=held) as saved:
        manifest = json.loads(saved.extractfile("manifest.json").read())  # type: ignore[union-attr]
        last = saved.extractfile(manifest[0]["Layers"][-1])
        found = {}
        with tarfile.open(fileobj=last) as layer:
            for one in layer:
                file = layer.extractfile(one) if one.isfile() else None
                what = hashlib.sha256(file.read()).hexdigest() if file else one.linkname
                found[one.name] = (one.type, oct(one.mode), one.uid, one.gid, int(one.mtime), what)
    return found


def _chain(engine: Engine, image: str) -> list[str]:
    found = images.inspect(engine, image)
    assert found is not None
    return list(found["RootFS"]["Layers"])


def test_an_environment_is_the_same_wherever_its_packages_were_fetched(
    project: RemoteDockerProject, tmp_path: Path, shop: Shop
) -> None:
    here = DockerProject(tmp_path / "here" / "demo", shop)
    conda = shop.conda("six=1.16", "needs-old-six")
    for one in (here, project):
        one.write("aml_config/conda_dependencies.yml", conda)
    digests = {one.prepare("--print-digest").out for one in (here, project)}
    assert len(digests) == 1
    made = [one.prepare() for one in (here, project)]
    assert [one.code for one in made] == [0, 0], made
    assert "on ssh://" in made[1].err
    layers, chains = [], []
    for engine in (shop.engine, project.engine):
        found = images.inspect(engine, reference(digests.copy().pop().strip()))
        assert found is not None
        chains.append(found["RootFS"]["Layers"])
        (stands_on,) = [
            one
            for one in images.find(engine, {LABEL: shop.session, CONDA: ""})
            if one["Labels"][CONDA]
            and _chain(engine, one["Id"]) == chains[-1][: len(_chain(engine, one["Id"]))]
        ]
        layers.append(layer_of(engine, stands_on["Id"]))
    assert layers[0] == layers[1]
    assert chains[0] == chains[1], "the same to the byte"
    again = project.prepare()
    assert again.code == 0
    assert "up to date" in again.out + again.err
