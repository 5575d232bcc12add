"""`azureml.logging` of 2017, so that a script written for it logs into the run, unchanged.

    from azureml.logging import get_azureml_logger

    run_logger = get_azureml_logger()
    run_logger.log("Accuracy", 0.97)

Inside a run this module is on the path. The same script runs with plain Python too, where logging does
nothing, as long as the module can be found: put the folder that holds this `azureml` folder (and `amlexec`
beside it) on PYTHONPATH, or copy both next to the script. With amlexec installed, this names the folder:

    python -c "import amlexec.runtime.site as site; print(list(site.__path__)[0])"
"""

from amlexec.run import Logged, log, upload

__all__ = ["RunLogger", "get_azureml_logger"]


class RunLogger:
    """Logs metrics and files of the run that this process is part of; see `amlexec.run`."""

    def log(self, name: object, value: object) -> Logged:
        """Keep a value as a metric; the same name again makes a list. `.wait()` flushes it to the disk."""
        return log(name, value)

    def upload(self, path: object, contents: object) -> None:
        """Keep text or bytes as the file `outputs/PATH` of the run."""
        upload(path, contents)


def get_azureml_logger() -> RunLogger:
    """The logger of this run; outside a run, one that records nothing."""
    return RunLogger()
