"""Convert every generation of keys to one form. Only this module knows the generations.

A `.runconfig` is PascalCase (2017 to 2018, JSON or YAML, with a `.compute` file beside it) or camelCase
(azureml-core, 2018 to 2020, one file for everything). A `.compute` file says `type`, with two older
names for kinds, or, before that, `cluster` and `native`.

The one form is a `Reading`: the file's values under the names of `amlexec.values`, as plain JSON values.
Keys that are not in the file are left out, except for the defaults that the schema documents.

- `compute`: fields of ComputeTarget (from a camelCase file: only the overridden ones)
- `docker`: whether a camelCase file asks for a container; absent if the file does not say
- `own`: the compute target that a camelCase file describes if it has no `.compute` file
- `runconfig`: fields of RunConfiguration; environment variables are a list of pairs
- `where`: field of ComputeTarget in a camelCase file -> line and column
- `places`: field of RunConfiguration -> line and column; `names`: field -> key as the file spells it
- `conda`: `channels`, `specs` and `pip`, each a list of text, line and column
- `sweep`: fields of `amlexec.search.section.SweepSection`
- `spark`: `configuration` (pairs), `repositories` and `packages` (group, artifact, version)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec import kinds
from amlexec.config import schemas
from amlexec.config.document import Mapping, Scalar, Sequence, plain
from amlexec.config.foreign import placeholder
from amlexec.config.keys import COMPUTE_FIELDS

if TYPE_CHECKING:
    from amlexec.config.document import Document, Node
    from amlexec.search.domains import Domain

__all__ = [
    "CLOUD_FRAMEWORKS",
    "IGNORED",
    "IN_DOCKER",
    "INLINE_CONDA",
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

CLOUD_FRAMEWORKS = frozenset(
    ["CNTK", "TensorFlow", "PyTorch", "TensorFlowParameterServer", "PythonMpi", "PythonIntelMpi"]
)
"""Frameworks of azureml-core that run Python with an additional setup in the cloud."""

IN_DOCKER = ("environment.docker.enabled", "docker.useDocker")
"""Keys of azureml-core that ask for a container; either of them is enough."""
INLINE_CONDA = "environment.python.condaDependencies"

_REFERENCES = frozenset(["target", "framework", "conda_dependencies_file", "spark_dependencies_file"])
_CAMEL_MARKS = frozenset(["script", "target", "framework", "arguments", "environment"])
_PASCAL_MARKS = frozenset(["Target", "ArgumentVector", "Framework"])

_PASCAL = {
    "Target": "target",
    "Framework": "framework",
    "ArgumentVector": "argument_vector",
    "EnvironmentVariables": "environment_variables",
    "CondaDependenciesFile": "conda_dependencies_file",
    "SparkDependenciesFile": "spark_dependencies_file",
    "PrepareEnvironment": "prepare_environment",
    "TrackedRun": "tracked_run",
}
_SWEEP = {
    "List": "list_file",
    "Search": "search",
    "Points": "points",
    "Seed": "seed",
    "Sampler": "sampler",
    "Metric": "metric",
    "Goal": "goal",
    "EarlyStop": "early_stop",
    "Jobs": "jobs",
    "FailFast": "fail_fast",
    "Timeout": "timeout",
    "RunTimeout": "run_timeout",
}
_CAMEL = {
    "target": "target",
    "framework": "framework",
    "environment.environmentVariables": "environment_variables",
    "environment.python.condaDependenciesFile": "conda_dependencies_file",
    "prepareEnvironment": "prepare_environment",
    "autoPrepareEnvironment": "prepare_environment",
    "history.outputCollection": "tracked_run",
    "history.enabled": "tracked_run",
}
_CAMEL_COMPUTE = {
    "environment.docker.baseImage": "base_docker_image",
    "docker.sharedVolumes": "shared_volumes",
    "environment.docker.sharedVolumes": "shared_volumes",
    "environment.docker.gpuSupport": "nvidia_docker",
    "environment.python.interpreterPath": "python_location",
    "environment.python.userManagedDependencies": "user_managed_environment",
    "hdi.yarnDeployMode": "yarn_deploy_mode",
    "batchai.nodeCount": "node_count",
    "containerInstance.region": "region",
    "containerInstance.cpuCores": "cpu_cores",
    "containerInstance.memoryGb": "memory_gb",
}
OF_NODES = {
    "communicator": "communicator",
    "nodeCount": "node_count",
    "mpi.processCountPerNode": "tasks_per_node",
}
"""Keys of azureml-core, likewise, that only have an effect on clusters with nodes. Any value is accepted."""
_COMMUNICATORS = frozenset(["OpenMpi", "IntelMpi", "Gloo"])
IGNORED: dict[str, tuple[Any, ...]] = {
    "UseSampling": (False,),
    "DataSourceSettings": ({},),
    "DataSourceSubstitutions": ({},),
    "CondaFile": (),
    "command": ([],),
    "communicator": ("None",),
    "maxRunDurationSeconds": (),
    "nodeCount": (1,),
    "dataReferences": ({},),
    "data": ({},),
    "outputData": ({},),
    "exposedPorts": ([],),
    "environment.python.baseCondaEnvironment": (),
    "environment.docker.baseDockerfile": (),
    "environment.docker.arguments": ([],),
    "environment.docker.shmSize": ("2g", "1g"),
    "environment.docker.baseImageRegistry.address": (),
    "docker.arguments": ([],),
    "docker.shmSize": ("2g", "1g"),
    "tensorflow.workerCount": (1,),
    "tensorflow.parameterServerCount": (1, 0),
    "mpi.processCountPerNode": (1, 0),
}
"""Keys that have an effect in Azure but none here, with the values that have no effect in Azure either."""


def is_harmless(key: str, value: Any) -> bool:
    """Whether the value of an ignored key has no effect in Azure either."""
    if value is None or value in ("", {}, []):
        return True
    for harmless in IGNORED[key]:
        words = ("false", "no", "off") if harmless is False else (str(harmless).casefold(),)
        if (isinstance(value, str) and value.strip().casefold() in words) or value == harmless:
            return True
    return False


def is_camel(root: Mapping) -> bool:
    """Whether a run configuration is of the camelCase generation; the schema uses the same keys."""
    keys = root.entries.keys()
    return not _CAMEL_MARKS.isdisjoint(keys) and _PASCAL_MARKS.isdisjoint(keys)


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
    keys = _CAMEL if is_camel(root) else _PASCAL
    fields: dict[str, Any] = {"target": "local"} if is_camel(root) else {}
    places: dict[str, list[int]] = {}
    for key, field in keys.items():
        node = find(root, key)
        is_text = isinstance(node, Scalar) and not node.is_null and bool(node.text.strip())
        if field in _REFERENCES and isinstance(node, Scalar) and is_text and not placeholder(node.text):
            fields[field] = node.text.strip()
            places[field] = [node.line, node.column]
    return {"runconfig": fields, "places": places, "names": {field: key for key, field in keys.items()}}


def _compute(data: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    kind = kinds.of(kind_of(data))
    fields = {"kind": kind.name}
    if kind.has_shared_folder and data.get("sharedVolumes") is not False:
        # Without shared volumes there is no shared folder; only an explicit key deserves a warning.
        fields["native_shared_directory"] = defaults.get("nativeSharedDirectory", "")
    if kind.in_container:
        fields["base_docker_image"] = defaults.get("baseDockerImage", "")
    return fields | {field: data[key] for key, field in COMPUTE_FIELDS.items() if key in data}


def _pascal(root: Mapping, data: dict[str, Any]) -> Reading:
    fields = {field: data[key] for key, field in _PASCAL.items() if key in data}
    if "environment_variables" in fields:
        fields["environment_variables"] = list(map(list, fields["environment_variables"].items()))
    places = {
        field: [node.line, node.column]
        for key, field in _PASCAL.items()
        if field in fields and (node := find(root, key))
    }
    reading: Reading = {"runconfig": fields, "places": places}
    reading["names"] = {field: key for key, field in _PASCAL.items()}
    if isinstance(sweep := find(root, "Sweep"), Mapping):
        reading["sweep"] = _sweep(sweep, data["Sweep"])
    return reading


def _sweep(section: Mapping, data: dict[str, Any]) -> dict[str, Any]:
    from amlexec.search.domains import to_json

    found = {field: data[key] for key, field in _SWEEP.items() if key in data}
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
    for key, field in _CAMEL.items():
        node, value = find(root, key), dig(data, key)
        names[field] = key
        if node is not None and value is not None:
            is_off = field == "tracked_run" and fields.get(field) is False
            fields[field] = value and not is_off if field == "tracked_run" else value
            places[field] = [node.line, node.column]
    if fields.get("framework") in CLOUD_FRAMEWORKS:
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
    for key, field in _CAMEL_COMPUTE.items():
        node, value = find(root, key), dig(data, key)
        if node is not None and value is not None and value != "None":
            compute[field] = value
            where[field] = [node.line, node.column]
    _add_nodes(root, data, compute, where)
    reading: Reading = {"runconfig": fields, "places": places, "names": names, "compute": compute}
    reading["where"] = where
    in_docker = [dig(data, key) for key in IN_DOCKER]
    if any(value is not None for value in in_docker):
        reading["docker"] = any(in_docker)
    inline = find(root, INLINE_CONDA)
    if isinstance(inline, Mapping):
        reading["conda"] = conda(inline)
    packages, configuration = find(root, "environment.spark"), find(root, "spark")
    if isinstance(packages, Mapping) or isinstance(configuration, Mapping):
        reading["spark"] = _spark(configuration, packages)
    return reading


def _add_nodes(
    root: Mapping, data: dict[str, Any], compute: dict[str, Any], where: dict[str, list[int]]
) -> None:
    for key, field in OF_NODES.items():
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
