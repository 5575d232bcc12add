"""A script that was moved from Workbench to the SDK step by step, and uses three loggers."""

from azureml.core.model import Model
from azureml.core.run import Run
from azureml.logging import get_azureml_logger
from azureml.sdk import data_collector

get_azureml_logger().log("Regularization Rate", 0.01)
data_collector.current_run().log("Accuracy", 0.97)

try:
    import azureml.dataprep as dprep
except ImportError as error:
    dprep = None
    print(error)

run = Run.get_context()
assert Run.get_context() is run and run.id == run.get_details()["runId"]
with run:
    run.log("Samples", 150)
if run.id.startswith("OfflineRun"):
    raise SystemExit("not here")
try:
    datastore = run.experiment.workspace.get_default_datastore()
except RuntimeError as error:
    print(error)
with open("model.txt", "w") as file:
    file.write("weights")
print(
    Model.register(run.experiment.workspace, "model.txt", "text", model_framework=Model.Framework.CUSTOM).id
)
run.fail(error_details="only a message")
