"""`NumpyParameterType`."""

from amlexec_serving.decorators import NumpyParameterType

__all__ = ["NumpyParameterType"]
