"""MLflow's client for one destination. Only this module imports mlflow. It changes nothing global of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from amlexec.errors import TargetError, UsageError
from amlexec.exports.mlflow_registry import Models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amlexec.exports.values import Point

__all__ = ["MlflowError", "Tracking", "opened"]

_EXPORTED = "amlexec.exported"
"""The tag by which several exports of one run choose one run of MLflow: the smallest number.

Each takes its number when the others can see its run: the time in nanoseconds, or one more than the largest.
"""
_UNDECIDED_S = 10.0
"""How long to wait for another export whose run has no number yet: it may have been killed."""
_MOST_OF_A_RUN = 100
"""Runs of MLflow with the tag of one run."""
_MOST_METRICS = 1000
_MOST_PARAMETERS = 100
"""Of one request, as MLflow allows."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Unless the user has set them. MLflow's own wait for a server that is down is four minutes."""


class MlflowError(TargetError):
    """MLflow refused something, or its server does not answer."""


class Tracking:
    """The runs of one experiment."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._modules = _imported()
        with self._errors("connecting", "a database needs the package mlflow, not only mlflow-skinny"):
            # For files, MLflow before 3.2 asks the server that is set, whatever the client's.
            self._modules.set_tracking_uri(uri)
            self._client = self._modules.MlflowClient(tracking_uri=uri)
        self._experiment = self._experiment_id(uri, experiment)

    @contextlib.contextmanager
    def _errors(self, doing: str, hint: str = "") -> Iterator[None]:
        try:
            yield
        except self._modules.Exceptions as error:
            text = str(error).strip().partition("\n")[0]
            raise MlflowError(f"{doing}: MLflow: {text[:500]}", hint=hint) from error

    def _experiment_id(self, uri: str, name: str) -> str:
        with self._errors(f"experiment {name!r}"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                location = _artifacts_beside(uri)
                try:
                    created: str = self._client.create_experiment(name, artifact_location=location)
                except self._modules.Exceptions:
                    # Another process may have made it at the same time.
                    found = self._client.get_experiment_by_name(name)
                    if found is None:
                        raise
                else:
                    return created
        if found.lifecycle_stage != "active":
            raise MlflowError(
                f"MLflow's experiment {name!r} was deleted",
                hint="restore it with `mlflow experiments restore`, or choose another: --experiment NAME",
            )
        experiment_id: str = found.experiment_id
        return experiment_id

    def find(self, run_id: str) -> str:
        """MLflow's id of the run with this tag `amlexec.run_id`, of several the oldest; "" if there is none.

        Raises MlflowError if it was deleted in MLflow.
        """
        found = self._runs(run_id)
        active = [run for run in found if run.info.lifecycle_stage == "active"]
        if found and not active:
            raise MlflowError(
                f"{run_id} was deleted in MLflow",
                hint=f"mlflow runs restore --run-id {found[0].info.run_id}, or delete it for good: mlflow gc",
            )
        return min(map(_age, active))[-1] if active else ""

    def _runs(self, run_id: str) -> list[Any]:
        """The runs of MLflow with this tag, also deleted ones."""
        with self._errors(run_id):
            return list(
                self._client.search_runs(
                    [self._experiment],
                    f"tags.`amlexec.run_id` = '{run_id}'",
                    run_view_type=self._modules.ViewType.ALL,
                    max_results=_MOST_OF_A_RUN,
                )
            )

    def is_active(self, mlflow_id: str) -> bool:
        """Whether MLflow still has the run."""
        try:
            return bool(self._client.get_run(mlflow_id).info.lifecycle_stage == "active")
        except self._modules.Exceptions as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise MlflowError(
                f"{mlflow_id}: MLflow: {str(error).strip().partition(chr(10))[0][:500]}"
            ) from error

    def create(self, run_id: str, began: int) -> tuple[str, bool]:
        """A new run with that tag, and True; or the older one that another computer just made, and False."""
        with self._errors(run_id):
            tags = {"amlexec.run_id": run_id}
            run = self._client.create_run(self._experiment, start_time=began, tags=tags, run_name=run_id)
            mlflow_id: str = run.info.run_id
            # As in Lamport's bakery: an export that comes later sees this number and takes a larger one,
            # whatever its clock says; one that is as late as this has no number yet, and is waited for.
            newest = max((int(_number(each) or 0) for each in self._runs(run_id)), default=0)
            self._client.set_tag(mlflow_id, _EXPORTED, f"{max(newest + 1, time.time_ns()):020}")
        oldest = self._decided(run_id, mlflow_id)
        if oldest != mlflow_id:
            with self._errors(run_id):
                self._client.delete_run(mlflow_id)
        return oldest, oldest == mlflow_id

    def _decided(self, run_id: str, mlflow_id: str) -> str:
        """MLflow's id of the oldest run with this tag, once each of them has a number; at least ours."""
        until = time.monotonic() + _UNDECIDED_S
        while True:
            runs = [run for run in self._runs(run_id) if run.info.lifecycle_stage == "active"]
            if all(map(_number, runs)) or time.monotonic() > until:
                return min(map(_age, runs), default=(False, "", mlflow_id))[-1]
            time.sleep(0.1)

    def logged(self, mlflow_id: str, keys: Sequence[str]) -> set[tuple[str, int, int, str]]:
        """The points that the run has, as `identity` names them."""
        with self._errors(mlflow_id):
            existing = self._client.get_run(mlflow_id).data.metrics
            return {
                (key, point.timestamp, point.step, repr(float(point.value)))
                for key in keys
                if key in existing
                for point in self._client.get_metric_history(mlflow_id, key)
            }

    def log_points(self, mlflow_id: str, points: Sequence[Point]) -> None:
        """Add points of metrics."""
        make = self._modules.Metric
        metrics = [make(point.key, point.value, point.timestamp, point.step) for point in points]
        with self._errors("metrics"):
            for at in range(0, len(metrics), _MOST_METRICS):
                self._client.log_batch(mlflow_id, metrics=metrics[at : at + _MOST_METRICS])

    def log_parameters(self, mlflow_id: str, parameters: Mapping[str, str]) -> None:
        """Add parameters. The same value again is no error."""
        made = [self._modules.Param(name, value) for name, value in parameters.items()]
        with self._errors("parameters"):
            for at in range(0, len(made), _MOST_PARAMETERS):
                self._client.log_batch(mlflow_id, params=made[at : at + _MOST_PARAMETERS])

    def change_tags(self, mlflow_id: str, added: Mapping[str, str], removed: Sequence[str]) -> None:
        """Set and remove tags."""
        made = [self._modules.RunTag(name, value) for name, value in added.items()]
        with self._errors("tags"):
            for at in range(0, len(made), _MOST_PARAMETERS):
                self._client.log_batch(mlflow_id, tags=made[at : at + _MOST_PARAMETERS])
            for name in removed:
                with contextlib.suppress(*self._modules.Exceptions):  # it is gone already
                    self._client.delete_tag(mlflow_id, name)

    def log_file(self, mlflow_id: str, path: Path, folder: str) -> None:
        """Store a file as an artifact in a folder of artifacts."""
        with self._errors(f"{folder}/{path.name}".lstrip("/")):
            self._client.log_artifact(mlflow_id, str(path), folder or None)

    def log_text(self, mlflow_id: str, text: str, name: str) -> None:
        """Store a text as an artifact."""
        with self._errors(name):
            self._client.log_text(mlflow_id, text, name)

    def set_state(self, mlflow_id: str, status: str, ended: int | None) -> None:
        """Set the status, and the time of an end."""
        with self._errors("status"):
            if ended is None:
                self._client.update_run(mlflow_id, status=status)
            else:
                self._client.set_terminated(mlflow_id, status, ended)

    def models(self) -> Models:
        """The model registry of the same server or database."""
        return Models(self._client, self._errors)


