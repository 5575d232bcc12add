"""What scripts of azureml import and amlexec does not have: one sentence that says what to do instead."""

import sys

__all__ = ["Absent", "NotAvailableError", "tell_of_missing_modules"]

DATA = "read the data by its path: put it into the project, or into the target's nativeSharedDirectory"
_INSTEAD = {
    "dataprep": "read the data with pandas or pyspark",
    "core.dataset": DATA,
    "core.datastore": DATA,
    "data": DATA,
    "opendatasets": DATA,
    "core.compute": "attach a machine: amlexec computetarget attach",
    "core.environment": "declare packages in aml_config/conda_dependencies.yml",
    "core.conda_dependencies": "declare packages in aml_config/conda_dependencies.yml",
    "core.runconfig": "declare it in aml_config/NAME.runconfig",
    "train": "submit the script itself: amlexec experiment submit -c NAME SCRIPT",
    "pipeline": "submit the scripts one by one: amlexec experiment submit -c NAME SCRIPT",
    "widgets": "look at runs with amlexec history",
}
_DEFAULT = "install azureml-core in the run's environment if the script needs the service itself"
_MissingModule = getattr(__import__("builtins"), "ModuleNotFoundError", ImportError)
"""Python 3.5 has only ImportError."""


class NotAvailableError(RuntimeError):
    """Something of the Azure service is used, which a run of amlexec does not have."""


def _sentence(name: str, instead: str) -> str:
    return "{} is a part of Azure, which amlexec runs scripts without; {}".format(name, instead)


class Absent:
    """Stands for a class or an object of the service: it can be imported and passed on, but not used."""

    def __init__(self, what: str, instead: str, **attributes: object) -> None:
        self.__dict__.update(attributes)
        self._absent = what, instead

    def _refuse(self, name: str) -> "NotAvailableError":
        return NotAvailableError(_sentence(name, self._absent[1]))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "_absent":  # of copy, pickle, inspect
            raise AttributeError(name)
        raise self._refuse("{}.{}".format(self._absent[0], name))

    def __call__(self, *_: object, **__: object) -> object:
        raise self._refuse(self._absent[0])

    def __getitem__(self, key: object) -> object:
        raise self._refuse("{}[{!r}]".format(self._absent[0], key))

    def __repr__(self) -> str:
        return "<{}: not available>".format(self._absent[0])


class _MissingModules:
    """The last finder of modules: it refuses modules of azureml that nobody has."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004
        """Raise ImportError for a module of azureml."""
        if not name.startswith("azureml.") or "._" in name:
            return
        part = name[len("azureml.") :]
        while part and part not in _INSTEAD:
            part = part.rpartition(".")[0]
        raise _MissingModule(_sentence(name, _INSTEAD.get(part, _DEFAULT)), name=name)


def tell_of_missing_modules() -> None:
    """Let the import of a missing module of azureml say what to do instead."""
    if not any(type(finder).__name__ == _MissingModules.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_MissingModules())
