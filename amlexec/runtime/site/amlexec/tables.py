"""Tables and confusion matrices, of any library, as plain columns."""

from collections.abc import Mapping

__all__ = ["as_columns", "as_confusion_matrix"]


def as_columns(table: object) -> "dict[str, list[object]]":
    """A map of columns, a list of rows, or a data frame, as columns. A single value is a column of one row.

    The index of a data frame is a column if it has a name, as after `groupby`. A series of pandas is a table,
    too. Raises ValueError if columns differ in length, or it is not a table.
    """
    if callable(getattr(table, "to_dict", None)):
        if callable(getattr(table, "to_frame", None)):
            table = table.to_frame()  # type: ignore[attr-defined]
        names = getattr(getattr(table, "index", None), "names", None) or ()
        if any(name is not None for name in names):
            table = table.reset_index()  # type: ignore[attr-defined]
        table = table.to_dict("list")  # type: ignore[attr-defined]
    if isinstance(table, Mapping):
        columns = {name: _column(cells) for name, cells in table.items()}
    else:
        columns = _of_rows(table)
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join("{} has {}".format(name, count) for name, count in list(lengths.items())[:10])
        raise ValueError("the columns of a table must be equally long: {}".format(shown))
    return columns


def _column(cells: object) -> "list[object]":
    if hasattr(cells, "tolist"):
        cells = cells.tolist()
    if isinstance(cells, (str, bytes, Mapping)) or not hasattr(cells, "__iter__"):
        return [cells]
    return list(cells)  # type: ignore[call-overload]


def _of_rows(rows: object) -> "dict[str, list[object]]":
    if not hasattr(rows, "__iter__") or isinstance(rows, (str, bytes)):
        raise ValueError("a table is a map of columns, or a list of rows, not {}".format(type(rows).__name__))
    found = list(rows)  # type: ignore[call-overload]
    names = {}  # type: dict[object, None]
    for row in found:
        if not isinstance(row, Mapping):
            raise ValueError("a row of a table is a map of cells, not {}".format(type(row).__name__))
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in found] for name in names}  # type: ignore[misc]


def as_confusion_matrix(matrix: object, labels: object) -> "dict[str, object]":
    """A square matrix with its labels, in the schema of azureml. A map is taken as it is.

    Raises ValueError if it is not square, or has another number of labels.
    """
    if isinstance(matrix, Mapping):
        return dict(matrix)
    if labels is None:
        labels = getattr(matrix, "columns", None)
    values = getattr(matrix, "values", matrix)  # of a data frame
    rows = values.tolist() if hasattr(values, "tolist") else [list(row) for row in values]
    if any(len(row) != len(rows) for row in rows):
        raise ValueError("a confusion matrix must be square: it has {} rows".format(len(rows)))
    names = list(range(len(rows))) if labels is None else list(labels)  # type: ignore[call-overload]
    if len(names) != len(rows):
        raise ValueError("{} labels for a confusion matrix of {} classes".format(len(names), len(rows)))
    names = [str(name) for name in names]
    data = {"class_labels": names, "matrix": rows}
    return {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": data}
