"""Convert every generation of keys to one form. Only this module and `keys.py` know the generations.

A `.runconfig` is PascalCase (2017 to 2018, JSON or YAML, with a `.compute` file beside it) or camelCase
(azureml-core, 2018 to 2020, one file for everything). A `.compute` file says `type`, with two older
names for kinds, or, before that, `cluster` and `native`.

The one form is a `Reading`: the file's values under the names of `amlexec.values`, as plain JSON values.
Keys that are not in the file are left out, except for the defaults that the schema documents.

- `compute`: fields of ComputeTarget (from a camelCase file: only the overridden ones)
- `docker`: whether a camelCase file asks for a container; absent if the file does not say
- `own`: the compute target that a camelCase file describes if it has no `.compute` file
- `runconfig`: fields of RunConfiguration; environment variables are a list of pairs, models one of text,
  line and column
- `where`: field of ComputeTarget in a camelCase file -> line and column
- `places`: field of RunConfiguration -> line and column; `names`: field -> key as the file spells it
- `conda`: `channels`, `specs` and `pip`, each a list of text, line and column
- `sweep`: fields of `amlexec.search.section.SweepSection`
- `spark`: `configuration` (pairs), `repositories` and `packages` (group, artifact, version)
"""

from __future__ import annotations

from typing import Any

from amlexec import kinds
from amlexec.config import keys, schemas
from amlexec.config.document import Mapping, Scalar, Sequence, plain
from amlexec.config.foreign import placeholder
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.config.document import Document, Node
    from amlexec.search.domains import Domain

__all__ = [
    "Reading",
    "canonical",
    "conda",
    "dig",
    "find",
    "is_camel",
    "is_harmless",
    "kind_of",
    "outline",
    "values",
]

Reading = dict[str, Any]

_REFERENCES = frozenset(["target", "framework", "conda_dependencies_file", "spark_dependencies_file"])
_CAMEL_MARKS = frozenset(["script", "target", "framework", "arguments", "environment"])
_PASCAL_MARKS = frozenset(["Target", "ArgumentVector", "Framework"])
_COMMUNICATORS = frozenset(["OpenMpi", "IntelMpi", "Gloo"])


def is_harmless(key: str, value: Any) -> bool:
    """Whether the value of an ignored key has no effect in Azure either."""
    if value is None or value in ("", {}, []):
        return True
    for harmless in keys.IGNORED[key]:
        words = ("false", "no", "off") if harmless is False else (str(harmless).casefold(),)
        if (isinstance(value, str) and value.strip().casefold() in words) or value == harmless:
            return True
    return False


def is_camel(root: Mapping) -> bool:
    """Whether a run configuration is of the camelCase generation; the schema uses the same keys."""
    found = root.entries.keys()
    return not _CAMEL_MARKS.isdisjoint(found) and _PASCAL_MARKS.isdisjoint(found)


def find(root: Mapping, dotted: str) -> Node | None:
    """The value of a dotted key, or None."""
    node: Node | None = root
    for name in dotted.split("."):
        entry = node.entries.get(name) if isinstance(node, Mapping) else None
        node = entry.value if entry else None
    return node


def kind_of(data: dict[str, Any]) -> str:
    """The kind of a compute target, from `type` or from the two older keys `cluster` and `native`."""
    name = data.get("type")
    if isinstance(name, str):
        return kinds.of(name).name
    if data.get("cluster"):
        return kinds.CLUSTER.name
    plain = kinds.REMOTE if data.get("address") else kinds.LOCAL
    return plain.name if data.get("native") else plain.contained


