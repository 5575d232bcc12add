"""`azureml.core` for scripts of experiments of 2018 to 2023. Taken where azureml-core is not installed.

`Run` logs into the run of amlexec. Workspaces, datasets and other parts of the service can be imported, and
using one is an error that says what to do instead.
"""

from azureml._fallback.absent import DATA, Absent
from azureml.core.model import Model
from azureml.core.run import Run

__all__ = [
    "ComputeTarget",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Image",
    "Keyvault",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "VERSION",
    "Webservice",
    "Workspace",
]

VERSION = "1.0.0"
_SUBMIT = "submit the script with: amlexec experiment submit -c NAME SCRIPT"

Workspace = Absent("Workspace", "a run needs none: log with Run.get_context()")
Experiment = Absent("Experiment", _SUBMIT)
ScriptRunConfig = Absent("ScriptRunConfig", _SUBMIT)
RunConfiguration = Absent("RunConfiguration", "declare it in aml_config/NAME.runconfig")
Environment = Absent("Environment", "declare packages in aml_config/conda_dependencies.yml")
ComputeTarget = Absent("ComputeTarget", "attach a machine: amlexec computetarget attach")
Dataset = Absent("Dataset", DATA)
Datastore = Absent("Datastore", DATA)
Keyvault = Absent("Keyvault", "hand over a secret with EnvironmentVariables: NAME: ${env:NAME}")
Image = Absent("Image", "the environment of the run is its image")
Webservice = Absent("Webservice", "serve the model from the run's outputs")
