"""A process with MLflow in it, which runs `amlexec` and reads runs back: importing MLflow takes seconds.

Its first argument is the folder of MLflow's packages. It reads a JSON request from each line, and answers it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0


def main() -> None:
    sys.path.append(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        ((name, parameters),) = request.items()
        answer = globals()[name](**parameters)
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


def race(commands: list[list[str]], folders: list[str], meet: str) -> list[dict[str, Any]]:
    """Run several commands at once.

    With `meet` "at once", none makes a run of MLflow before all want to make it. With "late", the run of the
    first is made when the others have chosen theirs, although it has begun to make it before.
    """
    import multiprocessing
    import threading

    from mlflow.tracking.client import MlflowClient

    from amlexec.exports.mlflow_client import Tracking

    context = multiprocessing.get_context("fork")
    barrier, create = context.Barrier(len(commands), timeout=PATIENCE_S), Tracking.create
    have_chosen, create_run = context.Barrier(len(commands), timeout=PATIENCE_S), MlflowClient.create_run

    def late(*words: Any, **named: Any) -> Any:
        barrier.wait()
        have_chosen.wait()
        return create_run(*words, **named)

    def running(number: int, arguments: list[str], folder: str, end: Any) -> None:
        def creating(tracking: Tracking, run_id: str, began: int) -> tuple[str, bool]:
            barrier.wait()
            made = create(tracking, run_id, began)
            if meet == "late":
                have_chosen.wait()
            return made

        if meet == "late" and number == 0:
            MlflowClient.create_run = late
        elif meet:
            Tracking.create = creating  # type: ignore[method-assign]
        end.send(run(arguments, folder))

    until = time.monotonic() + PATIENCE_S
    while threading.active_count() > 1:  # a forked process has only one
        assert time.monotonic() < until, threading.enumerate()
        time.sleep(0.05)
    ends = []
    for number, (arguments, folder) in enumerate(zip(commands, folders, strict=True)):
        ours, theirs = context.Pipe()
        context.Process(target=running, args=(number, arguments, folder, theirs)).start()  # type: ignore[attr-defined]
        theirs.close()
        ends.append(ours)
    return [end.recv() for end in ends]


def names(uri: str, experiment: str) -> list[str]:
    """The names of an experiment's runs that were not deleted; one that is there twice is named twice."""
    from mlflow.tracking.client import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return sorted(run.info.run_name for run in client.search_runs([found.experiment_id]))


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


def models(uri: str, name: str) -> dict[str, Any]:
    """What MLflow's client says of a registered model: aliases, and each version with its files."""
    import mlflow
    from mlflow.tracking.client import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    mlflow.set_tracking_uri(uri)
    found = {}
    for version in client.search_model_versions(f"name='{name}'"):
        place = client.get_model_version_download_uri(name, version.version)
        path = Path(mlflow.artifacts.download_artifacts(artifact_uri=place))
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        texts = {str(each.relative_to(path.parent)): each.read_text("utf-8") for each in files}
        run = client.get_run(version.run_id).info.run_name
        found[version.version] = {
            "tags": version.tags,
            "description": version.description or "",
            "run": run,
            "files": texts,
        }
    return {"aliases": client.get_registered_model(name).aliases, "versions": found}


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
