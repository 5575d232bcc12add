"""A child run for each fold."""

from azureml.core import Run
from azureml.exceptions import UserErrorException

run = Run.get_context()
scores = []
for fold in range(3):
    with run.child_run(name="fold{}".format(fold)) as child:
        child.log("score", 0.8 + fold / 10)
        child.tag("fold", fold)
        scores.append(child.get_metrics()["score"])
    assert child.parent is run and child.get_status() == "Completed"
run.log("mean score", round(sum(scores) / len(scores), 3))

for child in run.create_children(tag_key="seed", tag_values=[1, 2]):
    child.log("loss", int(child.get_tags()["seed"]) / 10)
    child.complete()
try:
    run.create_children(count=101)
except UserErrorException as error:
    print(error)
assert len(list(run.get_children())) == 5
assert run.get_metrics(recursive=True)[run.id + "_1"] == {"score": 0.8}
