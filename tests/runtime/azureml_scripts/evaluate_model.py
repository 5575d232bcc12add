"""Evaluate: tables, matrices, plots and files, with the loggers of 2019."""

import io
import json
import os

from azureml.core import Run

run = Run.get_context()


class Plot:
    """Stands for matplotlib.pyplot."""

    def savefig(self, file, **options):
        file.write(b"\x89PNG" + options["format"].encode())


def schema(kind, data):
    return {"schema_type": kind, "schema_version": "1.0.0", "data": data}


matrix = schema("confusion_matrix", {"class_labels": ["0", "1"], "matrix": [[3, 1], [0, 4]]})
run.log_confusion_matrix("confusion", json.dumps(matrix))
run.log_accuracy_table("roc", schema("accuracy_table", {"probability_tables": [[[1, 2], [3, 4]]]}))
run.log_residuals("residuals", schema("residuals", {"bin_edges": [0, 1], "bin_counts": [7]}))
run.log_predictions("predictions", schema("predictions", {"bin_averages": [0.5]}))
run.log_table("importance", {"feature": ["length", "width"], "weight": [0.7, 0.3]})
run.log_image("ROC curve", plot=Plot())
with open("sample.png", "wb") as file:
    file.write(b"PNG")
run.log_image(name="sample", path="sample.png")

os.makedirs("report/more")
for name in ("report/a.txt", "report/more/b.txt"):
    with open(name, "w") as file:
        file.write(name)
run.upload_folder(name="outputs/report", path="report")
run.upload_files(["outputs/x.txt"], ["report/a.txt"])
run.upload_file("stream.bin", io.BytesIO(b"stream"))
run.download_file("outputs/report/a.txt")
run.download_files(prefix="outputs/report", output_directory="copy")
with open("a.txt") as file:
    assert file.read() == "report/a.txt"
assert os.path.isfile("copy/outputs/report/more/b.txt")
print("\n".join(run.get_file_names()))
