"""Models that a run registers: lines of `models.jsonl` in the run's folder."""

from amlexec.run import register_model
from azureml._fallback.absent import NotAvailableError

__all__ = ["Model"]

_DEPLOY = "Model.{} needs Azure, which amlexec runs scripts without; the model is in the run's outputs"


class Model:
    """A registered model: `name`, `version` and `id` as the service had them."""

    class Framework:
        """Names of frameworks."""

        CUSTOM = "Custom"
        ONNX = "Onnx"
        PYTORCH = "PyTorch"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"

    def __init__(
        self, workspace: object = None, name: str = "", version: object = None, **about: object
    ) -> None:
        del workspace
        self.name = name
        self.version = 1 if version is None else version
        self.id = "{}:{}".format(self.name, self.version)
        self.tags = dict(about.get("tags") or {})  # type: ignore[call-overload]
        self.properties = dict(about.get("properties") or {})  # type: ignore[call-overload]
        self.description = about.get("description")
        self.model_framework = about.get("model_framework")
        self.model_framework_version = about.get("model_framework_version")

    def __repr__(self) -> str:
        return "Model(name={}, id={})".format(self.name, self.id)

    @staticmethod
    def register(
        workspace: object = None, model_path: object = None, model_name: object = None, **about: object
    ) -> "Model":
        """Record a model with this run; see `Run.register_model`."""
        del workspace
        about = {name: value for name, value in about.items() if value is not None}
        version = register_model(model_name, model_path, **about)
        return Model(name=str(model_name), version=version, **about)

    @staticmethod
    def get_model_path(*_: object, **__: object) -> str:
        """Refused: there is no registry to take a model from."""
        raise NotAvailableError(_DEPLOY.format("get_model_path"))

    @staticmethod
    def deploy(*_: object, **__: object) -> None:
        """Refused: amlexec deploys nothing to Azure."""
        raise NotAvailableError(_DEPLOY.format("deploy"))
