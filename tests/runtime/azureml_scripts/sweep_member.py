"""A member of a sweep: it logs the metric that the sweep watches, and tags itself."""

import argparse

from azureml.core import Dataset, Run

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--momentum", type=float, default=0.9)
args, _ = parser.parse_known_args()

run = Run.get_submitted_run()
run.tag("experiment", run.experiment.name)
run.set_tags({"lr": args.lr, "note": None})
run.add_properties({"script": "sweep_member"})
for epoch in range(3):
    run.log_row("training", epoch=epoch, lr=args.lr, loss=args.lr / (epoch + 1))
    run.log("best_val_acc", 0.9 + epoch / 100)
assert run.get_metrics(name="training")["training"]["epoch"] == [0, 1, 2]
assert run.get_tags()["lr"] == "0.1" and run.tags["note"] is None
assert run.get_properties() == {"script": "sweep_member"}
if run.get_status() != "Running" or run.get_details()["runId"] != run.id:
    raise SystemExit("it runs")
