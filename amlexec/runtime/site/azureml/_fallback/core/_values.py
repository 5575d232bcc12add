"""What the loggers of azureml accept, checked, and what `get_metrics` returns of it."""

import json
import os

from azureml.exceptions import UserErrorException

__all__ = ["checked_columns", "checked_row", "checked_scalar", "checked_schema", "lines", "metrics", "tags"]

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def checked_scalar(name: object, value: object) -> object:
    """The value of `log`. Raises UserErrorException for a list."""
    if isinstance(value, (list, tuple, range)) or hasattr(value, "__next__"):
        raise UserErrorException("the metric {!r} is a list: use log_list({!r}, …)".format(name, name))
    return value


def checked_row(name: object, columns: "dict[str, object]") -> "dict[str, object]":
    """The columns of `log_row`. Raises UserErrorException for a list in a cell."""
    for column, cell in columns.items():
        if isinstance(cell, (list, tuple, dict)):
            raise UserErrorException(
                "the column {!r} of the row {!r} is a {}: a cell is a single value".format(
                    column, name, type(cell).__name__
                )
            )
    return columns


def checked_columns(name: object, value: object) -> "dict[str, list[object]]":
    """The columns of `log_table`. Raises UserErrorException unless it is a map of equally long columns."""
    if not isinstance(value, dict):
        raise UserErrorException("the table {!r} is not a dictionary of columns".format(name))
    columns = {}
    for column, cells in value.items():
        is_list = hasattr(cells, "__iter__") and not isinstance(cells, (str, bytes, dict))
        columns[column] = list(cells) if is_list else [cells]
    if len({len(cells) for cells in columns.values()}) > 1:
        raise UserErrorException("the columns of the table {!r} are not equally long".format(name))
    return columns


def checked_schema(name: object, value: object) -> "dict[str, object]":
    """The value of a confusion matrix and its like: a dictionary or its JSON. Raises UserErrorException."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UserErrorException("the metric {!r} is not JSON: {}".format(name, error)) from error
    missing = {"schema_type", "schema_version", "data"}.difference(found if isinstance(found, dict) else ())
    if missing:
        raise UserErrorException(
            "the metric {!r} needs a dictionary with {}".format(name, ", ".join(sorted(missing)))
        )
    return found


def lines(path: str) -> "list[dict[str, object]]":
    """The lines of a file of the run's folder; a torn one is left out."""
    found = []
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    record = json.loads(line.decode("utf-8"))
                except ValueError:
                    continue
                if isinstance(record, dict) and isinstance(record.get("name"), str) and "value" in record:
                    found.append(record)
    except OSError:
        pass
    return found


def tags(folder: str, prefix: str) -> "dict[str, object]":
    """The tags whose names begin with a prefix, without it."""
    found = {}
    for line in lines(os.path.join(folder, "tags.jsonl")):
        name = str(line["name"])
        if not name.startswith(prefix):
            continue
        if line["value"] is None:
            found.pop(name[len(prefix) :], None)
        else:
            # A tag without a value is recorded as an empty text.
            found[name[len(prefix) :]] = line["value"] or None
    return found


def metrics(records: "list[dict[str, object]]") -> "dict[str, object]":
    """The metrics of these lines as `get_metrics` returns them: one value, or a list of all."""
    series = {}  # type: dict[str, list[object]]
    kinds = {}
    for record in records:
        series.setdefault(str(record["name"]), []).append(_number(record["value"]))
        kinds[str(record["name"])] = record.get("kind")
    return {name: _joined(kinds[name], values) for name, values in series.items()}


def _joined(kind: object, values: "list[object]") -> object:
    if kind == "list":
        whole = [cell for value in values for cell in (value if isinstance(value, list) else [value])]
        return [_number(cell) for cell in whole]
    if kind not in ("row", "table"):
        return values[0] if len(values) == 1 else values
    columns = {}  # type: dict[str, list[object]]
    for value in values:
        for column, cells in value.items() if isinstance(value, dict) else ():
            columns.setdefault(column, []).extend(cells if isinstance(cells, list) else [cells])
    return {
        column: _number(cells[0]) if len(cells) == 1 else [_number(cell) for cell in cells]
        for column, cells in columns.items()
    }


def _number(value: object) -> object:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
