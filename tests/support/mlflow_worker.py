"""A process with MLflow in it, which runs `amlexec` and reads runs back: importing MLflow takes seconds.

Its first argument is the folder of MLflow's packages. It reads a JSON request from each line, and answers it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    sys.path.append(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        ((name, parameters),) = request.items()
        answer = {"run": run, "read": read, "delete": delete}[name](**parameters)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def run(arguments: list[str], folder: str) -> dict[str, Any]:
    """Run `amlexec` in a folder."""
    from amlexec import cli

    out, err = io.StringIO(), io.StringIO()
    os.chdir(folder)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(arguments)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "folder": str(Path.cwd())}


def read(uri: str, experiment: str) -> dict[str, Any]:
    """What MLflow's client says of each run of an experiment, by the run's name."""
    from mlflow.entities import ViewType
    from mlflow.tracking.client import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    runs = client.search_runs([found.experiment_id], run_view_type=ViewType.ALL)
    return {run.info.run_name: details(client, run) for run in runs}


def delete(uri: str, run: str) -> None:
    """Delete a run, as a user does."""
    from mlflow.tracking.client import MlflowClient

    MlflowClient(tracking_uri=uri).delete_run(run)


def details(client: Any, run: Any) -> dict[str, Any]:
    run_id = run.info.run_id
    history = {
        key: [
            [repr(point.value), point.timestamp, point.step]
            for point in client.get_metric_history(run_id, key)
        ]
        for key in run.data.metrics
    }
    return {
        "id": run_id,
        "status": run.info.status,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "stage": run.info.lifecycle_stage,
        "parameters": run.data.params,
        "tags": run.data.tags,
        "metrics": history,
        "artifacts": sorted(artifacts(client, run_id, "")),
    }


def artifacts(client: Any, run_id: str, folder: str) -> list[str]:
    found = []
    for each in client.list_artifacts(run_id, folder or None):
        found += artifacts(client, run_id, each.path) if each.is_dir else [each.path]
    return found


if __name__ == "__main__":
    main()
