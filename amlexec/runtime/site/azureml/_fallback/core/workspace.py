"""`azureml.core.workspace`: see `azureml.core`."""

from azureml.core import Workspace

__all__ = ["Workspace"]
