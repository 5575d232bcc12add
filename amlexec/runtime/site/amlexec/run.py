"""Metrics and files of the run that this script is part of. CPython 3.5 and later, no dependencies.

    from amlexec.run import log, log_image, tag

    for epoch in range(10):
        log("loss", train(), step=epoch)
    log_image("confusion", plot=figure)
    tag("dataset", "2018-03")

Inside a run, the variable `AMLEXEC_RUN_FOLDER` is the absolute path of the run's folder. Each call appends
one line to `metrics.jsonl` there; docs/reference/metrics.md has the format. Processes and threads can log at
the same time, and the lines of each keep their order. A process that dies loses nothing that it logged; a
write cut short (a full disk) leaves a torn line, which readers pass over. Outside a run nothing is kept and
nothing is printed.

This folder is put on a run's PYTHONPATH. It holds `amlexec` without an `__init__.py` on purpose: a folder
like that gives way to an `amlexec` that is installed for the script's interpreter, and hides nothing of it.
"""

import json
import time

from . import recorder
from .artifacts import kept_file, kept_plot, parts_of
from .models import register_model
from .plain_values import encoded, number, text
from .tables import as_columns, as_confusion_matrix

__all__ = [
    "Logged",
    "log",
    "log_confusion_matrix",
    "log_file",
    "log_image",
    "log_list",
    "log_row",
    "log_table",
    "log_text",
    "record",
    "register_model",
    "tag",
    "upload",
]

LONGEST_TEXT = 1 << 16
"""In characters. A longer text becomes a file."""
_MOST_NAMES = 10000
_names = {}  # type: dict[str, str]
"""The beginnings of lines, by name."""


class Logged:
    """The result of `log`: the recorded value, and `wait`."""

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value

    def wait(self, timeout: object = None) -> None:  # noqa: ARG002 - it never waits long
        """Flush the value to the disk."""
        recorder.sync()

    def __repr__(self) -> str:
        return "Logged({!r}, {!r})".format(self.name, self.value)


def log(name: object, value: object, step: object = None) -> Logged:
    """Keep a value as a metric of this run; the same name again makes a series.

    Numbers, strings, booleans, None, and lists and dictionaries of them are kept as they are; what has
    `tolist`, `item` or `numpy` (NumPy, PyTorch, TensorFlow, pandas) as the plain value it stands for; any
    other object as its text. Without a `step`, values are numbered. Never raises, whatever the value or the
    state of the disk.
    """
    return record("", name, value, step)


def log_list(name: object, values: object, step: object = None) -> Logged:
    """Keep a list of plain values as one metric. Never raises."""
    if hasattr(values, "__next__"):
        values = list(values)  # type: ignore[call-overload]
    return record("list", name, values, step)


def log_row(name: object, row: object = None, step: object = None, **columns: object) -> Logged:
    """Keep a row of the table `name`: a map, or a keyword for each column. Never raises."""
    cells = dict(row) if hasattr(row, "keys") else {}  # type: ignore[call-overload]
    cells.update(columns)
    return record("row", name, cells, step)


def log_table(name: object, table: object, step: object = None) -> Logged:
    """Keep a whole table: columns by name, a list of rows, or a data frame of pandas.

    Raises ValueError, in a run or not, if columns differ in length.
    """
    return record("table", name, as_columns(table), step)


def log_confusion_matrix(name: object, matrix: object, labels: object = None, step: object = None) -> Logged:
    """Keep a confusion matrix: rows are true classes, columns are predicted ones; `labels` are the classes.

    Raises ValueError, in a run or not, if it is not square or has another number of labels.
    """
    return record("confusion_matrix", name, as_confusion_matrix(matrix, labels), step)


def log_text(name: object, contents: object, step: object = None) -> Logged:
    """Keep a text; one above 65,536 characters as the file `outputs/NAME.txt`."""
    whole = text(contents)
    if len(whole) <= LONGEST_TEXT:
        return record("text", name, whole, step)
    return record("file", name, kept_file(text(name), whole.encode("utf-8"), ".txt"), step)


def log_file(name: object, path: object, step: object = None) -> Logged:
    """Keep a copy of a file below `outputs/`; a file that is there already is not copied.

    A second file of the name with other contents gets a number. Raises OSError, in a run or not, if the file
    can't be read.
    """
    return record("file", name, kept_file(text(name), path), step)


def log_image(name: object, path: object = None, plot: object = None, step: object = None) -> Logged:
    """Keep an image: a copy of the file `path`, or a plot, which is anything with `savefig`.

    Raises OSError as `log_file` does, and ValueError unless there is either a path or a plot.
    """
    if (path is None) == (plot is None):
        raise ValueError("log_image needs either a path or a plot")
    kept = kept_file(text(name), path) if plot is None else kept_plot(text(name), plot)
    return record("image", name, kept, step)


def record(kind: str, name: object, value: object, step: object = None) -> Logged:
    """Keep a value of a kind; "" for a plain one. Never raises. For values of other libraries' loggers."""
    name = text(name)
    start = _names.get(name)
    if start is None:
        start = '{"name":' + json.dumps(name) + ',"value":'
        if len(_names) < _MOST_NAMES:
            _names[name] = start
    value, as_json = encoded(value)
    end = ""
    if step is not None:
        whole = step if type(step) is int else number(step)
        if whole is None:
            recorder.warn("the step {!r} of {!r} is not a number".format(text(step), name))
        else:
            end = ',"step":' + repr(whole)
    if kind:
        end += ',"kind":' + json.dumps(kind)
    recorder.append_metric(start + as_json, end + "}\n")
    return Logged(name, value)


def tag(name: object, value: object = "") -> None:
    """Set a tag of this run: a name and a text. The same name again replaces it. Never raises."""
    change = {"name": text(name), "value": text(value), "time": round(time.time(), 3)}
    recorder.append("tags.jsonl", json.dumps(change) + "\n")


def upload(name: object, contents: object) -> None:
    """Keep text (as UTF-8) or bytes as the file `outputs/NAME` of this run.

    `name` is a relative path with `/`; a leading `outputs/` may be there or not. `contents` is a str, bytes,
    or a file open for reading. Raises ValueError where the name leads out of `outputs/`, in a run or not.
    """
    recorder.store(parts_of(text(name)), contents)
