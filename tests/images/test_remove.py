"""Remove environments from an engine: what is removed, what stays, and how many requests it takes."""

from __future__ import annotations

import contextlib
import io
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import archives, containers, images
from amlexec.docker.client import Engine
from amlexec.docker.errors import EngineAnswerError
from amlexec.images import inventory, remove
from amlexec.images.labels import of_layer, reference
from amlexec.images.lookup import Images
from amlexec.values import Project
from tests.engines.packages import Entry, Package
from tests.packages.test_conda_bootstrap import channel_of
from tests.support.places import LABEL, DockerProject, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Counting(Engine):
    """An engine that counts requests."""

    count = 0

    def look(self, path: str) -> dict[str, Any] | str | None:
        """See `Engine.look`."""
        self.count += 1
        return super().look(path)

    def asked(self, *, patient: bool = False) -> contextlib.AbstractContextManager[Any]:
        """See `Engine.asked`."""
        self.count += 1
        return super().asked(patient=patient)


class Made:
    """Empty images with the names and labels of layers and environments."""

    def __init__(self, shop: Shop, root: Path) -> None:
        self.shop = shop
        self.project = Project(str(root / f"removal-{uuid.uuid4().hex[:8]}"))
        self.owner = of_layer("", self.project)["amlexec.owner"]
        self.names: list[str] = []

    def commit(self, of: str, name: str, labels: dict[str, str], size: int = 0) -> str:
        """An image with one more layer than `of`, which has a file of that many bytes."""
        told = {LABEL: self.shop.session, **labels}
        made = containers.create(self.shop.engine, {"Image": of, "Cmd": ["none"]})
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            file = tarfile.TarInfo(f"own-{uuid.uuid4().hex}")
            file.size = size
            archive.addfile(file, io.BytesIO(b"x" * size))
        try:
            archives.put(self.shop.engine, made, "/", held.getvalue())
            changes = [f'LABEL {key}="{value}"' for key, value in told.items()]
            image = images.commit(self.shop.engine, made, name, changes=changes)
        finally:
            containers.remove(self.shop.engine, made, force=True)
        self.names.append(name or image)
        return image

    def layer(self, below: str = "", project: str = "") -> str:
        """The id of a conda layer, of this project or of that one."""
        what = uuid.uuid4().hex + uuid.uuid4().hex
        labels = of_layer(what, Project(f"/nowhere/{project}") if project else self.project)
        return self.commit(below or self.shop.base, reference(what, "conda"), labels)

    def environment(self, layer: str, *, named: bool = True) -> str:
        """The digest of an environment on a layer."""
        digest = uuid.uuid4().hex + uuid.uuid4().hex
        labels = {"amlexec.digest": digest, "amlexec.conda": "", "amlexec.project": self.project.name}
        labels["amlexec.owner"] = self.owner
        self.commit(layer, reference(digest) if named else "", labels)
        return digest

    def left(self) -> int:
        """The number of these images on the engine."""
        return sum(images.inspect(self.shop.engine, name) is not None for name in self.names)


@pytest.fixture
def made(shop: Shop, tmp_path: Path) -> Iterator[Made]:
    found = Made(shop, tmp_path)
    yield found
    for name in reversed(found.names):
        with contextlib.suppress(EngineAnswerError):
            images.remove(shop.engine, name, force=True)


def test_removing_takes_two_requests_and_one_for_each_image(made: Made) -> None:
    layers = [made.layer() for _ in range(3)]
    digests = [made.environment(layer) for layer in layers for _ in range(3)]
    engine = Counting(made.shop.engine.address)
    told = remove.remove(Images(engine), digests, made.project.name, dry_run=True)
    assert len(told) == 12
    assert made.left() == 12
    engine.count = 0
    told = remove.remove(Images(engine), digests[:8], made.project.name)
    assert [one.kept for one in told] == [""] * 10, told
    assert made.left() == 2, "an environment and its layer"
    pulled = [one for one in images.find(made.shop.engine, {"amlexec.digest": ""}) if not one["ParentId"]]
    # Two lists; one removal for each image; the sizes of layers, and an inspection of each pulled image.
    assert engine.count <= 2 + 8 + 2 * 3 + 3 + 2 * len(pulled)
    told = remove.remove(Images(engine), digests, made.project.name)
    assert len(told) == 2
    assert made.left() == 0


