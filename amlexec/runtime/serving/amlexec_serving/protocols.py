"""The protocols of other servers: MLflow's `/invocations`, and the Open Inference Protocol (`/v2`).

A request of theirs is a request to `/score` in another form. Its values become the parameters of `run`, so
these have to be declared: by annotations, or by `@input_schema`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any, Mapping, Sequence

from .errors import AnswerError
from .requests import Request, json_of
from .script import Answer, Script
from .settings import Settings

__all__ = ["INFER", "INVOCATIONS", "behind", "described", "is_inference"]

INVOCATIONS = "/invocations"
INFER = "/v2/infer"
"""What the paths of all models are counted as."""
_MODEL = re.compile(r"/v2/models/([^/]{1,200})(?:/versions/([^/]{1,100}))?(/ready|/infer)?")
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_KINDS = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
_OF_SCHEMA = {"boolean": "BOOL", "integer": "INT64", "number": "FP64", "string": "BYTES"}
_MOST_DIMENSIONS = 32


def is_inference(path: str) -> bool:
    """Whether a path is that of requests in the Open Inference Protocol."""
    found = _MODEL.fullmatch(path)
    return found is not None and found[3] == "/infer"


def behind(path: str, script: Script, settings: Settings) -> _Translated:
    """The script as it answers requests to `path`, for one request. Raises AnswerError."""
    if path == INVOCATIONS:
        return _Invocations(script, path)
    model, version = _named(path, settings)
    return _Inference(script, path, model, version)


def described(path: str, script: Script | None, settings: Settings, *, ready: bool) -> Answer | None:
    """What the Open Inference Protocol tells of the service or a model; None for any other path."""
    if path == "/v2":
        told: dict[str, Any] = {"name": settings.name, "version": _version(settings), "extensions": []}
        return Answer(200, json.dumps(told).encode())
    found = _MODEL.fullmatch(path)
    if found is None or found[3] == "/infer":
        return None
    model, version = _named(path, settings)
    if found[3] == "/ready":
        return Answer(200 if ready else 503, json.dumps({"name": model, "ready": ready}).encode())
    told = {"name": model, "versions": [version], "platform": "amlexec", "inputs": [], "outputs": []}
    for name, field in script.fields.items() if script is not None else ():
        kind: Mapping[str, Any] = field.schema
        shape: list[int] = []
        while kind.get("type") == "array":
            kind, shape = kind.get("items", {}), [*shape, -1]
        if kind.get("type") in _OF_SCHEMA:
            told["inputs"].append({"name": name, "datatype": _OF_SCHEMA[kind["type"]], "shape": shape or [1]})
    return Answer(200, json.dumps(told).encode())


def _version(settings: Settings) -> str:
    return str(settings.models[0]["version"]) if len(settings.models) == 1 else "1"


def _named(path: str, settings: Settings) -> tuple[str, str]:
    """The model and version that a path names. Raises AnswerError (404)."""
    found = _MODEL.fullmatch(path)
    assert found is not None
    versions = {str(one["name"]): str(one["version"]) for one in settings.models}
    versions.setdefault(settings.name, _version(settings))
    model, version = found[1], found[2]
    if model not in versions or (version is not None and version != versions[model]):
        served = ", ".join("{} (version {})".format(*one) for one in versions.items())
        raise AnswerError(404, "there is no such model; this service has {}".format(served))
    return model, versions[model]


class _Translated:
    """A script whose requests and answers have another form."""

    is_raw = False

    def __init__(self, script: Script, path: str) -> None:
        if script.mode not in ("value", "object") or script.files:
            message = "{} needs a scoring script that declares its input: annotate the parameters of run"
            raise AnswerError(501, message.format(path))
        self._script = script
        self.is_async, self.run = script.is_async, script.run

    def arguments(self, request: Request) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `run` for a request. Raises AnswerError."""
        body = json.dumps(self._value(request)).encode()
        headers = {**request.raw_headers, b"content-type": b"application/json"}
        return self._script.arguments(Request("POST", "", headers, body, request.identity))

    def answer(self, value: Any, nan: str) -> Answer:
        """The answer for a value that `run` returned. Raises AnswerError."""
        found = self._script.answer(value, nan)
        if found.status != 200:
            return found
        if found.content_type != "application/json":
            raise AnswerError(500, "the scoring script's answer is not JSON, which this protocol needs")
        return found._replace(body=self._told(found.body))

    def _value(self, request: Request) -> Any:
        raise NotImplementedError

    def _told(self, body: bytes) -> bytes:
        raise NotImplementedError

    def _of_table(self, columns: Sequence[Any], rows: Sequence[Any]) -> Any:
        """A table as the only parameter takes it: a data frame as objects, any other as lists."""
        field = self._only()
        if any(type(row) is not list or len(row) != len(columns) for row in rows):
            raise AnswerError(400, "each row needs {} values".format(len(columns)))
        return self._alone([dict(zip(columns, row)) for row in rows] if field.is_table else rows)

    def _only(self) -> Any:
        """The only parameter. Raises AnswerError (400)."""
        if len(self._script.fields) != 1:
            names = ", ".join(self._script.fields)
            raise AnswerError(400, "run has several parameters ({}): name each".format(names))
        (field,) = self._script.fields.values()
        return field

    def _alone(self, value: Any) -> Any:
        """A value of the only parameter, as the body of a request to /score. Raises AnswerError (400)."""
        self._only()
        return value if self._script.mode == "value" else dict.fromkeys(self._script.fields, value)


