"""`azureml.core.experiment`: see `azureml.core`."""

from azureml.core import Experiment

__all__ = ["Experiment"]
