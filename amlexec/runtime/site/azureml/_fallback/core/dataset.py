"""`azureml.core.dataset`: see `azureml.core`."""

from azureml.core import Dataset

__all__ = ["Dataset"]