def canonical(
    document: Document, kind: str, data: dict[str, Any], defaults: dict[str, Any] | None = None
) -> Reading:
    """The reading of a file without errors.

    `data` are its values, typed by the schema; `defaults` are those of the compute schema, by key.
    """
    root = document.root
    if kind == schemas.COMPUTE:
        return {"compute": _compute(data, defaults or {})}
    if kind == schemas.CONDA:
        return {"conda": conda(root)}
    if kind == schemas.SPARK:
        return {"spark": _spark(root, root)}
    if not is_camel(root):
        return _pascal(root, data)
    reading = _camel(root, data)
    own = {"type": kinds.LOCAL.contained if reading.get("docker") else kinds.LOCAL.name}
    return reading | {"own": _compute(own, defaults or {}) | reading["compute"]}


def outline(root: Mapping) -> Reading:
    """The references of a run configuration with errors, so that the other files can be checked too."""
    wanted = keys.CAMEL if is_camel(root) else keys.PASCAL
    fields: dict[str, Any] = {"target": "local"} if is_camel(root) else {}
    places: dict[str, list[int]] = {}
    for key, field in wanted.items():
        node = find(root, key)
        is_text = isinstance(node, Scalar) and not node.is_null and bool(node.text.strip())
        if field in _REFERENCES and isinstance(node, Scalar) and is_text and not placeholder(node.text):
            fields[field] = node.text.strip()
            places[field] = [node.line, node.column]
    return {"runconfig": fields, "places": places, "names": {field: key for key, field in wanted.items()}}


