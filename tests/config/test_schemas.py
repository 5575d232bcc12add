"""The schemas are valid, explain every key, and their own examples hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from amlexec.history.folders import write
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Outputs, Run, SnapshotRecord, Source
from tests.support import records

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted((ROOT / "schemas").glob("*.schema.json"))
NAMES = {path.name.removesuffix(".schema.json"): path for path in SCHEMAS}
SHIPPED = [
    path
    for folder in (ROOT / "examples", ROOT / "amlexec" / "templates")
    for path in sorted(folder.rglob("aml_config/*"))
    if path.suffix in {".compute", ".runconfig", ".yml"}
]


def schema(name: str) -> dict[str, Any]:
    return json.loads(NAMES[name].read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def kind(path: Path) -> str:
    return {".compute": "compute", ".runconfig": "runconfig"}.get(path.suffix, path.stem)


def properties(node: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every described property below `node`; the conditions of if/then/else only narrow them."""
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items():
            yield f"{where}/{name}", value
        for name, value in node.items():
            if name not in {"if", "then", "else", "allOf", "default", "examples"}:
                yield from properties(value, f"{where}/{name}")
    elif isinstance(node, list):
        for value in node:
            yield from properties(value, where)


PROPERTIES = [
    pytest.param(value, id=f"{name}{where}") for name in NAMES for where, value in properties(schema(name))
]


def problems(name: str, value: Any) -> list[tuple[str, str]]:
    """The errors in `value`: the dotted key and the violated keyword of the schema, sorted."""
    errors = Draft202012Validator(schema(name)).iter_errors(value)
    return sorted((".".join(map(str, error.absolute_path)), str(error.validator)) for error in errors)


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_and_named_by_its_address(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"https://amlexec.readthedocs.io/en/latest/schemas/{name}.schema.json"
    assert schema(name)["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("value", PROPERTIES)
def test_every_property_has_a_description(value: dict[str, Any]) -> None:
    assert value["title"]
    assert value["description"].endswith(".")
    assert "type" in value
    if "enumDescriptions" in value:
        assert len(value["enumDescriptions"]) == len(value["enum"])


@pytest.mark.parametrize("value", PROPERTIES)
def test_defaults_and_examples_hold(value: dict[str, Any]) -> None:
    samples = [*value.get("examples", []), *([value["default"]] if "default" in value else [])]
    for sample in samples:
        Draft202012Validator(value).validate(sample)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_files_hold(path: Path) -> None:
    assert problems(kind(path), yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "local"}, []),
        ({"type": "local", "pythonLocation": None}, []),
        ({}, [("", "required")]),
        ({"type": "loacl"}, [("type", "enum")]),
        ({"type": "local", "pythonlocation": "python"}, [("", "additionalProperties")]),
        ({"type": "docker", "sharedVolumes": "true"}, [("sharedVolumes", "type")]),
        ({"type": "batchai", "nodeCount": 0}, [("nodeCount", "minimum")]),
        ({"type": "remote", "address": "a"}, [("", "required")]),
        ({"type": "virtualmachine", "address": None, "username": "u"}, [("address", "type")]),
        ({"type": "cluster", "address": "a:22", "username": "u", "yarnDeployMode": "client"}, []),
        ({"native": True}, []),
        ({"cluster": False, "native": False}, []),
        ({"cluster": True}, [("", "required"), ("", "required")]),
    ],
)
def test_compute_targets(value: Any, expected: list[tuple[str, str]]) -> None:
    assert problems("compute", value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, []),
        ({"Target": "local", "ArgumentVector": ["$file", 234], "EnvironmentVariables": None}, []),
        ({"Target": "local", "Framework": "Pyhton"}, [("Framework", "enum")]),
        ({"Target": "local", "TrackedRun": "true"}, [("TrackedRun", "type")]),
        ({"Target": "local", "EnvironmentVariables": {"A": []}}, [("EnvironmentVariables.A", "type")]),
        ({"Target": "local", "EnvironmentVariables": {"A=B": 1}}, [("EnvironmentVariables", "pattern")]),
        ({"Target": "local", "script": "a.py"}, [("", "additionalProperties")]),
        ({"target": "local", "Framework": "Python"}, [("", "additionalProperties")]),
        ({"script": "a.py", "framework": "PyTorch", "communicator": "None"}, []),
        (
            {"script": "a.py", "environment": {"docker": {"enabled": "yes"}}},
            [("environment.docker.enabled", "type")],
        ),
        ({"script": "a.py", "TrackedRun": True}, [("", "additionalProperties")]),
    ],
)
def test_run_configurations(value: Any, expected: list[tuple[str, str]]) -> None:
    assert problems("runconfig", value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("conda_dependencies", {"dependencies": ["python=3.12", {"pip": None}]}, []),
        (
            "conda_dependencies",
            {"dependencies": ["python", {"pip": [1]}]},
            [("dependencies.1.pip.0", "type")],
        ),
        ("conda_dependencies", {"dependencies": [None]}, [("dependencies.0", "type")]),
        ("conda_dependencies", {"pip": []}, [("", "additionalProperties")]),
        ("spark_dependencies", {"configuration": {"a": 1, "b": "x", "c": True}, "packages": None}, []),
        ("spark_dependencies", {"packages": [{"group": "g", "artifact": "a"}]}, [("packages.0", "required")]),
        ("spark_dependencies", {"repositories": "https://repos.example.org"}, [("repositories", "type")]),
    ],
)
def test_dependencies(name: str, value: Any, expected: list[tuple[str, str]]) -> None:
    assert problems(name, value) == expected


RUN = records.RUN._replace(
    run_id="iris_1521077190506",
    status="Running",
    start_time_utc="2026-01-31T12:00:00.100000Z",
    snapshot=SnapshotRecord("4b825dc642cb6eb9a060e54bf8d69288fbee4904", 9, 14231),
    source=Source("", dirty=True),
    metrics={"Accuracy": [0.9, 0.95], "note": {"a": None}},
    outputs=Outputs(0, 0),
)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (RUN, []),
        (RUN._replace(argv=None, python=None, platform=None, snapshot=None, source=None, outputs=None), []),
        (RUN._replace(status="Done"), [("status", "enum")]),
        (RUN._replace(end_time_utc="2026-01-31 12:00"), [("end_time_utc", "pattern")]),
        (RUN._replace(exit_code=-9), [("exit_code", "minimum")]),
    ],
)
def test_a_record_as_it_is_written(tmp_path: Path, run: Run, expected: list[tuple[str, str]]) -> None:
    write(RunPaths(tmp_path), run)
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert problems("run", record) == expected


def test_the_schema_of_a_record_has_every_field() -> None:
    assert tuple(schema("run")["properties"]) == tuple(schema("run")["required"]) == Run._fields


def test_every_final_status_is_in_the_schema() -> None:
    assert set(schema("run")["properties"]["status"]["enum"]) > FINAL
