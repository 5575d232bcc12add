"""VALIDATE: a document against its schema and against what a schema can't say, all violations at once.

The validating is jsonschema's (Draft 2020-12). Keys that the schema does not know are looked at before it,
so that they can be warnings with the key that was meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.config import foreign, generations, rules, schemas
from amlexec.config.coerce import Coercion, takes_anything
from amlexec.config.document import Mapping
from amlexec.config.messages import violation
from amlexec.model import Place, Violation

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from amlexec.config.document import Document
    from amlexec.config.generations import Reading

__all__ = ["Checked", "Checker"]


def _is_ignored(schema: dict[str, Any], keys: tuple[str, ...]) -> bool:
    for key in keys:
        properties = schema.get("properties", {})
        if key not in properties:
            return schema.get("additionalProperties") is False
        schema = properties[key]
        if takes_anything(schema):
            return True
        schema = schema.get("items", schema)
    return False


class Checked(NamedTuple):
    """A file's one form, or None if it has errors; and all that is to be said about it, sorted."""

    reading: Reading | None
    violations: tuple[Violation, ...]


class Checker:
    """Checks any number of files; each schema is read once."""

    def __init__(self, *, lint: bool = False, strict: bool = False) -> None:
        """`lint` adds the notes that a run need not repeat, and makes a plain password an error.

        `strict` makes unknown keys errors.
        """
        self._lint = lint
        self._strict = strict
        self._loaded: dict[str, tuple[dict[str, Any], Validator]] = {}

    def check(self, document: Document, kind: str) -> Checked:
        """Everything about one file. `kind` is one of `amlexec.config.schemas.KINDS`."""
        name = kind
        if kind == schemas.RUNCONFIG:
            name += "#camel" if generations.is_camel(document.root) else "#pascal"
        other = foreign.other_file(document.root) if kind == schemas.CONDA else ""
        if other:
            hint = (
                "name the environment file that it was made from; `amlexec lock` makes a lock file for that"
            )
            message = f"the file is {other}, and no conda environment file"
            return Checked(None, (Violation(Place(document.path), "error", message, hint),))
        silent = self._silent(document, name)
        if any(one.severity == "error" for one in silent):
            return Checked(None, tuple(silent))
        data, found = self._validated(document.path, document.root, name, ())
        inline = generations.find(document.root, generations.INLINE_CONDA) if name[-5:] == "camel" else None
        if isinstance(inline, Mapping):
            at = tuple(generations.INLINE_CONDA.split("."))
            found += self._validated(document.path, inline, schemas.CONDA, at)[1]
        found += rules.check(document, kind, data, lint=self._lint)
        found += silent
        wrong = {one.place for one in found if one.severity == "error"}
        violations = tuple(
            sorted({one for one in found if one.severity == "error" or one.place not in wrong})
        )
        if any(one.severity == "error" for one in violations):
            return Checked(None, violations)
        return Checked(generations.canonical(document, kind, data, self._defaults()), violations)

    def _silent(self, document: Document, name: str) -> list[Violation]:
        """Values that go on where nobody meant it: of a key that is ignored, that can't be an error."""
        found = []
        for keys, fault in document.silent:
            severity = "warning" if _is_ignored(self._schema(name)[0], keys) else "error"
            place = Place(document.path, fault.line, fault.column)
            found.append(Violation(place, severity, fault.message, fault.hint, fault.key))
        # The first says enough: others often follow from it.
        return sorted(found, key=lambda one: one.severity != "error")[:1]

    def _defaults(self) -> dict[str, Any]:
        properties = self._schema(schemas.COMPUTE)[0]["properties"]
        return {key: value["default"] for key, value in properties.items() if "default" in value}

    def _validated(
        self, path: str, root: Mapping, name: str, at: tuple[str | int, ...]
    ) -> tuple[dict[str, Any], list[Violation]]:
        schema, validator = self._schema(name)
        walk = Coercion(path, strict=self._strict)
        data = walk.value(root, schema)
        found = [one for error in validator.iter_errors(data) if (one := violation(error, walk, path))]
        found += walk.violations
        if at:
            prefix = ".".join(map(str, at))
            found = [
                one._replace(key=f"{prefix}.{one.key}", message=f"{prefix}: {one.message}") for one in found
            ]
        return data, found

    def _schema(self, name: str) -> tuple[dict[str, Any], Validator]:
        if name not in self._loaded:
            import json

            from jsonschema.validators import Draft202012Validator

            kind, _, generation = name.partition("#")
            schema: dict[str, Any] = json.loads(schemas.text(kind))
            if generation:
                schema = schema["$defs"][generation]
            self._loaded[name] = schema, Draft202012Validator(schema)
        return self._loaded[name]
