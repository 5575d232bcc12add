"""The kinds of compute targets: each row is correct, and no other module compares kinds."""

from __future__ import annotations

import ast
import json
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from amlexec import kinds
from amlexec.config import schemas
from amlexec.errors import CannotRunError
from amlexec.kinds import KINDS, Kind
from amlexec.prepare.stores import store_of
from amlexec.targets.registry import runs_on
from amlexec.targets.target import Target
from amlexec.values import ComputeTarget, Place, Project
from tests.test_architecture import modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = {name for kind in KINDS for name in (kind.name, *kind.aliases)}
ROWS = {name for name, value in vars(kinds).items() if isinstance(value, Kind)}
NO_KINDS = {
    # The compute target that is called `local`.
    ("amlexec.config.lint", "name == 'local'"),
    ("amlexec.config.load", "name == 'local'"),
    ("amlexec.config.load", "name != 'local'"),
    # Docker's log driver.
    (
        "amlexec.targets.container_settings",
        "{'local': {'max-size': '1000g', 'max-file': '1', 'compress': 'false'}}",
    ),
    # Spark's deploy mode and master.
    ("amlexec.spark.cluster_args", "where == 'cluster'"),
    ("amlexec.spark.cluster_args", "mode(target) == 'cluster'"),
    ("amlexec.spark.cluster_args", "target.master.startswith('local')"),
    ("amlexec.targets.spark_launch", "cluster_args.mode(target) == 'cluster'"),
    ("amlexec.targets.spark_cluster", "cluster_args.mode(plan.target) == 'cluster'"),
    ("amlexec.targets.spark_cluster", "plan.target.master.startswith('local')"),
}
"""Comparisons with a word that is a kind's name too, and means something else: module and expression."""


def is_kind(node: ast.AST) -> bool:
    """Whether an expression is the name of a kind, or a row of the table or its name."""
    if isinstance(node, ast.Constant):
        return node.value in NAMES
    if isinstance(node, ast.Attribute) and node.attr == "name":
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr in ROWS and isinstance(node.value, ast.Name) and node.value.id == "kinds"
    return isinstance(node, ast.Name) and node.id in ROWS


def operands(node: ast.AST) -> list[ast.expr]:
    """The compared values in a piece of code: `==`, `in`, `match`, a set, a map, or parts of a name."""
    match node:
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
        case (
            ast.Call(func=ast.Attribute(attr="startswith" | "endswith"), args=arguments)
            | ast.Call(func=ast.Name(id="frozenset" | "set"), args=arguments)
        ):
            return arguments
        case ast.Dict(keys=keys):
            return [key for key in keys if key is not None]
        case ast.Set(elts=elements):
            return elements
        case ast.MatchValue(value=value):
            return [value]
    return []


