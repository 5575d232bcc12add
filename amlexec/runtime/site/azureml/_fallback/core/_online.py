"""The loggers of a run within a run of amlexec."""

import os

from amlexec.run import log_image, record
from azureml.core import _values
from azureml.exceptions import UserErrorException

__all__ = ["OnlineLogger"]

_FOLDER = "AMLEXEC_RUN_FOLDER"


class OnlineLogger:
    """`log` and its like, which record, and `get_metrics`. Mixed into `Run`."""

    def log(self, name: object, value: object, description: str = "", step: object = None) -> None:
        """Keep a value; the same name again makes a series."""
        del description
        record("", self._named(name), _values.checked_scalar(name, value), step)

    def log_list(self, name: object, value: object, description: str = "") -> None:
        """Keep a list; an empty one is not kept."""
        del description
        values = list(value)  # type: ignore[call-overload]
        if values:
            self._record("list", name, values)

    def log_row(self, name: object, description: object = None, **columns: object) -> None:
        """Keep a row of a table."""
        del description
        self._record("row", name, _values.checked_row(name, columns))

    def log_table(self, name: object, value: object, description: str = "") -> None:
        """Keep a table: a dictionary of columns."""
        del description
        self._record("table", name, _values.checked_columns(name, value))

    def log_image(
        self, name: object, path: object = None, plot: object = None, description: str = ""
    ) -> None:
        """Keep an image file, or a plot of Matplotlib."""
        del description
        try:
            log_image(self._named(name), path=path, plot=plot)
        except (ValueError, OSError) as error:
            raise UserErrorException(str(error)) from error

    def log_confusion_matrix(self, name: object, value: object, description: object = None) -> None:
        """Keep a confusion matrix: a dictionary, or its JSON."""
        del description
        self._record("confusion_matrix", name, _values.checked_schema(name, value))

    def log_accuracy_table(self, name: object, value: object, description: object = None) -> None:
        """Keep an accuracy table: a dictionary, or its JSON."""
        del description
        self._record("accuracy_table", name, _values.checked_schema(name, value))

    def log_residuals(self, name: object, value: object, description: object = None) -> None:
        """Keep residuals: a dictionary, or its JSON."""
        del description
        self._record("residuals", name, _values.checked_schema(name, value))

    def log_predictions(self, name: object, value: object, description: object = None) -> None:
        """Keep predictions: a dictionary, or its JSON."""
        del description
        self._record("predictions", name, _values.checked_schema(name, value))

    def _record(self, kind: str, name: object, value: object) -> None:
        record(kind, self._named(name), value)

    def get_metrics(self, name: object = None, recursive: bool = False, **_: object) -> "dict[str, object]":
        """The metrics that were logged: a value, or a list of values; with `recursive`, by run id."""
        found = self._metrics(name)
        if not recursive:
            return found
        whole = {self.id: found}  # type: dict[str, object]
        for child in self._children:
            whole.update(child.get_metrics(name, recursive=True))
        return whole

    def _metrics(self, name: object) -> "dict[str, object]":
        prefix = self.prefix
        inner = tuple(child.prefix for child in self._children)
        records = []
        for line in _values.lines(os.path.join(os.environ.get(_FOLDER, ""), "metrics.jsonl")):
            full = str(line["name"])
            own = full[len(prefix) :]
            is_own = full.startswith(prefix) and not (inner and full.startswith(inner))
            if is_own and (name is None or own == name):
                records.append(dict(line, name=own))
        return _values.metrics(records)
