"""`PandasParameterType`."""

from amlexec_serving.decorators import PandasParameterType

__all__ = ["PandasParameterType"]
