"""Train a nearest-centroid classifier, as many tutorials of 2018 and 2019 are written."""

import argparse
import os
import pickle

from azureml.core import Workspace
from azureml.core.run import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data-folder", type=str, dest="data_folder", default=".")
parser.add_argument("--regularization", type=float, dest="reg", default=0.01)
args = parser.parse_args()

rows = [(5.1, "setosa"), (4.9, "setosa"), (6.3, "virginica"), (5.8, "virginica"), (5.2, "virginica")]
model = {}
for name in sorted({label for _, label in rows}):
    lengths = [length for length, label in rows if label == name]
    model[name] = sum(lengths) / len(lengths) + args.reg

hits = [min(model, key=lambda name: abs(model[name] - length)) == label for length, label in rows]
accuracy = sum(hits) / len(hits)

run = Run.get_context()
run.log("regularization rate", float(args.reg))
run.log("accuracy", value=float(accuracy))
print("accuracy is {}".format(accuracy))

os.makedirs("outputs", exist_ok=True)
with open("outputs/model.pkl", "wb") as file:
    pickle.dump(model, file)
run.upload_file(name="outputs/model.pkl", path_or_stream="./outputs/model.pkl")
registered = run.register_model(
    model_name="iris",
    model_path="outputs/model.pkl",
    tags={"area": "flowers"},
    properties={"accuracy": accuracy},
)
print(registered.name, registered.id, registered.version, sep="\t")
