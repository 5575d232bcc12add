"""`azureml.core.environment`: see `azureml.core`."""

from azureml.core import Environment

__all__ = ["Environment"]
