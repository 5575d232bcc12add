"""`StandardPythonParameterType`."""

from amlexec_serving.decorators import StandardPythonParameterType

__all__ = ["StandardPythonParameterType"]
