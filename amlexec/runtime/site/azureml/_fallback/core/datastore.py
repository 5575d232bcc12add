"""`azureml.core.datastore`: see `azureml.core`."""

from azureml.core import Datastore

__all__ = ["Datastore"]
