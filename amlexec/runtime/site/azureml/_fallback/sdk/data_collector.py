"""`azureml.sdk.data_collector` of 2018: another name of the logger of `azureml.logging`."""

from azureml.logging import RunLogger, get_azureml_logger

__all__ = ["current_run"]


def current_run() -> RunLogger:
    """The logger of this run; outside a run, one that records nothing."""
    return get_azureml_logger()
