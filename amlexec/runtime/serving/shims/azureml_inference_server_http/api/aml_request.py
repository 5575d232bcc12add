"""`AMLRequest` and `@rawhttp`."""

from amlexec_serving.rawhttp import AMLRequest, rawhttp

__all__ = ["AMLRequest", "rawhttp"]
