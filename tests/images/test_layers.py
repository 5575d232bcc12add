"""The conda layers of images: environments share those with Python and pip."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import images
from amlexec.docker.labels import CONDA
from tests.engines import interpreter
from tests.engines.packages import Entry, Package
from tests.images.test_build import image_of, inside
from tests.packages.test_conda_bootstrap import channel_of
from tests.support import engine_images
from tests.support.places import LABEL, DockerProject, Shop, new_base

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_OF_PODMAN = ("etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "run/.containerenv")
"""What it leaves in a layer that was made in a container."""


@pytest.fixture(scope="module")
def own_base(shop_of_session: Shop) -> str:
    """A base image of this file alone: elsewhere, `--force` builds layers of the same packages again."""
    reference = f"amlexec-test/layers-{uuid.uuid4().hex[:8]}:1"
    label = f"{LABEL}={shop_of_session.session}"
    new_base(shop_of_session.engine, shop_of_session.base, reference, label)
    return reference


@pytest.fixture
def make(shop: Shop, own_base: str, tmp_path: Path) -> Callable[..., DockerProject]:
    """Create a project with these conda packages."""

    def made(name: str, *specs: str, pip: tuple[str, ...] = (), channel: str = "") -> DockerProject:
        project = DockerProject(tmp_path / name, shop, conda=shop.conda(*specs, pip=pip, channel=channel))
        project.write("aml_config/docker.compute", project.compute(base=own_base))
        done = project.prepare()
        assert done.code == 0, done.err
        (project.root / "said").write_text(done.err)
        return project

    return made


def below(project: DockerProject) -> list[str]:
    """The conda layers of an environment, from the top: the ids of their images."""
    found, image = [], image_of(project)
    while parent := images.inspect(project.shop.engine, image["Parent"]):
        image = parent
        if not (image["Config"]["Labels"] or {}).get(CONDA):
            break
        found.append(image["Id"])
    return found


def own_size(project: DockerProject, image: str) -> int:
    """The bytes of the last layer of an image."""
    return int(images.history(project.shop.engine, image)[0]["Size"])


def test_environments_share_python_and_pip(make: Callable[..., DockerProject]) -> None:
    first = make("first", "six=1.16")
    second = make("second", "idna=3.7")
    assert below(first)[1:] == below(second)[1:]
    assert len(below(second)) == 2
    assert (second.root / "said").read_text().count("installing") == 1
    assert "installing 1 conda package\n" in (second.root / "said").read_text()
    assert own_size(second, below(second)[0]) < 1e6 < 5e6 < own_size(second, below(second)[1])
    line = f"{first.shop.wheels}/colorama-0.4.6-py2.py3-none-any.whl"
    third = make("third", "six=1.16", pip=(line,))
    fourth = make("fourth", "idna=3.7", pip=(line,))
    assert below(third)[1:] == below(fourth)[1:]
    assert below(third)[2:] == below(first)[1:]
    assert own_size(fourth, below(fourth)[0]) < 1e6
    for project, name in ((first, "six"), (second, "idna"), (fourth, "idna, pip, colorama")):
        assert inside(project, f"import {name}\nprint('has it')") == "has it\n"


def test_python_alone_is_the_lower_layer_of_others(make: Callable[..., DockerProject]) -> None:
    assert below(make("alone")) == below(make("more", "tabulate"))[1:]


def test_the_files_are_those_of_one_layer(make: Callable[..., DockerProject]) -> None:
    """No layer has a file of one below, and together they have what one installation gives."""
    project = make("whole", "six=1.16", "prefixtool", "pip")
    context = project.root / "context"
    assert project.prepare("--context", str(context)).code == 0
    with tarfile.open(context / "env.tar") as archive:
        expected = files_of(archive)
    found: dict[str, Any] = {}
    for layer in layers_of(project, below(project)[0])[-3:]:
        for name in _OF_PODMAN if project.engine.features.is_podman else ():
            layer.pop(name, None)
        assert layer
        assert not layer.keys() & found.keys()
        found |= layer
    assert {name for name in found.keys() - expected.keys() if not name.endswith(".pyc")} == set()
    for name, told in expected.items():
        # amlexec replaces the header of a compiled module.
        assert found[name][:2] == told[:2] if name.endswith(".pyc") else found[name] == told, (
            name,
            found[name],
            told,
        )


def layers_of(project: DockerProject, image: str) -> list[dict[str, Any]]:
    """The files of each layer of an image, from the bottom."""
    with engine_images.save(project.shop.engine, image) as stream:
        held = io.BytesIO(stream.read())
    found = []
    with tarfile.open(fileobj=held) as saved:
        manifest = json.loads(saved.extractfile("manifest.json").read())  # type: ignore[union-attr]
        for name in manifest[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                found.append(files_of(layer))
    return found


def files_of(archive: tarfile.TarFile) -> dict[str, Any]:
    """Mode, time, and content or target of each file."""
    found = {}
    for one in archive:
        if not one.isdir():
            file = archive.extractfile(one) if one.isfile() else None
            what = hashlib.sha256(file.read()).hexdigest() if file else one.linkname
            found[one.name] = (oct(one.mode & 0o7777), one.mtime, what)
    return found


def test_packages_with_the_same_file_are_in_one_layer(
    make: Callable[..., DockerProject], shop: Shop, tmp_path: Path
) -> None:
    library = f"lib/python{interpreter.version().rpartition('.')[0]}"
    entries = [Entry(f"{library}/site-packages/README.txt", b"of another\n"), Entry("share/other", b"x")]
    other = Package("other", "1.0", "0", entries, ["python"], noarch="generic")
    channel = channel_of(tmp_path / "channel", shop.channel, other)
    project = make("clash", "other", channel=channel.as_uri())
    (layer,) = below(project)
    (log,) = project.root.glob(".amlexec/environments/*.log")
    assert "one layer for all packages: a file is in several of its packages" in log.read_text()
    script = f"import sys\nprint(open(sys.prefix + '/{library}/site-packages/README.txt').read(), end='')"
    assert inside(project, script) in {"of another\n", "Packages go here.\n"}
    images.remove(shop.engine, image_of(project)["RepoTags"][0])
    again = project.prepare()
    assert (again.code, "installing" in again.err) == (0, False), again.err
    assert below(project) == [layer]


def test_a_python_that_needs_an_undeclared_package(
    make: Callable[..., DockerProject], shop: Shop, tmp_path: Path
) -> None:
    """Without it, the Python does not start: the two are in one layer."""
    whole = interpreter.package()
    parts = [[], []]  # type: list[list[Entry]]
    for entry in whole.files:
        parts[entry.path.endswith(("/os.py", ".zip"))].append(entry)
    assert all(parts)
    channel = channel_of(
        tmp_path / "channel",
        "",
        whole._replace(files=parts[0]),
        Package("library", "1.0", "0", parts[1], prefix=whole.prefix),
        kind="conda",
    )
    project = make("split", "library", channel=channel.as_uri())
    assert len(below(project)) == 1
    assert inside(project, "import json\nprint('ran')") == "ran\n"
