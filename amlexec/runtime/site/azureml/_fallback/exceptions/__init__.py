"""`azureml.exceptions` for `azureml.core`; taken where azureml-core is not installed."""

__all__ = [
    "AzureMLException",
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "RunEnvironmentException",
    "UserErrorException",
]


class AzureMLException(Exception):
    """The base of all."""

    def __init__(self, exception_message: str = "", inner_exception: object = None, **_: object) -> None:
        super().__init__(exception_message)
        self.message = exception_message
        self.inner_exception = inner_exception


class UserErrorException(AzureMLException):
    """The script uses the logger in a way that it does not allow."""


class ModelNotFoundException(AzureMLException):
    """There is no such model here."""


class ModelPathNotFoundException(AzureMLException):
    """The model to register is not among the run's files."""


class RunEnvironmentException(AzureMLException):
    """The script asks for its run outside a run."""