def _compute(data: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    kind = kinds.of(kind_of(data))
    fields = {"kind": kind.name}
    if kind.has_shared_folder and data.get("sharedVolumes") is not False:
        # Without shared volumes there is no shared folder; only an explicit key deserves a warning.
        fields["native_shared_directory"] = defaults.get("nativeSharedDirectory", "")
    if kind.in_container:
        fields["base_docker_image"] = defaults.get("baseDockerImage", "")
    return fields | {field: data[key] for key, field in keys.COMPUTE_FIELDS.items() if key in data}


def _pascal(root: Mapping, data: dict[str, Any]) -> Reading:
    fields = {field: data[key] for key, field in keys.PASCAL.items() if key in data}
    if "environment_variables" in fields:
        fields["environment_variables"] = list(map(list, fields["environment_variables"].items()))
    if models := _lines(find(root, "Models")):
        fields["models"] = models
    places = {
        field: [node.line, node.column]
        for key, field in keys.PASCAL.items()
        if field in fields and (node := find(root, key))
    }
    reading: Reading = {"runconfig": fields, "places": places}
    reading["names"] = {field: key for key, field in keys.PASCAL.items()}
    if isinstance(sweep := find(root, "Sweep"), Mapping):
        reading["sweep"] = _sweep(sweep, data["Sweep"])
    return reading


def _sweep(section: Mapping, data: dict[str, Any]) -> dict[str, Any]:
    from amlexec.search.domains import to_json

    found = {field: data[key] for key, field in keys.SWEEP.items() if key in data}
    parameters = find(section, "Parameters")
    if isinstance(parameters, Mapping):
        found["parameters"] = [
            [name, to_json(values(entry.value))] for name, entry in parameters.entries.items()
        ]
    return found


def values(node: Node) -> Domain:
    """The values of a parameter of a sweep: a list, or a text. Raises BadValuesError."""
    from amlexec.search.section import domain_of_list, domain_of_text

    if isinstance(node, Sequence):
        items = [item for item in node.items if isinstance(item, Scalar)]
        return domain_of_list([("null" if item.is_null else item.text, item.is_plain) for item in items])
    return domain_of_text(node.text if isinstance(node, Scalar) else "")


def _camel(root: Mapping, data: dict[str, Any]) -> Reading:
    # Missing keys have the defaults of azureml-core, not of a PascalCase file.
    fields: dict[str, Any] = {"target": "local", "prepare_environment": True}
    places: dict[str, list[int]] = {}
    names = {"argument_vector": "script", "spark_dependencies_file": "environment.spark"}
    for key, field in keys.CAMEL.items():
        node, value = find(root, key), dig(data, key)
        names[field] = key
        if node is not None and value is not None:
            is_off = field == "tracked_run" and fields.get(field) is False
            fields[field] = value and not is_off if field == "tracked_run" else value
            places[field] = [node.line, node.column]
    if fields.get("framework") in keys.CLOUD_FRAMEWORKS:
        fields["framework"] = "Python"
    variables = {**fields.get("environment_variables", {}), **(data.get("environmentVariables") or {})}
    if variables:
        fields["environment_variables"] = list(map(list, variables.items()))
    script = find(root, "script")
    if data.get("script") and script is not None:
        fields["argument_vector"] = [data["script"], *data.get("arguments", [])]
        places["argument_vector"] = [script.line, script.column]
    compute: dict[str, Any] = {}
    where: dict[str, list[int]] = {}
    for key, field in keys.CAMEL_COMPUTE.items():
        node, value = find(root, key), dig(data, key)
        if node is not None and value is not None and value != "None":
            compute[field] = value
            where[field] = [node.line, node.column]
    _add_nodes(root, data, compute, where)
    reading: Reading = {"runconfig": fields, "places": places, "names": names, "compute": compute}
    reading["where"] = where
    in_docker = [dig(data, key) for key in keys.IN_DOCKER]
    if any(value is not None for value in in_docker):
        reading["docker"] = any(in_docker)
    inline = find(root, keys.INLINE_CONDA)
    if isinstance(inline, Mapping):
        reading["conda"] = conda(inline)
    packages, configuration = find(root, "environment.spark"), find(root, "spark")
    if isinstance(packages, Mapping) or isinstance(configuration, Mapping):
        reading["spark"] = _spark(configuration, packages)
    return reading


def _add_nodes(
    root: Mapping, data: dict[str, Any], compute: dict[str, Any], where: dict[str, list[int]]
) -> None:
    for key, field in keys.OF_NODES.items():
        node, value = find(root, key), _of_nodes(key, dig(data, key))
        if node is not None and value is not None and field not in compute:
            compute[field] = value
            where[field] = [node.line, node.column]


def _of_nodes(key: str, value: Any) -> Any:
    """The value of a key of `OF_NODES`; None if it has no effect."""
    text = str(value).strip()
    if key == "communicator":
        return text if text in _COMMUNICATORS else None
    return int(text) if text.isascii() and text.isdecimal() and 1 < int(text) < 1_000_000 else None


def dig(data: dict[str, Any], dotted: str) -> Any:
    """The plain value of a dotted key, or None."""
    value: Any = data
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _lines(node: Node | None) -> list[list[Any]]:
    items = node.items if isinstance(node, Sequence) else []
    return [[item.text.strip(), item.line, item.column] for item in items if isinstance(item, Scalar)]


def conda(root: Mapping) -> dict[str, Any]:
    """The content of a conda environment file: the part `conda` of a `Reading`."""
    dependencies = find(root, "dependencies")
    pip: list[list[Any]] = []
    for item in dependencies.items if isinstance(dependencies, Sequence) else []:
        if isinstance(item, Mapping):
            pip += _lines(find(item, "pip"))
    return {"channels": _lines(find(root, "channels")), "specs": _lines(dependencies), "pip": pip}


def _spark(configuration: Node | None, others: Node | None) -> dict[str, Any]:
    def value(of: Node | None, key: str, kind: type) -> Any:
        node = find(of, key) if isinstance(of, Mapping) else None
        return plain(node) if node is not None and isinstance(node, kind) else empty_values[kind]

    empty_values: dict[type, Any] = {Mapping: {}, Sequence: []}
    return {
        "configuration": [
            [name, text or ""] for name, text in value(configuration, "configuration", Mapping).items()
        ],
        "repositories": [text.strip() for text in value(others, "repositories", Sequence)],
        "packages": [
            [package[key].strip() for key in ("group", "artifact", "version")]
            for package in value(others, "packages", Sequence)
        ],
    }
