"""`azureml.core.keyvault`: see `azureml.core`."""

from azureml.core import Keyvault

__all__ = ["Keyvault"]
