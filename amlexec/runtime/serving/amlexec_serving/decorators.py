"""`@input_schema` and `@output_schema`, and their types, each made of a sample."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from .errors import InvalidError
from .schema import Converter

__all__ = [
    "NumpyParameterType",
    "PandasParameterType",
    "StandardPythonParameterType",
    "input_schema",
    "output_schema",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def input_schema(
    param_name: str, param_type: Any, convert_to_provided_type: bool = True, optional: bool = False
) -> Callable[[_F], _F]:
    """Declare a parameter of `run`: the request's body has a field of that name."""

    def decorate(function: _F) -> _F:
        known = getattr(function, "amlexec_inputs", {})
        told = {param_name: (param_type, convert_to_provided_type, optional), **known}
        function.amlexec_inputs = told  # type: ignore[attr-defined]
        return function

    return decorate


def output_schema(output_type: Any) -> Callable[[_F], _F]:
    """Declare what `run` returns."""

    def decorate(function: _F) -> _F:
        function.amlexec_output = output_type  # type: ignore[attr-defined]
        return function

    return decorate


class StandardPythonParameterType:
    """A value like the sample; parts of the sample may be of the other types."""

    def __init__(self, sample_input: Any) -> None:
        self.sample_input = sample_input

    def converter(self, definitions: dict[str, Any]) -> Converter:
        """Its schema, and what checks and makes a value."""
        return _of_sample(self.sample_input, definitions)


class NumpyParameterType:
    """An array with the sample's type and, but for the number of rows, shape."""

    def __init__(
        self, sample_input: Any, enforce_column_type: bool = True, enforce_shape: bool = True
    ) -> None:
        self.sample_input = sample_input
        self._enforce_type, self._enforce_shape = enforce_column_type, enforce_shape

    def converter(self, _: dict[str, Any]) -> Converter:
        """See `StandardPythonParameterType.converter`."""
        schema: dict[str, Any] = {"type": "number" if self.sample_input.dtype.kind in "iuf" else "string"}
        if self.sample_input.dtype.kind == "b":
            schema = {"type": "boolean"}
        for size in reversed(self.sample_input.shape):
            schema = {"type": "array", "items": schema}
            del size
        return Converter({**schema, "examples": [self.sample_input.tolist()]}, self._convert)

    def _convert(self, value: Any, place: str) -> Any:
        import numpy

        sample = self.sample_input
        try:
            found = numpy.array(value, dtype=sample.dtype if self._enforce_type else None)
        except (TypeError, ValueError) as error:
            raise InvalidError([{"field": place, "message": str(error)}]) from None
        if (self._enforce_shape and found.shape[1:] != sample.shape[1:]) or found.ndim != sample.ndim:
            wanted = ("N", *sample.shape[1:])
            message = "expected an array of shape ({}), got {}".format(
                ", ".join(map(str, wanted)), found.shape
            )
            raise InvalidError([{"field": place, "message": message}])
        return found


class PandasParameterType:
    """A data frame with the sample's columns: a list of objects, or as `to_json(orient=...)` writes it."""

    def __init__(
        self,
        sample_input: Any,
        enforce_column_type: bool = True,
        enforce_shape: bool = True,
        apply_column_names: bool = False,
        orient: str = "records",
        **_: object,
    ) -> None:
        self.sample_input = sample_input
        self._enforce_type, self._enforce_shape = enforce_column_type, enforce_shape
        self._apply_names, self._orient = apply_column_names, orient

    def converter(self, _: dict[str, Any]) -> Converter:
        """See `StandardPythonParameterType.converter`."""
        kinds = {"i": "integer", "u": "integer", "f": "number", "b": "boolean"}
        types = {str(name): kinds.get(kind.kind, "string") for name, kind in self.sample_input.dtypes.items()}
        row = {"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}}
        import json

        example = json.loads(self.sample_input.to_json(orient=self._orient))
        schema: dict[str, Any] = {"type": "array", "items": row} if self._orient == "records" else {}
        return Converter({**schema, "examples": [example]}, self._convert, self._orient == "records")

    def _convert(self, value: Any, place: str) -> Any:
        import pandas

        sample = self.sample_input
        try:
            if self._orient == "split" and isinstance(value, dict):
                found = pandas.DataFrame(
                    value["data"], columns=value.get("columns"), index=value.get("index")
                )
            elif self._orient == "index" and isinstance(value, dict):
                found = pandas.DataFrame.from_dict(value, orient="index")
            else:
                found = pandas.DataFrame(value)
            if self._apply_names and len(found.columns) == len(sample.columns):
                found.columns = sample.columns
            if self._enforce_shape:
                missing = [name for name in sample.columns if name not in found.columns]
                if missing:
                    raise InvalidError(
                        [
                            {"field": "{}.{}".format(place, name), "message": "it is missing"}
                            for name in missing
                        ]
                    )
                found = found[list(sample.columns)]
            if self._enforce_type:
                shared = [name for name in sample.columns if name in found.columns]
                found = found.astype({name: sample.dtypes[name] for name in shared})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidError([{"field": place, "message": str(error)}]) from None
        return found


def _of_sample(sample: Any, definitions: dict[str, Any]) -> Converter:
    if hasattr(sample, "converter"):
        found: Converter = sample.converter(definitions)
        return found
    from . import schema

    if isinstance(sample, dict):
        fields = {str(name): _of_sample(one, definitions) for name, one in sample.items()}
        shape = {
            "type": "object",
            "properties": {name: one.schema for name, one in fields.items()},
            "required": sorted(fields),
        }

        def convert(value: Any, place: str) -> Any:
            if type(value) is not dict:
                raise InvalidError([{"field": place, "message": "expected an object"}])
            known = {name: one for name, one in value.items() if name in fields}
            return {**value, **schema.fields_of(known, fields, set(), place + ".")}

        return Converter({**shape, **_example(sample)}, convert)
    if isinstance(sample, (list, tuple)):
        item = _of_sample(sample[0], definitions) if sample else schema.converter_of(Any, definitions)
        several = schema.converter_of(list, definitions)

        def convert_all(value: Any, place: str) -> Any:
            found = several.convert(value, place)
            return [item.convert(one, "{}[{}]".format(place, at)) for at, one in enumerate(found)]

        return Converter({"type": "array", "items": item.schema, **_example(sample)}, convert_all)
    plain = schema.converter_of(type(sample), definitions)
    return Converter({**plain.schema, **_example(sample)}, plain.convert)


def _example(sample: Any) -> dict[str, Any]:
    import json

    try:
        json.dumps(sample, allow_nan=False)
    except (TypeError, ValueError):
        return {}
    return {"examples": [sample]}
