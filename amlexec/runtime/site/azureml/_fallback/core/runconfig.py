"""`azureml.core.runconfig`: see `azureml.core`."""

from azureml.core import RunConfiguration

__all__ = ["RunConfiguration"]
