"""A scoring script: `init()` and `run(data)`, as Azure ML and Workbench defined them.

`run` gets the body as text if its parameter has no annotation, as bytes for `bytes`, and else the JSON value
as the annotation's type. With several parameters, or with `@input_schema`, the body is an object (or a form)
with their names. `request_headers` gets the headers. With `@rawhttp`, `run` gets the request.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import typing
from typing import Any, Callable, Mapping, NamedTuple

from . import schema
from .answers import UnsendableError, encoded
from .errors import AnswerError, InvalidError
from .requests import Request, json_of, text_of
from .schema import Converter

__all__ = ["Answer", "Script", "ScriptError", "load"]

_HEADERS = "request_headers"
_JSON = "application/json"


class ScriptError(Exception):
    """The script breaks the contract."""


class Answer(NamedTuple):
    """What the client gets."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = _JSON


class Script:
    """A loaded scoring script."""

    def __init__(self, module: Any, path: str) -> None:
        self.path = path
        self.init: Callable[[], Any] = _function(module, "init", path)
        self.run: Callable[..., Any] = _function(module, "run", path)
        self.is_async = inspect.iscoroutinefunction(self.run)
        self.definitions: dict[str, Any] = {}
        self.is_raw = bool(getattr(self.run, "amlexec_rawhttp", False))
        self.description = inspect.getdoc(module) or ""
        self.takes_headers = False
        self.mode = "text"
        """How the body becomes arguments: `text`, `bytes`, `value`, `object` or `raw`."""
        self.fields: dict[str, Converter] = {}
        self.optional: set[str] = set()
        self.files: set[str] = set()
        """Parameters that are bytes: parts of a form."""
        self.output: Mapping[str, Any] | None = None
        self._read_contract()

    def _read_contract(self) -> None:
        parameters = inspect.signature(self.run).parameters
        for one in parameters.values():
            if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                raise ScriptError("{}: run's parameter {} must be a plain one".format(self.path, one))
        self.takes_headers = _HEADERS in parameters
        names = [name for name in parameters if name != _HEADERS]
        if not names:
            raise ScriptError("{}: run has no parameter for the data".format(self.path))
        declared = getattr(self.run, "amlexec_inputs", None)
        if self.is_raw:
            if declared:
                raise ScriptError("{}: run has both @rawhttp and @input_schema".format(self.path))
            self.mode = "raw"
            return
        if declared:
            self._read_decorators(names, declared)
        else:
            self._read_annotations(names)
        self.optional |= {name for name in names if parameters[name].default is not inspect.Parameter.empty}

    def _read_decorators(self, names: list[str], declared: Mapping[str, Any]) -> None:
        for name, (kind, converts, optional) in declared.items():
            if name not in names:
                raise ScriptError("{}: @input_schema names {}, which run lacks".format(self.path, name))
            whole = kind.converter(self.definitions)
            self.fields[name] = whole if converts else Converter(whole.schema, lambda value, _: value)
            if optional:
                self.optional.add(name)
        self.mode = "object"
        output = getattr(self.run, "amlexec_output", None)
        if output is not None:
            self.output = output.converter(self.definitions).schema

    def _read_annotations(self, names: list[str]) -> None:
        try:
            hints = typing.get_type_hints(self.run)
        except Exception as error:
            raise ScriptError(
                "{}: an annotation of run can't be read: {!r}".format(self.path, error)
            ) from None
        if "return" in hints:
            try:
                self.output = schema.converter_of(hints["return"], self.definitions).schema
            except TypeError:
                self.output = None  # it is only shown
        if len(names) == 1 and hints.get(names[0], str) in (str, bytes):
            self.mode = "bytes" if hints.get(names[0]) is bytes else "text"
            return
        for name in names:
            kind = hints.get(name, Any)
            if kind is bytes:
                self.files.add(name)
                binary = {"type": "string", "contentMediaType": "application/octet-stream"}
                self.fields[name] = Converter(binary, lambda value, _: value)
                continue
            try:
                self.fields[name] = schema.converter_of(kind, self.definitions)
            except TypeError as error:
                raise ScriptError("{}: parameter {} of run: {}".format(self.path, name, error)) from None
        self.mode = "value" if len(names) == 1 else "object"

    def arguments(self, request: Request) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `run` for a request. Raises AnswerError."""
        named: dict[str, Any] = {_HEADERS: dict(request.headers)} if self.takes_headers else {}
        if self.mode == "raw":
            from .rawhttp import AMLRequest

            return [AMLRequest(request)], named
        if self.mode == "bytes":
            return [request.body], named
        if self.mode == "text":
            if request.method == "GET":
                import json

                return [json.dumps(request.arguments())], named
            return [request.text()], named
        value = self._value(request)
        if self.mode == "value":
            ((name, converter),) = self.fields.items()
            return [converter.convert(value, name)], named
        if type(value) is not dict:
            raise InvalidError([{"field": "body", "message": "expected an object"}])
        return [], {**schema.fields_of(value, self.fields, self.optional, ""), **named}

    def _value(self, request: Request) -> Any:
        if request.method == "GET":
            return request.arguments()
        if request.media_type == "multipart/form-data" and self.mode == "object":
            found: dict[str, Any] = {}
            for name, part in request.form().items():
                if name in self.files:
                    found[name] = part.data
                else:
                    text = text_of(part.data)
                    try:
                        found[name] = json_of(text)
                    except AnswerError:
                        found[name] = text
            return found
        if self.files:
            raise AnswerError(415, "this service takes a form: send multipart/form-data")
        if request.media_type and not request.is_json:
            message = "the content type is {}; send application/json".format(request.media_type[:80])
            raise AnswerError(415, message)
        return json_of(request.text())

    def answer(self, value: Any, nan: str) -> Answer:
        """The answer for a value that `run` returned. Raises AnswerError."""
        if isinstance(value, (bytes, bytearray)):
            return Answer(200, bytes(value), content_type="application/octet-stream")
        if hasattr(value, "amlexec_answer"):
            status, body, headers, kind = value.amlexec_answer()
            return Answer(status, body, tuple(headers.items()), kind)
        try:
            body, lost = encoded(value, nan)
        except UnsendableError as error:
            raise AnswerError(500, "the scoring script's answer can't be sent: {}".format(error)) from None
        return Answer(200, body, (("x-amlexec-nan", str(lost)),) if lost else ())


def load(path: str) -> Script:
    """Import a scoring script; its folder is the current one, and the first to import from.

    Raises:
        ScriptError: it breaks the contract.
        Exception: whatever importing it raises.
    """
    folder, file = os.path.split(os.path.abspath(path))
    os.chdir(folder)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    name = file[:-3] if file.endswith(".py") else file
    spec = importlib.util.spec_from_file_location(name if name.isidentifier() else "score", path)
    if spec is None or spec.loader is None:
        raise ScriptError("{} is not a Python script".format(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    # What importing it changed does not count.
    os.chdir(folder)
    return Script(module, file)


def _function(module: Any, name: str, path: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        raise ScriptError("{} has no function {}".format(os.path.basename(path), name))
    if name == "init":
        needed = [one for one in inspect.signature(found).parameters.values() if one.default is one.empty]
        if needed:
            raise ScriptError("{}: init must need no arguments".format(os.path.basename(path)))
    return typing.cast("Callable[..., Any]", found)
