"""Types of Python as JSON Schema, and values of JSON as values of these types."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import sys
import typing
from typing import Any, Callable, Mapping

from .errors import InvalidError

__all__ = ["Converter", "converter_of"]

_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_UNION = getattr(__import__("types"), "UnionType", None)
_TIMES = {datetime.datetime: "date-time", datetime.date: "date"}
_ANY_OBJECT = {"type": "object"}
_ANY_LIST: dict[str, Any] = {"type": "array", "items": {}}


class Converter(typing.NamedTuple):
    """A type: its schema, and what makes a value of it.

    `convert` gets the value and its place (`data.rows[3]`), and raises InvalidError.
    """

    schema: Mapping[str, Any]
    convert: Callable[[Any, str], Any]
    is_table: bool = False
    """Whether it makes a data frame, of a list of objects."""


def converter_of(kind: Any, definitions: dict[str, Any]) -> Converter:
    """The converter for an annotation. Named schemas are added to `definitions`."""
    if kind is Any or kind is typing.Any or kind is object:
        return Converter({}, lambda value, _: value)
    if isinstance(kind, typing.TypeVar):
        return converter_of(Any, definitions)
    for find in (_scalar, _generic, _library, _class):
        found = find(kind, definitions)
        if found is not None:
            return found
    raise TypeError("{!r} can't be described as JSON".format(kind))


def _wrong(place: str, expected: str, value: Any) -> InvalidError:
    if isinstance(value, dict):
        found = "an object"
    elif isinstance(value, list):
        found = "a list"
    else:
        found = _NAMES.get(type(value), type(value).__name__)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            found = repr(value) if len(repr(value)) < 40 else found
    return InvalidError([{"field": place, "message": "expected {}, got {}".format(expected, found)}])


def _scalar(kind: Any, _: dict[str, Any]) -> Converter | None:
    if kind is None:
        kind = type(None)
    if kind in _TIMES:
        return _time(kind)
    if not isinstance(kind, type) or kind not in _SCALARS:
        return None

    def convert(value: Any, place: str) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        if kind is int and type(value) is float and value.is_integer():
            return int(value)
        raise _wrong(place, _NAMES[kind], value)

    return Converter({"type": _SCALARS[kind]}, convert)


def _time(kind: Any) -> Converter:
    def convert(value: Any, place: str) -> Any:
        try:
            return kind.fromisoformat(value.replace("Z", "+00:00") if kind is datetime.datetime else value)
        except (AttributeError, TypeError, ValueError):
            raise _wrong(place, "a time such as 2026-03-31T12:00:00+00:00", value) from None

    return Converter({"type": "string", "format": _TIMES[kind]}, convert)


def _generic(kind: Any, definitions: dict[str, Any]) -> Converter | None:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or (_UNION is not None and origin is _UNION):
        return _union([converter_of(one, definitions) for one in inner])
    if origin is typing.Literal:
        return _choice(list(inner), {value: value for value in inner})
    if getattr(kind, "__metadata__", None) is not None and inner:  # Annotated
        return converter_of(kind.__origin__, definitions)
    base = origin or kind
    if base in (list, tuple, set, frozenset) or base in (
        getattr(__import__("collections").abc, name) for name in ("Sequence", "Iterable", "Collection")
    ):
        return _sequence(base, inner, definitions)
    if base is dict or base is __import__("collections").abc.Mapping:
        return _mapping(inner, definitions)
    return None


def _union(parts: list[Converter]) -> Converter:
    def convert(value: Any, place: str) -> Any:
        wrong: list[InvalidError] = []
        for part in parts:
            try:
                return part.convert(value, place)
            except InvalidError as error:
                wrong.append(error)
        # What went furthest into the value says most.
        raise max(wrong, key=lambda error: len(error.fields[0]["field"]))

    return Converter({"anyOf": [part.schema for part in parts]}, convert)


def _choice(shown: list[Any], values: Mapping[Any, Any]) -> Converter:
    def convert(value: Any, place: str) -> Any:
        for name, found in values.items():
            if name == value and type(name) is type(value):
                return found
        raise _wrong(place, "one of {}".format(", ".join(map(repr, shown))), value)

    return Converter({"enum": shown}, convert)


def _sequence(base: Any, inner: tuple[Any, ...], definitions: dict[str, Any]) -> Converter:
    make = base if base in (tuple, set, frozenset) else list
    if make is tuple and inner and inner[-1] is not Ellipsis:
        return _fixed([converter_of(one, definitions) for one in inner])
    item = converter_of(inner[0], definitions) if inner else converter_of(Any, definitions)

    def convert(value: Any, place: str) -> Any:
        if type(value) is not list:
            raise _wrong(place, "a list", value)
        if not inner:
            return make(value)
        try:
            return make([item.convert(one, place) for one in value])
        except InvalidError:
            # Again, now with places, for the message: to keep these for every value would be slow.
            for at, one in enumerate(value):
                item.convert(one, "{}[{}]".format(place, at))
            raise

    return Converter({"type": "array", "items": item.schema}, convert)


def _fixed(items: list[Converter]) -> Converter:
    def convert(value: Any, place: str) -> Any:
        if type(value) is not list or len(value) != len(items):
            raise _wrong(place, "a list of {}".format(len(items)), value)
        pairs = enumerate(zip(items, value))
        return tuple(item.convert(one, "{}[{}]".format(place, at)) for at, (item, one) in pairs)

    schemas = [item.schema for item in items]
    return Converter(
        {"type": "array", "prefixItems": schemas, "minItems": len(items), "maxItems": len(items)}, convert
    )


def _mapping(inner: tuple[Any, ...], definitions: dict[str, Any]) -> Converter:
    item = converter_of(inner[1], definitions) if len(inner) == 2 else None

    def convert(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _wrong(place, "an object", value)
        if item is None:
            return value
        try:
            return {name: item.convert(one, place) for name, one in value.items()}
        except InvalidError:
            for name, one in value.items():
                item.convert(one, "{}.{}".format(place, name))
            raise

    return Converter({**_ANY_OBJECT, "additionalProperties": item.schema} if item else _ANY_OBJECT, convert)


def _library(kind: Any, definitions: dict[str, Any]) -> Converter | None:
    """Types of numpy, pandas and pydantic, none of which is imported here."""
    module = str(getattr(kind, "__module__", "")).partition(".")[0]
    if module == "numpy" and getattr(kind, "__name__", "") == "ndarray":
        return Converter(_ANY_LIST, _array)
    if module == "pandas" and getattr(kind, "__name__", "") == "DataFrame":
        records = {"type": "array", "items": _ANY_OBJECT}
        split = {"type": "object", "required": ["columns", "data"]}
        return Converter({"anyOf": [records, split]}, _frame, is_table=True)
    if hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate"):
        return _pydantic(kind, definitions, kind.model_validate)
    if hasattr(kind, "parse_obj") and hasattr(kind, "schema"):
        return _pydantic(kind, definitions, kind.parse_obj)
    return None


def _array(value: Any, place: str) -> Any:
    import numpy

    if type(value) is not list:
        raise _wrong(place, "a list", value)
    try:
        found = numpy.array(value)
    except ValueError:
        found = None
    if found is None or (found.dtype == object and value):
        raise InvalidError([{"field": place, "message": "expected lists of equal length"}])
    return found


def _frame(value: Any, place: str) -> Any:
    import pandas

    try:
        if isinstance(value, dict) and "columns" in value and "data" in value:
            return pandas.DataFrame(value["data"], columns=value["columns"])
        if isinstance(value, list):
            return pandas.DataFrame(value)
    except (TypeError, ValueError) as error:
        raise InvalidError([{"field": place, "message": str(error)}]) from None
    raise _wrong(place, 'a list of objects, or {"columns": [...], "data": [...]}', value)


def _pydantic(kind: Any, definitions: dict[str, Any], validate: Callable[[Any], Any]) -> Converter:
    where = "#/components/schemas/{model}"
    if hasattr(kind, "model_json_schema"):
        schema = dict(kind.model_json_schema(ref_template=where))
        definitions.update(schema.pop("$defs", {}))
    else:
        schema = dict(kind.schema(ref_template=where))
        definitions.update(schema.pop("definitions", {}))
    definitions.setdefault(kind.__name__, schema)

    def convert(value: Any, place: str) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            if not hasattr(error, "errors"):
                raise
            raise InvalidError(
                [
                    {"field": ".".join([place, *map(str, one["loc"])]), "message": one["msg"]}
                    for one in error.errors()
                ]
            ) from None

    return Converter({"$ref": "#/components/schemas/{}".format(kind.__name__)}, convert)


def _class(kind: Any, definitions: dict[str, Any]) -> Converter | None:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = {one.value: one for one in kind}
        return _choice([*values], values)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = [one for one in dataclasses.fields(kind) if one.init]
        free = {
            one.name
            for one in fields
            if one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
        }
        return _object(kind, kind, free, definitions)
    if isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__"):  # TypedDict
        required = getattr(kind, "__required_keys__", set(kind.__annotations__) if kind.__total__ else set())
        return _object(kind, dict, set(kind.__annotations__) - set(required), definitions)
    return None


def _object(kind: Any, make: Callable[..., Any], free: set[str], definitions: dict[str, Any]) -> Converter:
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))
    fields = {name: converter_of(one, definitions) for name, one in hints.items()}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: one.schema for name, one in fields.items()},
        "required": sorted(set(fields) - free),
        "additionalProperties": False,
    }
    definitions.setdefault(kind.__name__, schema)

    def convert(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _wrong(place, "an object", value)
        return make(**fields_of(value, fields, free, "{}.".format(place)))

    return Converter({"$ref": "#/components/schemas/{}".format(kind.__name__)}, convert)


def fields_of(
    value: Mapping[str, Any], fields: Mapping[str, Converter], free: set[str], prefix: str
) -> dict[str, Any]:
    """The fields of an object; `free` are those that may be missing. Raises InvalidError with all errors."""
    wrong: list[Mapping[str, Any]] = []
    found = {}
    for name, one in fields.items():
        if name in value:
            try:
                found[name] = one.convert(value[name], prefix + name)
            except InvalidError as error:
                wrong += error.fields
        elif name not in free:
            wrong.append({"field": prefix + name, "message": "it is missing"})
    unknown = sorted(set(value) - set(fields))
    wrong += [{"field": prefix + name, "message": "it is unknown"} for name in unknown]
    if wrong:
        raise InvalidError(wrong)
    return found
