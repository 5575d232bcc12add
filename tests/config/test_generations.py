"""Every generation of keys gives the same values."""

from __future__ import annotations

from typing import Any

import pytest

from amlexec.config import schemas, to_model
from amlexec.config.document import read
from amlexec.config.generations import Reading, is_camel, kind_of
from amlexec.config.validate import Checker
from amlexec.values import ComputeTarget, Place, RunConfiguration


def reading(text: str, kind: str = schemas.RUNCONFIG) -> Reading:
    checked = Checker().check(read(text.encode(), "aml_config/x"), kind)
    assert checked.reading is not None, checked.violations
    return checked.reading


def run_configuration(text: str) -> RunConfiguration:
    return to_model.run_configuration("x", "aml_config/x", reading(text))


def compute_target(text: str) -> ComputeTarget:
    return to_model.compute_target("x", "aml_config/x", reading(text, schemas.COMPUTE)["compute"])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "local"}, "local"),
        ({"type": "localdocker"}, "docker"),
        ({"type": "virtualmachine"}, "remotedocker"),
        ({"type": "cluster", "native": True}, "cluster"),
        ({"cluster": True, "native": False}, "cluster"),
        ({"cluster": False, "native": True}, "local"),
        ({"native": True, "address": "a"}, "remote"),
        ({"cluster": False, "native": False}, "docker"),
        ({"cluster": False, "address": "a"}, "remotedocker"),
    ],
)
def test_kinds(data: dict[str, Any], kind: str) -> None:
    assert kind_of(data) == kind


@pytest.mark.parametrize(
    ("text", "camel"),
    [
        ("Target: a\n", False),
        ("target: a\n", True),
        ("script: a\n", True),
        ("target: a\nFramework: Python\n", False),
        ("target: a\nArgumentVector: []\n", False),
        ("framework: Python\n", True),
        ("TrackedRun: true\n", False),
    ],
)
def test_which_generation(text: str, camel: bool) -> None:
    assert is_camel(read(text.encode(), "f").root) is camel


SAME = [
    (
        "Target: local\nFramework: Python\nArgumentVector: [a.py, 0.10, true]\nTrackedRun: no\n"
        "EnvironmentVariables: {A: 010, B: 'yes', C: on, D: }\nPrepareEnvironment: on\n"
        "CondaDependenciesFile: aml_config\\c.yml\n"
    ),
    (
        '{"Target": "local", "Framework": "Python", "ArgumentVector": ["a.py", 0.10, true],'
        ' "TrackedRun": false, "PrepareEnvironment": true, "CondaFile": null, "Description": "x",'
        ' "EnvironmentVariables": {"A": 010, "B": "yes", "C": on, "D": null},'
        ' "CondaDependenciesFile": "./aml_config/c.yml"}'
    ),
    (
        "target: local\nframework: TensorFlow\nscript: a.py\narguments: [0.10, true]\n"
        "history:\n  enabled: false\n"
        "environment:\n  environmentVariables: {A: 010, B: 'yes', C: on, D: }\n"
        "  python: {condaDependenciesFile: aml_config/c.yml}\nprepareEnvironment: true\n"
    ),
]


@pytest.mark.parametrize("text", SAME, ids=["YAML", "JSON", "azureml-core"])
def test_every_generation_gives_the_same_reading(text: str) -> None:
    found = run_configuration(text)
    assert found._replace(argument_vector_place=Place("")) == RunConfiguration(
        name="x",
        place=Place("aml_config/x"),
        target="local",
        framework="Python",
        argument_vector=("a.py", "0.10", "true"),
        environment_variables=(("A", "010"), ("B", "yes"), ("C", "on"), ("D", "")),
        conda_dependencies_file="aml_config/c.yml",
        prepare_environment=True,
        tracked_run=False,
    )
    assert found.argument_vector_place.line


def test_a_compute_target_in_full() -> None:
    text = (
        "address: gpu.example.org:5022\nbaseDockerImage: 'debian:12'\nnativeSharedDirectory: /srv\n"
        "password: a#b#0123456789abcdef0123456789abcdef\nprivateKey: k\nsharedVolumes: false\n"
        "type: remotedocker\nnvidiaDocker: true\nuserManagedEnvironment: true\npythonLocation: python3\n"
        "sparkSubmitLocation: /s\nyarnDeployMode: client\nnodeCount: 2\nusername: ada\n"
    )
    assert compute_target(text) == ComputeTarget(
        name="x",
        kind="remotedocker",
        place=Place("aml_config/x"),
        address="gpu.example.org:5022",
        username="ada",
        password="a#b#0123456789abcdef0123456789abcdef",
        private_key="k",
        base_docker_image="debian:12",
        shared_volumes=False,
        native_shared_directory="/srv",
        nvidia_docker=True,
        user_managed_environment=True,
        python_location="python3",
        spark_submit_location="/s",
        yarn_deploy_mode="client",
        node_count=2,
    )


