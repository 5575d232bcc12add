"""`azureml.core.script_run_config`: see `azureml.core`."""

from azureml.core import ScriptRunConfig

__all__ = ["ScriptRunConfig"]