def _number(run: Any) -> str:
    """The number of a run of MLflow, of 20 digits; "" if it has none."""
    text: str = run.data.tags.get(_EXPORTED, "")
    return text if text.isdecimal() and text.isascii() else ""


def _age(run: Any) -> tuple[bool, str, str]:
    """What is smallest for the oldest run."""
    number = _number(run)
    return not number, number, run.info.run_id


@contextlib.contextmanager
def opened(uri: str, experiment: str) -> Iterator[Tracking]:
    """Connect to MLflow at a tracking URI.

    Raises:
        UsageError: the URI has a password in it, or mlflow is not installed.
        MlflowError: MLflow does not answer, or the experiment was deleted.
    """
    uri = _absolute(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if urlsplit(uri).scheme in {"http", "https", "databricks"}:
        yield Tracking(uri, experiment)
        return
    # A client of a database makes a folder `mlruns` where it is.
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="amlexec-mlflow-") as elsewhere:
        os.chdir(elsewhere)
        try:
            yield Tracking(uri, experiment)
        finally:
            os.chdir(before)


def _absolute(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is not None:
        raise UsageError(
            "--to: the address has a password in it, which other users of this machine can see",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        )
    if not parts.scheme:
        raise UsageError(
            f"--to {uri!r}: expected the address of an MLflow server or database",
            hint="http://HOST:5000, or sqlite:////ABSOLUTE/PATH/mlflow.db",
        )
    if parts.scheme == "sqlite" and uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return uri


def _artifacts_beside(uri: str) -> str | None:
    """Where files go: beside a database file; a server has a place of its own."""
    if not uri.startswith("sqlite:////"):
        return None
    folder = Path(unquote(uri.removeprefix("sqlite:///"))).parent / "mlartifacts"
    return f"file://{quote(str(folder))}"


class _Modules:
    """What is used of mlflow."""

    def __init__(self) -> None:
        entities: Any = import_module("mlflow.entities")
        self.MlflowClient: Any = import_module("mlflow.tracking.client").MlflowClient
        self.set_tracking_uri: Any = import_module("mlflow.tracking").set_tracking_uri
        self.ViewType, self.Metric = entities.ViewType, entities.Metric
        self.Param, self.RunTag = entities.Param, entities.RunTag
        requests: Any = import_module("requests")
        mlflow_exception = import_module("mlflow.exceptions").MlflowException
        # ImportError: a database needs SQLAlchemy, in a version that MLflow knows.
        own = (mlflow_exception, requests.RequestException, OSError, ImportError)
        self.Exceptions: tuple[type[Exception], ...] = own


def _imported() -> _Modules:
    try:
        return _Modules()
    except ImportError as error:
        raise UsageError(
            f"export to MLflow needs the package mlflow-skinny: {error}",
            hint="pip install 'amlexec[mlflow]'; for sqlite: the package mlflow",
        ) from None
