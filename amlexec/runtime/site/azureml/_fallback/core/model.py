"""Models that a run registers, and models of the registry."""

import os
import shutil
import sys

from amlexec.model import path_of
from amlexec.run import register_model
from azureml._fallback.absent import NotAvailableError
from azureml.exceptions import ModelNotFoundException

__all__ = ["Model"]

_DEPLOY = "Model.{} needs Azure, which amlexec runs scripts without; the model is in the registry"


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
        self._newest = version is None
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
        """Register a model when this run has ended; its version until then is that among the run's models."""
        del workspace
        about = {name: value for name, value in about.items() if value is not None}
        version = register_model(model_name, model_path, **about)
        if os.environ.get("AMLEXEC_RUN_FOLDER"):
            sys.stderr.write(
                "amlexec: note: the model {} is registered when the run ends\n".format(model_name)
            )
        return Model(name=str(model_name), version=version, **about)

    @staticmethod
    def get_model_path(model_name: str, version: "int | None" = None, _workspace: object = None) -> str:
        """The path of a registered file or folder, of a service or the registry; else `./MODEL_NAME`."""
        try:
            return path_of(model_name if version is None else "{}:{}".format(model_name, version))
        except (OSError, ValueError) as error:
            if version is None and os.path.exists(model_name):
                return os.path.abspath(model_name)
            raise ModelNotFoundException(str(error)) from error

    def download(self, target_dir: str = ".", exist_ok: bool = False, **_: object) -> str:
        """Copy the registered file or folder into a folder; its path there."""
        source = self.get_model_path(self.name, None if self._newest else self.version)
        target = os.path.join(target_dir, os.path.basename(source))
        if os.path.exists(target) and not exist_ok:
            raise FileExistsError("{} exists already; pass exist_ok=True".format(target))
        os.makedirs(target_dir, exist_ok=True)
        if os.path.isdir(target):
            shutil.rmtree(target)
        if os.path.isdir(source):
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return target

    @staticmethod
    def deploy(*_: object, **__: object) -> None:
        """Refused: amlexec deploys nothing to Azure."""
        raise NotAvailableError(_DEPLOY.format("deploy"))
