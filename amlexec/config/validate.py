"""VALIDATE: check a document against its schema and the rules beyond it, all violations at once.

jsonschema validates (Draft 2020-12). Unknown keys are checked before it, so that they can be warnings with a
suggestion.
"""

from __future__ import annotations

from amlexec.config import foreign, generations, keys, rules, schemas
from amlexec.config.coerce import Coercion, takes_anything
from amlexec.config.document import Mapping
from amlexec.config.messages import violation
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from typing import Any

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
    """A file's reading, or None if it has errors; and its violations, sorted."""

    reading: Reading | None
    violations: tuple[Violation, ...]


class Checker:
    """Checks any number of files; reads each schema once."""

    def __init__(self, *, lint: bool = False, strict: bool = False) -> None:
        """`lint` adds notes that a run does not print, and makes a plain password an error.

        `strict` makes unknown keys errors.
        """
        self._lint = lint
        self._strict = strict
        self._loaded: dict[str, tuple[dict[str, Any], Validator]] = {}

    def check(self, document: Document, kind: str) -> Checked:
        """Check one file. `kind` is one of `amlexec.config.schemas.KINDS`."""
        name = kind
        if kind == schemas.RUNCONFIG:
            name += "#camel" if generations.is_camel(document.root) else "#pascal"
        other = foreign.other_file(document.root) if kind == schemas.CONDA else ""
        if other:
            hint = "name the environment file that it was made from; `amlexec lock` makes a lock file of it"
            message = f"the file is {other}, not a conda environment file"
            return Checked(None, (Violation(Place(document.path), "error", message, hint),))
        silent = self._silent(document, name)
        if any(violation.severity == "error" for violation in silent):
            return Checked(None, tuple(silent))
        data, found = self._validated(document.path, document.root, name, ())
        inline = generations.find(document.root, keys.INLINE_CONDA) if name[-5:] == "camel" else None
        if isinstance(inline, Mapping):
            at = tuple(keys.INLINE_CONDA.split("."))
            found += self._validated(document.path, inline, schemas.CONDA, at)[1]
        found += rules.check(document, kind, data, lint=self._lint)
        found += silent
        wrong = {each.place for each in found if each.severity == "error"}
        violations = tuple(
            sorted({each for each in found if each.severity == "error" or each.place not in wrong})
        )
        if wrong:
            return Checked(None, violations)
        return Checked(generations.canonical(document, kind, data, self._defaults()), violations)

    def _silent(self, document: Document, name: str) -> list[Violation]:
        """Values that continue where the user began something new; only a warning if the key is ignored."""
        found = []
        for path, fault in document.silent:
            severity = "warning" if _is_ignored(self._schema(name)[0], path) else "error"
            place = Place(document.path, fault.line, fault.column)
            found.append(Violation(place, severity, fault.message, fault.hint, fault.key))
        # Only the first: others often follow from it.
        return sorted(found, key=lambda fault: fault.severity != "error")[:1]

    def _defaults(self) -> dict[str, Any]:
        properties = self._schema(schemas.COMPUTE)[0]["properties"]
        return {key: value["default"] for key, value in properties.items() if "default" in value}

    def _validated(
        self, path: str, root: Mapping, name: str, at: tuple[str | int, ...]
    ) -> tuple[dict[str, Any], list[Violation]]:
        schema, validator = self._schema(name)
        walk = Coercion(path, strict=self._strict)
        data = walk.value(root, schema)
        found = [each for error in validator.iter_errors(data) if (each := violation(error, walk, path))]
        found += walk.violations
        if at:
            prefix = ".".join(map(str, at))
            found = [
                each._replace(key=f"{prefix}.{each.key}", message=f"{prefix}: {each.message}")
                for each in found
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
