"""The Spark and the Java that are added where neither the base image nor the dependencies have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.prepare.project import ProjectEnvironments

if TYPE_CHECKING:
    from amlexec.prepare.prepare import Wanted

DEFAULT = "debian:bookworm-slim"


class Files:
    """A project with one run configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("docker.compute", "type: docker\n")
        self.write("docker.runconfig", "Target: docker\nFramework: PySpark\n")
        self.conda()

    def write(self, name: str, text: str) -> None:
        """Write a file of `aml_config`."""
        path = self.root / "aml_config" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def conda(self, *specs: str, pip: str = "") -> None:
        """Write the conda dependencies."""
        lines = ["dependencies:", "  - python", *(f"  - {spec}" for spec in specs)]
        lines += ["  - pip:", f"    - {pip}"] if pip else []
        self.write("conda_dependencies.yml", "\n".join(lines) + "\n")

    def wanted(self) -> Wanted:
        """The environment that the files declare."""
        environments = ProjectEnvironments(config.find_project(self.root))
        return environments.wanted(environments.ref("docker"))

    def added(self) -> list[str]:
        """The conda specs that the files don't name."""
        specs = self.wanted().request.spec.specs
        return [spec for spec in specs if spec.startswith(("pyspark", "openjdk"))]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("specs", "pip", "found"),
    [
        ((), "", ["openjdk 17.*", "pyspark >=3.5"]),
        (("pyspark=4.0",), "", ["openjdk 17.*", "pyspark 4.0.*"]),
        (("pyspark=3.2",), "", ["openjdk 8.*", "pyspark 3.2.*"]),
        (("conda-forge::pyspark ==2.4.5",), "", ["openjdk 8.*"]),
        (("pyspark <3.2",), "", ["openjdk 17.*", "pyspark <3.2"]),
        (("openjdk=21",), "", ["openjdk 21.*", "pyspark >=3.5"]),
        (("pyspark=3.5", "openjdk=11"), "", ["openjdk 11.*", "pyspark 3.5.*"]),
        ((), "pyspark==3.5.9", ["openjdk 17.*"]),
        ((), "PySpark[sql]==3.1.2", ["openjdk 8.*"]),
        ((), "wheels/pyspark-3.5.9-py2.py3-none-any.whl", ["openjdk 17.*"]),
        ((), "pyspark-extension==1", ["openjdk 17.*", "pyspark >=3.5"]),
    ],
)
def test_what_the_dependencies_name_is_not_added(
    files: Files, specs: tuple[str, ...], pip: str, found: list[str]
) -> None:
    (files.root / "wheels").mkdir()
    (files.root / "wheels/pyspark-3.5.9-py2.py3-none-any.whl").write_text("zip")
    files.conda(*specs, pip=pip)
    assert files.added() == found


@pytest.mark.parametrize(
    ("packages", "spark"),
    [
        (["org.apache.spark:spark-avro_2.12:3.5.3"], "pyspark 3.5.*"),
        (["org.example:top_2.13:1.0", "org.apache.spark:spark-avro_2.13:4.1.0"], "pyspark 4.1.*"),
        (["org.example:top_2.12:1.0"], "pyspark 3.5.*"),
        (["org.example:top_2.13:1.0"], "pyspark >=4"),
        (["org.example:top:1.0"], "pyspark >=3.5"),
    ],
)
def test_the_version_is_that_of_the_maven_packages(files: Files, packages: list[str], spark: str) -> None:
    lines = ["packages:"]
    for package in packages:
        group, artifact, version = package.split(":")
        lines.append(f"  - {{group: {group}, artifact: {artifact}, version: '{version}'}}")
    files.write("spark_dependencies.yml", "\n".join(lines) + "\n")
    assert files.added() == ["openjdk 17.*", spark]


def test_other_environments_stay_as_they_were(files: Files) -> None:
    first = files.wanted()
    files.write("docker.compute", f"type: docker\nbaseDockerImage: {DEFAULT}\n")
    assert files.wanted().digest == first.digest
    files.write("docker.compute", "type: docker\nbaseDockerImage: apache/spark:3.5.9\n")
    assert files.added() == []
    files.write("docker.compute", "type: docker\n")
    files.write("docker.runconfig", "Target: docker\nFramework: Python\n")
    assert files.added() == []
    files.write("docker.runconfig", "Target: docker\nFramework: PySpark\n")
    files.write(
        "docker.compute", "type: cluster\naddress: host\nusername: ada\nuserManagedEnvironment: false\n"
    )
    assert files.added() == []
