"""Where the documentation and the examples are played: what they name is there, and no network is asked.

Some names of the world stand for parts of the tests, and in what is printed the other way round:

- `conda-forge` is the tests' channel, by way of CONDA_CHANNEL_ALIAS; pip's index is the tests' index;
- `debian:bookworm-slim` in a `.compute` file is an image of this play's own, made of the tests' base image,
  so that nothing is prepared yet when it begins, and all that it leaves on the engine is found and removed;
- `apache/spark:3.5.9` in a `.compute` file is such an image of the tests' one with Spark and Java;
- `python=3.12` in a dependencies file is the Python that the tests' channel has;
- `registry.example.org` is the tests' registry, and `https://…@conda.example.org/team` the tests' channel for
  who logs in as `ada` with the password `hush-hush`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import containers, images
from tests.engines.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.places import Shop

__all__ = ["Stage", "channels", "stage"]

BASE = "debian:bookworm-slim"
SPARK = "apache/spark:3.5.9"
REGISTRY = "registry.example.org"
_JAVA_FAST = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""What the tests' image says in Spark's defaults, which the properties of a page replace."""
PRIVATE = ("https://", "conda.example.org/team")
"""A channel behind a login, around user and password."""


class Stage:
    """Parts of the tests, and the names of the world that stand for them."""

    def __init__(
        self, base: str, private: str, registry: Callable[[], str], spark: Callable[[], str]
    ) -> None:
        self._base = base
        self._make_spark = spark
        self._spark = ""
        self._private = private
        self._start_registry = registry
        self._registry = ""

    def dress(self, folder: Path) -> None:
        """Put the tests' names into the files of all projects in a folder."""
        python = f"python={sys.version_info[0]}.{sys.version_info[1]}"
        login = r"(\$\{\w+\}:\$\{\w+\}@)"
        private = rf"http://\g<1>{self._private}"
        for pattern, shown, meant in (
            ("*.compute", re.escape(BASE), self._base),
            ("conda_dependencies.yml", r"python=3\.12\b", python),
            ("conda_dependencies.yml", login.join(map(re.escape, PRIVATE)), private),
        ):
            for path in folder.rglob(f"aml_config/{pattern}"):
                text = path.read_bytes()
                if SPARK.encode() in text:
                    self._spark = self._spark or self._make_spark()
                    text = text.replace(SPARK.encode(), self._spark.encode())
                    path.write_bytes(text)
                changed = re.sub(shown.encode(), meant.encode(), text)
                if changed != text:
                    path.write_bytes(changed)

    def meant(self, command: str) -> str:
        """A command with the tests' names."""
        if REGISTRY in command and not self._registry:
            self._registry = self._start_registry()
        return command.replace(REGISTRY, self._registry)

    def shown(self, printed: str) -> str:
        """What was printed, with the names of the world."""
        printed = printed.replace(self._base, BASE).replace(f"http://{self._private}", "".join(PRIVATE))
        for name, meant in ((REGISTRY, self._registry), (SPARK, self._spark)):
            printed = printed.replace(meant, name) if meant else printed
        return printed


@pytest.fixture(scope="session")
def channels(channel: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a folder in which `conda-forge` is the tests' channel."""
    folder = tmp_path_factory.mktemp("channels")
    (folder / "conda-forge").symlink_to(channel.removeprefix("file://"))
    return folder.as_uri()


@pytest.fixture
def stage(
    shop: Shop,
    channel: str,
    channels: str,
    wheels: str,
    server_wheels: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[Stage]:
    """The parts of the tests, for one page or one example."""
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", channels)
    monkeypatch.setenv("PIP_INDEX_URL", Path(wheels, "simple").as_uri() + "/")
    monkeypatch.setenv("PIP_FIND_LINKS", server_wheels)
    # The same image under another name: another digest, and yet one conda layer for all plays.
    name = f"{shop.session}-{re.sub(r'[^a-z0-9]+', '-', tmp_path.name.lower())}"
    base = f"amlexec-test/stage:{name}"
    images.tag(shop.engine, shop.base, base)

    def spark() -> str:
        reference = f"amlexec-test/stage-spark:{name}"
        image = request.getfixturevalue("spark_base")
        made = containers.create(shop.engine, {"Image": image, "Cmd": ["none"]})
        try:
            images.commit(shop.engine, made, reference, changes=[f'ENV SPARK_SUBMIT_OPTS="{_JAVA_FAST}"'])
        finally:
            containers.remove(shop.engine, made, force=True)
        return reference

    with serve(channel.removeprefix("file://"), user="ada", password="hush-hush") as private:
        address = private.url.removeprefix("http://")
        yield Stage(base, address, lambda: str(request.getfixturevalue("registry")), spark)