def is_exported(node: ast.AST) -> bool:
    """Whether it is an `__all__`, whose words are names of functions."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def comparisons(tree: ast.Module) -> Iterator[ast.AST]:
    """The places where code compares kinds, or lists several for other code to compare."""
    for node in (one for top in tree.body if not is_exported(top) for one in ast.walk(top)):
        parts = [
            part
            for one in operands(node)
            for part in (one.elts if isinstance(one, ast.List | ast.Set | ast.Tuple) else [one])
        ]
        elements = node.elts if isinstance(node, ast.List | ast.Tuple) else []
        if any(map(is_kind, parts)) or sum(map(is_kind, elements)) > 1:
            yield node


def test_no_other_module_compares_kinds() -> None:
    found = {
        (name, ast.unparse(node))
        for name, path in modules().items()
        if name != "amlexec.kinds"
        for node in comparisons(ast.parse(path.read_text("utf-8")))
    }
    assert found == NO_KINDS


@pytest.mark.parametrize(
    "code",
    [
        'target.kind == "docker"',
        'if run.target_kind not in {"remote", "cluster"}: pass',
        'if "local" != kind: pass',
        'BUILT = frozenset(["virtualmachine", kind])',
        'BY_KIND = {"local": 1}',
        'KINDS = ("remote", "remotedocker")',
        'kind.endswith("docker")',
        "kinds.of(kind) is kinds.CLUSTER",
        "target.kind == kinds.LOCAL.name",
        "kind in (DOCKER.name, REMOTEDOCKER.name)",
        'match kind:\n    case "remote" | "cluster": pass',
    ],
)
def test_a_comparison_is_found(code: str) -> None:
    assert [*comparisons(ast.parse(code))]


@pytest.mark.parametrize(
    "code",
    [
        'reading["docker"]',
        "kinds.of(kind).over_ssh",
        "name = kinds.LOCAL.name",
        '__all__ = ["local", "remote"]',
    ],
)
def test_other_code_is_not_found(code: str) -> None:
    assert not [*comparisons(ast.parse(code))]


def declared(kind: Kind, *, user_managed: bool = False) -> ComputeTarget:
    return ComputeTarget(
        "box",
        kind.name,
        Place("aml_config/box.compute"),
        address="box.example.org",
        username="ada",
        registry="registry.example.org/team",
        user_managed_environment=user_managed,
    )


def test_the_schema_has_the_same_kinds() -> None:
    schema = json.loads(schemas.text(schemas.COMPUTE))
    assert set(schema["properties"]["type"]["enum"]) == NAMES
    (over_ssh,) = (
        rule["if"]["properties"]["type"]["enum"]
        for rule in schema["allOf"]
        if "type" in rule["if"].get("properties", {}) and "address" in rule["then"]["required"]
    )
    assert set(over_ssh) == {name for kind in KINDS if kind.over_ssh for name in (kind.name, *kind.aliases)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_row_is_consistent(kind: Kind) -> None:
    assert kind.is_here + kind.over_ssh + kind.is_service == bool(kind.module)
    assert kind.in_container is (kind.environment == kinds.IMAGE)
    assert kind.over_ssh or kind.is_service or not kind.is_attachable
    assert kind.over_ssh or not (kind.lists_runs or kind.is_spark_cluster)
    if kind.contained:
        contained = kinds.of(kind.contained)
        assert contained.in_container
        assert (contained.is_here, contained.over_ssh) == (kind.is_here, kind.over_ssh)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_class_of_a_row_runs_it(kind: Kind, tmp_path: Path) -> None:
    project = Project(str(tmp_path))
    file = tmp_path / "aml_config" / "box.compute"
    file.parent.mkdir()
    file.write_text(f"type: {kind.name}\naddress: box.example.org\nusername: ada\n")
    if not kind.module:
        with pytest.raises(CannotRunError, match=f"is of type {kind.name}, which this version can't run"):
            runs_on(declared(kind), project)
        return
    target = runs_on(declared(kind), project)
    assert type(target) is getattr(import_module(f"amlexec.targets.{kind.module}"), kind.target)
    verbs = [name for name in vars(Target) if not name.startswith("_")]
    assert "collect" in verbs
    assert all(callable(getattr(target, name)) for name in verbs)


@pytest.mark.parametrize(
    ("kind", "prepared", "where_the_user_manages_it"),
    [
        ("local", False, False),
        ("docker", True, True),
        ("remote", True, False),
        ("remotedocker", True, True),
        ("cluster", True, False),
        ("batchai", False, False),
        ("containerinstance", True, True),
        ("kubernetes", True, True),
    ],
)
def test_who_prepares_the_environment(kind: str, prepared: bool, where_the_user_manages_it: bool) -> None:
    target = declared(kinds.of(kind))
    assert kinds.is_prepared(target) is prepared
    managed = declared(kinds.of(kind), user_managed=True)
    assert kinds.is_prepared(managed) is where_the_user_manages_it
    if prepared:
        assert store_of(target)


def test_an_older_name_and_an_unknown_one() -> None:
    assert kinds.of("localdocker") is kinds.DOCKER
    assert kinds.of("virtualmachine") is kinds.REMOTEDOCKER
    assert kinds.of("slate") == Kind("slate")