def test_a_layer_goes_with_the_last_that_is_built_on_it(made: Made) -> None:
    """Each after those above it; a layer that another project has built on it stays."""
    engine = made.shop.engine
    python = made.layer()
    pip = made.layer(python)
    uppers = [made.layer(python), made.layer(pip), made.layer(pip)]
    digests = [made.environment(layer) for layer in uppers]
    of_others = made.layer(made.layer(), project="others")
    names = [(images.inspect(engine, layer) or {})["RepoTags"][0] for layer in (python, pip, *uppers)]
    told = [
        [
            one.reference
            for one in remove.remove(Images(engine), digests[:count], made.project.name, dry_run=True)
        ]
        for count in (1, 2, 3)
    ]
    by_digest = [reference(digest) for digest in digests]
    assert sorted(told[0]) == sorted([by_digest[0], names[2]])
    assert sorted(told[1]) == sorted([*by_digest[:2], names[2], names[3]])
    assert sorted(told[2]) == sorted([*by_digest, *names])
    assert told[2][-1] == names[0]
    assert max(map(told[2].index, names[3:])) < told[2].index(names[1])
    removed = remove.remove(Images(engine), digests, made.project.name)
    assert [one.reference for one in removed] == told[2]
    assert [one.kept for one in removed] == [""] * len(removed)
    assert made.left() == 2
    assert remove.sweep(engine, made.project.name, made.owner) == [], "a layer of others is built on it"
    assert images.inspect(engine, of_others) is not None


def test_sweep_finds_layers_that_no_environment_uses(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_HALF_MADE_AGE_S", -1.0)
    used, _ = made.layer(), made.layer()
    digest = made.environment(used)
    unnamed = made.environment(used, named=False)
    built_on = made.commit(reference(digest), "", {})
    told = remove.sweep(made.shop.engine, made.project.name, "somebody-else")
    assert told == []
    told = remove.sweep(made.shop.engine, made.project.name, made.owner)
    assert len(told) == 2, f"the unused layer, and {unnamed}"
    assert made.left() == 3
    assert images.inspect(made.shop.engine, built_on) is not None
    assert remove.sweep(made.shop.engine, made.project.name, made.owner) == []
    unnamed = made.environment(used, named=False)
    remove.drop_unnamed(made.shop.engine, unnamed, "somebody-else")
    remove.drop_unnamed(made.shop.engine, digest, made.owner)
    assert made.left() == 4
    remove.drop_unnamed(made.shop.engine, unnamed, made.owner)
    assert made.left() == 3


def test_sweep_removes_the_layer_of_a_failed_build(shop: Shop, tmp_path: Path) -> None:
    name = f"failed-{uuid.uuid4().hex[:8]}"
    own = Package(name, "1.0", "0", [Entry("share/own", name.encode())], ["python"], noarch="generic")
    channel = channel_of(tmp_path / "channel", "", own).as_uri()
    conda = shop.conda(name, pip=("--no-index", "no-such-thing==1.0"))
    conda = conda.replace("channels:\n", f"channels:\n  - {channel}\n")
    project = DockerProject(tmp_path / name, shop, conda=conda)
    assert project.prepare().code == 2
    made = shop.images(**{"amlexec.project": name})
    # Those with Python and with pip may be another project's.
    (top,) = [one for one in made if one["Id"] not in {other["ParentId"] for other in made}]
    done = project.amlexec("experiment", "clean", "--environments")
    assert done.code == 0, done.err
    assert top["RepoTags"][0].startswith("amlexec-conda:")
    assert top["RepoTags"][0] in done.err
    assert shop.images(**{"amlexec.project": name}) == []
