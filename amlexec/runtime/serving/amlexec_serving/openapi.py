"""The service's OpenAPI 3.1 document, made of the annotations of `run`."""

from __future__ import annotations

from typing import Any, Mapping

from .script import Script
from .settings import Settings

__all__ = ["document"]

_ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "request_id": {"type": "string"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "required": ["error", "request_id"],
}
_REFUSALS = {
    "400": "the body can't be read",
    "401": "the key is missing or wrong",
    "413": "the body is too large",
    "415": "the content type is wrong",
    "422": "values are missing or of the wrong type",
    "500": "the scoring script failed",
    "503": "the service is starting, ending, or has too many requests",
}


def document(script: Script, settings: Settings) -> dict[str, Any]:
    """The document. It has no examples but the sample of the image's author."""
    definitions = {**script.definitions, "Error": _ERROR}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: dict[str, Any] = {
        "200": {
            "description": "what run returned",
            "content": {"application/json": {"schema": script.output or {}}},
        }
    }
    for status, text in _REFUSALS.items():
        answers[status] = {"description": text, "content": refused}
    versions = ["{name}:{version}".format(**one) for one in settings.models]
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": settings.name,
            "version": ", ".join(versions) or "0",
            "description": script.description,
        },
        "paths": {
            "/score": {
                "post": {
                    "operationId": "score",
                    "summary": "Score",
                    "requestBody": {"required": True, "content": _content(script, settings)},
                    "responses": answers,
                }
            },
            "/healthz": _health("Whether the server answers", "alive"),
            "/readyz": _health("Whether init has returned", "ready"),
        },
        "components": {"schemas": definitions},
    }
    if not settings.insecure:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["paths"]["/score"]["post"]["security"] = [{"key": []}]
    return found


def _health(summary: str, word: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"status": {"type": "string"}}}
    ok = {"description": word, "content": {"application/json": {"schema": schema}}}
    return {"get": {"summary": summary, "responses": {"200": ok}}}


def _content(script: Script, settings: Settings) -> Mapping[str, Any]:
    if script.mode == "bytes":
        return {"application/octet-stream": {}}
    if script.mode in ("text", "raw"):
        schema: dict[str, Any] = {}
        kind = "application/json" if script.mode == "text" else "*/*"
    elif script.mode == "value":
        (schema,) = (dict(one.schema) for one in script.fields.values())
        kind = "application/json"
    else:
        schema = {
            "type": "object",
            "properties": {name: one.schema for name, one in script.fields.items()},
            "required": sorted(set(script.fields) - script.optional),
        }
        kind = "multipart/form-data" if script.files else "application/json"
    content: dict[str, Any] = {"schema": schema}
    sample = settings.sample
    if sample:
        import json

        try:
            content["example"] = json.loads(sample)
        except ValueError:
            content["example"] = sample
    return {kind: content}