def test_defaults_are_those_of_the_schema() -> None:
    target = compute_target("type: docker\nbaseDockerImage:\n")
    assert target.base_docker_image == "debian:bookworm-slim"
    assert target.native_shared_directory == "~/.azureml/share/"
    assert compute_target("type: local\n").base_docker_image == ""


def test_azureml_core_without_a_compute_file() -> None:
    text = (
        "target: local\nscript: a.py\nenvironment:\n"
        "  docker: {enabled: true, baseImage: 'debian:12', gpuSupport: yes}\n"
        "  python: {interpreterPath: /py, userManagedDependencies: true}\n"
    )
    target = to_model.own_target("local", "aml_config/x", reading(text))
    assert (target.kind, target.base_docker_image, target.nvidia_docker) == ("docker", "debian:12", True)
    assert (target.python_location, target.user_managed_environment) == ("/py", True)
    plain = to_model.own_target("local", "aml_config/x", reading("script: a.py\n"))
    assert (plain.kind, plain.python_location) == ("local", "python")


@pytest.mark.parametrize(
    ("compute", "enabled", "kind"),
    [
        ("type: local\n", "true", "docker"),
        ("type: local\n", "false", "local"),
        ("type: docker\n", "false", "docker"),
        ("type: remote\naddress: a\nusername: b\n", "true", "remotedocker"),
        ("type: cluster\naddress: a\nusername: b\n", "true", "cluster"),
    ],
)
def test_azureml_core_over_a_compute_file(compute: str, enabled: str, kind: str) -> None:
    text = (
        f"script: a.py\nenvironment:\n  docker: {{enabled: {enabled}}}\n  python: {{interpreterPath: /py}}\n"
    )
    found = to_model.overridden(compute_target(compute), reading(text))
    assert (found.kind, found.python_location) == (kind, "/py")
    assert bool(found.base_docker_image) == (kind in {"docker", "remotedocker"})


def test_azureml_core_dependencies_inside() -> None:
    text = (
        "script: a.py\nenvironment:\n  python:\n    condaDependencies:\n      channels: [conda-forge]\n"
        "      dependencies: [python=3.12, {pip: [polars]}]\n"
        "  spark:\n    repositories: ['https://r.example.org']\n"
        "    packages: [{group: g, artifact: a, version: 0.10}]\n"
        "spark: {configuration: {spark.x: 010}}\n"
    )
    found = reading(text)
    configuration = to_model.run_configuration("x", "aml_config/x.runconfig", found)
    assert configuration.conda_dependencies_file == "aml_config/x.runconfig"
    assert configuration.spark_dependencies_file == "aml_config/x.runconfig"
    conda = to_model.conda("aml_config/x.runconfig", found)
    assert [line.text for line in (*conda.channels, *conda.specs, *conda.pip)] == [
        "conda-forge",
        "python=3.12",
        "polars",
    ]
    assert conda.specs[0].place == Place("aml_config/x.runconfig", 6, 22)
    spark = to_model.spark("aml_config/x.runconfig", found)
    assert spark.configuration == (("spark.x", "010"),)
    assert spark.repositories == ("https://r.example.org",)
    assert spark.packages[0].version == "0.10"


def test_azureml_core_prepares_by_default() -> None:
    assert run_configuration("script: a.py\n").prepare_environment is True
    assert run_configuration("script: a.py\nautoPrepareEnvironment: false\n").prepare_environment is False
    assert run_configuration("Target: a\n").prepare_environment is False


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("aml_config\\c.yml", "aml_config/c.yml"),
        ("./a//b.yml", "a/b.yml"),
        ("/a/b.yml", "/a/b.yml"),
        ("../a.yml", "../a.yml"),
        ("C:\\a\\b.yml", "C:/a/b.yml"),
    ],
)
def test_paths_have_one_form(path: str, normal: str) -> None:
    assert to_model.normal(path) == normal


def test_without_shared_volumes_no_shared_directory_is_implied() -> None:
    assert compute_target("type: docker\nsharedVolumes: false\n").native_shared_directory == ""
    named = compute_target("type: docker\nsharedVolumes: false\nnativeSharedDirectory: /srv\n")
    assert named.native_shared_directory == "/srv"
