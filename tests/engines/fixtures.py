"""The parts as pytest fixtures. One that is absent skips the test, saying how to get it; in CI it fails it.

Which must not be absent elsewhere is what AMLEXEC_REQUIRE names:
docker,base_image,channel,registry,ssh_host,engine_host,slurm,spark,spark_channel,hadoop,hadoop_azure,fast_java,
kerberos,mlflow,azurite,object_store,server_wheels,browser,strace,kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from amlexec.docker import client as docker_engine

from . import base_image as image
from . import browser as debian_chromium
from . import channel as conda_channel
from . import choice, daemon, engine_machine, spark
from . import kubernetes as described
from . import registry as docker_registry
from . import server_wheels as wheels_of_server
from . import spark_channel as channel_of_spark
from .places import CHANNEL, HOW, WHEELS, is_required, state
from .serving import Site, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "base_image",
    "channel",
    "chromium",
    "engine",
    "engine_of_suite",
    "kubernetes",
    "machines",
    "need",
    "registry",
    "server_wheels",
    "simple_index",
    "spark_channel",
    "spark_parts",
    "wheels",
]


@pytest.fixture(scope="session", autouse=True)
def engine_of_suite() -> Iterator[None]:
    """Let everything ask the engine that AMLEXEC_TEST_ENGINE names, if it names one."""
    kind = choice.chosen()
    with pytest.MonkeyPatch.context() as patch:
        if kind is not None:
            choice.machines()
            patch.setenv("DOCKER_HOST", choice.under_test().address)
        yield


@pytest.fixture(scope="session")
def engine() -> docker_engine.Engine:
    """The engine that the suite is about; it answers."""
    need("docker", "a Docker engine", daemon.answers)
    need("docker", "the engine that AMLEXEC_TEST_ENGINE names", engine_machine.is_there)
    return docker_engine.from_environment()


@pytest.fixture(scope="session")
def machines() -> docker_engine.Engine:
    """The engine whose containers are machines of the tests; it answers."""
    need("docker", "a Docker engine", daemon.answers)
    return choice.machines()


@pytest.fixture(scope="session")
def base_image(engine: docker_engine.Engine) -> str:
    """The reference of a small image with a shell and what a conda environment needs, without Python."""
    need("base_image", f"the image {image.REFERENCE}", image.is_there)
    return image.REFERENCE


@pytest.fixture(scope="session")
def channel() -> str:
    """The `file://` address of a conda channel; `engines/channel.py` says what is in it."""
    need("channel", "the conda channel", conda_channel.is_there)
    return (state() / CHANNEL).as_uri()


@pytest.fixture(scope="session")
def wheels() -> str:
    """The folder of wheels, with `simple/` as their index; `engines/channel.py` says what is in it."""
    need("channel", "the folder of wheels", conda_channel.is_there)
    return str(state() / WHEELS)


@pytest.fixture(scope="session")
def simple_index(wheels: str) -> Iterator[Site]:
    """The wheels over HTTP: `.url` + `/simple/` is what pip takes as an index."""
    with serve(wheels) as site:
        yield site


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of a Docker registry, empty at first."""
    need("registry", "a Docker registry", docker_registry.is_there)
    with docker_registry.serve(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def server_wheels() -> str:
    """The folder with the wheels of a service's server."""
    need("server_wheels", "the wheels of a service's server", wheels_of_server.is_there)
    return str(wheels_of_server.folder())


@pytest.fixture(scope="session")
def kubernetes() -> None:
    """Kubernetes' description of its objects, and kubectl: `engines/kubernetes.py`."""
    need("kubernetes", "the description of Kubernetes, or kubectl", described.is_there)


@pytest.fixture(scope="session")
def spark_parts(engine: docker_engine.Engine) -> spark.Installed:
    """Spark and Java on this machine, and a base image that has them too."""
    need("spark", f"Spark, Java or the image {spark.REFERENCE}", spark.is_there)
    return spark.installed()


@pytest.fixture(scope="session")
def spark_channel(spark_parts: spark.Installed) -> str:
    """The `file://` address of a conda channel with `pyspark` and `openjdk`, and nothing else."""
    need("spark_channel", "the conda channel with Spark", channel_of_spark.is_there)
    return channel_of_spark.address()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser; `engines/browser.py` has its environment."""
    need("browser", "Debian's Chromium", debian_chromium.is_there)
    return debian_chromium.program()


def need(part: str, what: str, is_there: Callable[[], bool]) -> None:
    """Skip the test where a part is absent, saying how to get it; fail it where it must be there."""
    if is_there():
        return
    told = f"{what} is not there, or not up to date: {HOW}"
    if is_required(part):
        pytest.fail(told, pytrace=False)
    pytest.skip(told)