class _Invocations(_Translated):
    """MLflow's scoring protocol."""

    def _value(self, request: Request) -> Any:
        if request.media_type == "text/csv":
            return self._of_csv(request.text())
        if request.media_type and not request.is_json:
            raise AnswerError(415, "send application/json or text/csv")
        data = json_of(request.text())
        given = [name for name in _FORMS if isinstance(data, dict) and name in data]
        if len(given) != 1:
            raise AnswerError(400, "expected an object with one of {}".format(", ".join(_FORMS)))
        unknown = sorted(set(data) - {*_FORMS, "params"})
        if unknown or data.get("params"):
            name = unknown[0] if unknown else "params"
            raise AnswerError(400, "{} is unknown: run takes no such parameter".format(name[:80]))
        value = data[given[0]]
        if given[0] == "dataframe_split":
            if not isinstance(value, dict) or not all(
                isinstance(value.get(key), list) for key in ("columns", "data")
            ):
                raise AnswerError(400, "dataframe_split needs the lists columns and data")
            return self._of_table(value["columns"], value["data"])
        if self._script.mode == "object" and isinstance(value, dict) and given[0] != "dataframe_records":
            return value
        return self._alone(value)

    def _of_csv(self, text: str) -> Any:
        rows = list(csv.reader(io.StringIO(text)))
        if not rows:
            raise AnswerError(400, "the body has no line with the names of columns")
        return self._of_table(rows[0], [[_of_text(cell) for cell in row] for row in rows[1:] if row])

    def _told(self, body: bytes) -> bytes:
        return b'{"predictions": ' + body + b"}"


def _of_text(cell: str) -> Any:
    for kind in (int, float):
        try:
            found = kind(cell)
        except ValueError:
            continue
        return found if found == found and abs(found) != float("inf") else cell
    return cell


class _Inference(_Translated):
    """The Open Inference Protocol: tensors."""

    def __init__(self, script: Script, path: str, model: str, version: str) -> None:
        super().__init__(script, path)
        self._about: dict[str, Any] = {"model_name": model, "model_version": version}

    def _value(self, request: Request) -> Any:
        data = json_of(request.text())
        inputs = data.get("inputs") if isinstance(data, dict) else None
        if not isinstance(inputs, list) or not inputs:
            raise AnswerError(400, "expected an object with the list inputs")
        if isinstance(data.get("id"), str):
            self._about["id"] = data["id"]
        tensors = dict(_tensor(one, at) for at, one in enumerate(inputs))
        fields = self._script.fields
        if self._script.mode == "object" and set(tensors) <= set(fields):
            return {name: _as_scalar(value, fields[name].schema) for name, value in tensors.items()}
        if len(tensors) == 1 and not self._only().is_table:
            return self._alone(*tensors.values())
        # A tensor for each column of a table.
        columns = [_column(name, value) for name, value in tensors.items()]
        if len({len(column) for column in columns}) != 1:
            raise AnswerError(400, "the tensors have different numbers of rows")
        return self._of_table(list(tensors), [list(row) for row in zip(*columns)])

    def _told(self, body: bytes) -> bytes:
        value = json.loads(body)
        named = value if isinstance(value, dict) else {"output_0": value}
        outputs = [_output(str(name), one) for name, one in named.items()]
        return json.dumps({**self._about, "outputs": outputs}).encode()


def _tensor(given: Any, at: int) -> tuple[str, Any]:
    """The name of a tensor, and its values as nested lists. Raises AnswerError (400)."""
    place = "inputs[{}]".format(at)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise AnswerError(400, "{} has no name".format(place))
    shape, data = given.get("shape"), given.get("data")
    sizes = [one for one in shape if type(one) is int and one >= 0] if isinstance(shape, list) else []
    if not isinstance(data, list) or len(sizes) != len(shape or ()) or len(sizes) > _MOST_DIMENSIONS:
        raise AnswerError(400, "{} needs a shape, and data as a list".format(place))
    flat = _flat(data)
    expected = 1
    for size in sizes:
        expected *= size
    if expected != len(flat):
        raise AnswerError(400, "{} has {} values, and its shape {}".format(place, len(flat), expected))
    for size in reversed(sizes[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)] if size else flat
    return given["name"], flat


def _flat(data: list[Any]) -> list[Any]:
    """The values of nested lists, in order, without recursion."""
    found: list[Any] = []
    waiting = [iter(data)]
    while waiting:
        for one in waiting[-1]:
            if isinstance(one, list):
                waiting.append(iter(one))
                break
            found.append(one)
        else:
            waiting.pop()
    return found


def _as_scalar(value: Any, schema: Mapping[str, Any]) -> Any:
    is_one = isinstance(value, list) and len(value) == 1
    return value[0] if is_one and schema.get("type") in _OF_SCHEMA else value


def _column(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise AnswerError(400, "the tensor {} is no column".format(name[:80]))
    return [one[0] if isinstance(one, list) and len(one) == 1 else one for one in value]


def _output(name: str, value: Any) -> dict[str, Any]:
    """A value as a tensor; one that can't be, as its JSON text."""
    shape: list[int] = []
    level = [value]
    while level and all(isinstance(one, list) for one in level) and len({len(one) for one in level}) == 1:
        shape.append(len(level[0]))
        level = [inner for one in level for inner in one]
    kinds = {type(one) for one in level}
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) != 1 or not kinds <= set(_KINDS):
        return {"name": name, "datatype": "BYTES", "shape": [1], "data": [json.dumps(value)]}
    (kind,) = kinds
    return {"name": name, "datatype": _KINDS[kind], "shape": shape or [1], "data": level}
