"""`AMLResponse`."""

from amlexec_serving.rawhttp import AMLResponse

__all__ = ["AMLResponse"]
