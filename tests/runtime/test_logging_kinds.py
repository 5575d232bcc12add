"""`amlexec.run` in a run: metrics of every kind, steps, several processes, closed and removed files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amlexec.history.series import Series, read_series
from tests.engines import mlflow
from tests.engines.fixtures import need
from tests.support.logged import read_all
from tests.support.site_scripts import every_interpreter, interpreters, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def logged(folder: Path) -> dict[str, Series]:
    return read_series(folder / "metrics.jsonl")


def of_this_python(script: str, folder: Path | None, cwd: Path) -> str:
    """The standard output of a script that succeeds without a warning."""
    result = run(interpreters()[0], script, folder, cwd)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


KINDS = r"""
import collections, os
from amlexec.run import (
    log, log_confusion_matrix, log_file, log_image, log_list, log_row, log_table, log_text, tag,
)

class Figure:
    def savefig(self, file, format): file.write(b"PNG")
class Frame:
    def to_dict(self, orient): return {"a": [1, 2], "b": ["x", "y"]}
class Matrix:
    def tolist(self): return [[5, 1], [0, 4]]

os.mkdir("outputs")
for epoch in range(3):
    log("loss", 1 / (epoch + 1), step=epoch * 10)
log_list("layers", (n for n in (64, 32)))
log_row("epochs", epoch=1, loss=0.5)
log_row("epochs", {"epoch": 2, "any name": None}, step=2)
log_table("columns", collections.OrderedDict([("x", (1, 2)), ("y", range(2))]))
log_table("rows", [{"x": 1}, {"x": 2, "y": 3}])
log_table("frame", Frame())
log_table("single", {"x": 1, "y": "text"})
log_text("summary", "3 classes\n150 rows")
log_text("long", "x" * 70000)
for number in (1, 2, 1):
    with open("plot.bin", "w") as file: file.write(str(number))
    log_file("../a plot", "plot.bin", step=number)
with open("outputs/kept.png", "w") as file: file.write("kept")
log_image("own", "outputs/kept.png")
log_image("figure", plot=Figure())
log_confusion_matrix("matrix", Matrix(), labels=["setosa", 2])
log_confusion_matrix("unnamed", [[1]])
tag("dataset", "2018-03")
for value in ("on", "no", "1e3", 7, None):
    tag(str(value), value)
tag("best")
"""


@every_interpreter
def test_every_kind(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, KINDS, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    found = logged(folder)
    assert [(name, each.kind, each.values[0]) for name, each in found.items() if name != "loss"] == [
        ("layers", "list", [64, 32]),
        ("epochs", "row", {"epoch": 1, "loss": 0.5}),
        ("columns", "table", {"x": [1, 2], "y": [0, 1]}),
        ("rows", "table", {"x": [1, 2], "y": [None, 3]}),
        ("frame", "table", {"a": [1, 2], "b": ["x", "y"]}),
        ("single", "table", {"x": [1], "y": ["text"]}),
        ("summary", "text", "3 classes\n150 rows"),
        ("long", "file", "outputs/long.txt"),
        ("../a plot", "file", "outputs/_a plot.bin"),
        ("own", "image", "outputs/kept.png"),
        ("figure", "image", "outputs/figure.png"),
        ("matrix", "confusion_matrix", matrix([[5, 1], [0, 4]], ["setosa", "2"])),
        ("unnamed", "confusion_matrix", matrix([[1]], ["0"])),
    ]
    assert ([*found["loss"].steps], [*found["loss"].values]) == ([0, 10, 20], [1, 0.5, 1 / 3])
    assert (found["epochs"].values[1], found["epochs"].steps) == ({"epoch": 2, "any name": None}, [0, 2])
    # A second file of the name with other contents does not replace the first one.
    assert found["../a plot"].values == [
        "outputs/_a plot.bin",
        "outputs/_a plot_2.bin",
        "outputs/_a plot.bin",
    ]
    kept = {path.name: path.read_text() for path in (folder / "outputs").iterdir()}
    assert kept == {
        "_a plot.bin": "1",
        "_a plot_2.bin": "2",
        "figure.png": "PNG",
        "long.txt": "x" * 70000,
    }
    tags = [json.loads(line) for line in (folder / "tags.jsonl").read_text().splitlines()]
    assert [(each["name"], each["value"]) for each in tags] == [
        *(("dataset", "2018-03"), ("on", "on"), ("no", "no"), ("1e3", "1e3"), ("7", "7")),
        *(("None", "None"), ("best", "")),
    ]


def matrix(rows: list[list[int]], labels: list[str]) -> dict[str, object]:
    data = {"class_labels": labels, "matrix": rows}
    return {"schema_type": "confusion_matrix", "schema_version": "1.0.0", "data": data}


def test_outside_a_run_nothing_is_kept(tmp_path: Path) -> None:
    of_this_python(KINDS, None, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs", "plot.bin", "train.py"]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["kept.png"]


MISTAKES = """
from amlexec.run import log_confusion_matrix, log_file, log_image, log_table
for mistake in (
    lambda: log_table("t", {"a": [1, 2], "b": [1]}),
    lambda: log_table("t", 3),
    lambda: log_table("t", [3]),
    lambda: log_confusion_matrix("m", [[1, 2]]),
    lambda: log_confusion_matrix("m", [[1]], labels=["a", "b"]),
    lambda: log_file("f", "missing.txt"),
    lambda: log_image("i"),
    lambda: log_image("i", "a.png", plot=3),
):
    try: mistake()
    except (ValueError, OSError) as error: print(error)
"""


@pytest.mark.parametrize("is_in_a_run", [True, False])
def test_mistakes_are_errors_in_a_run_or_not(folder: Path, tmp_path: Path, is_in_a_run: bool) -> None:
    assert of_this_python(MISTAKES, folder if is_in_a_run else None, tmp_path).splitlines() == [
        "the columns of a table must be equally long: a has 2, b has 1",
        "a table is a map of columns, or a list of rows, not int",
        "a row of a table is a map of cells, not int",
        "a confusion matrix must be square: it has 1 rows",
        "2 labels for a confusion matrix of 1 classes",
        "[Errno 2] No such file or directory: 'missing.txt'",
        "log_image needs either a path or a plot",
        "log_image needs either a path or a plot",
    ]
    assert not [*folder.iterdir()]


STEPS = """
from amlexec.run import log
class Whole:
    def item(self): return 7
for step in (3, 2.0, 0.5, Whole(), True, "one", None, float("nan")):
    log("x", 1, step=step)
"""


@every_interpreter
def test_steps_are_numbers(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, STEPS, folder, tmp_path)
    assert result.returncode == 0
    assert result.stderr == "amlexec: warning: the step 'True' of 'x' is not a number\n"
    assert [*logged(folder)["x"].steps] == [3, 2, 0.5, 7, 4, 5, 6, 7]


def test_any_name_is_a_name(folder: Path, tmp_path: Path) -> None:
    names = ['"', "\\", "a/b", "../x", "\x1b[2J", "\u2713", " ", "", "a\nb", "{}", "x" * 1000, "NaN"]
    script = f"from amlexec.run import log\nfor n in {names!r}: log(n, 1); log(n, 2, step=9)\n"
    of_this_python(script, folder, tmp_path)
    found = logged(folder)
    assert list(found) == names
    assert all(([*each.values], [*each.steps]) == ([1, 2], [0, 9]) for each in found.values())


NUMBERS = """
import numpy as np
from amlexec.run import log

nan = float("nan")
for kind in (np.float16, np.float32, np.float64, np.longdouble):
    log("nan", kind(nan)); log("half", kind(0.5)); log("inf", kind("-inf"))
for kind in (np.int8, np.int16, np.int32, np.int64, np.uint64):
    log("seven", kind(7)); log("steps", 1, step=kind(7))
log("true", np.bool_(True)); log("text", np.str_("a")); log("0-d", np.array(0.25))
"""


def test_numpy_scalars_are_plain_numbers(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("numpy", reason="numpy is not installed: pip install -e '.[test]'")
    of_this_python(NUMBERS, folder, tmp_path)
    found = read_all(folder / "metrics.jsonl").values
    assert found == {
        "nan": ["NaN"] * 4,
        "half": [0.5] * 4,
        "inf": ["-Infinity"] * 4,
        "seven": [7] * 5,
        "steps": [1] * 5,
        "true": True,
        "text": "a",
        "0-d": 0.25,
    }
    assert [*logged(folder)["steps"].steps] == [7] * 5


PANDAS = """
import pandas as pd
from amlexec.run import log, log_list, log_row, log_table

frame = pd.DataFrame({
    "n": [1, 2, 3], "x": [0.5, float("nan"), float("inf")], "b": [True, False, True],
    "i": pd.array([1, None, 3], dtype="Int64"), "t": pd.to_datetime(["2026-01-01", None, "2026-01-02"]),
    "c": pd.Categorical(["u", "v", "u"]),
})
log_table("frame", frame)
log_table("series", frame["n"])
log_table("means", frame.groupby("c", observed=True)[["n"]].mean())
log_table("counts", frame["c"].value_counts())
log_list("list", frame["x"])
log_list("nullable", frame["i"])
log_row("row", frame.iloc[0])
for name, value in (
    ("sum", frame["n"].sum()), ("mean", frame["x"].mean()), ("int", frame["i"][0]), ("na", pd.NA),
    ("nat", pd.NaT), ("time", pd.Timestamp("2026-01-01")), ("values", frame["n"]), ("index", frame.index),
):
    log(name, value)
log("step", 1, step=frame["i"].iloc[2])
"""


SCALARS: dict[str, object] = {
    "sum": 6,
    "mean": "Infinity",
    "int": 1,
    "na": None,
    "nat": None,
    "time": "2026-01-01 00:00:00",
    "values": [1, 2, 3],
    "index": [0, 1, 2],
    "step": 1,
}


def test_values_of_pandas(folder: Path, tmp_path: Path) -> None:
    """With the pandas that MLflow brings along."""
    need("mlflow", f"MLflow {mlflow.VERSION}", mlflow.is_there)
    result = run(mlflow.python(), PANDAS, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    day = "2026-01-01 00:00:00"
    assert (
        read_all(folder / "metrics.jsonl").values
        == {
            "frame": {
                "n": [1, 2, 3],
                "x": [0.5, "NaN", "Infinity"],
                "b": [True, False, True],
                "i": [1, None, 3],
                "t": [day, None, "2026-01-02 00:00:00"],
                "c": ["u", "v", "u"],
            },
            "series": {"n": [1, 2, 3]},
            "means": {"c": ["u", "v"], "n": [2, 2]},
            "counts": {"c": ["u", "v"], "count": [2, 1]},
            "list": [0.5, "NaN", "Infinity"],
            "nullable": [1, None, 3],
            "row": {"n": 1, "x": 0.5, "b": True, "i": 1, "t": day, "c": "u"},
        }
        | SCALARS
    )
    assert [*logged(folder)["step"].steps] == [3]


# ---------------------------------------------------------------- times, processes, files


def test_a_time_is_left_out_soon_after_another(folder: Path, tmp_path: Path) -> None:
    """Within 10 ms; as values, the script logs when it did so."""
    script = "import time\nfrom amlexec.run import log\nlog('x', time.time())\ntime.sleep(0.05)\n"
    script += "until = time.time() + 0.1\nwhile time.time() < until: log('x', time.time())\n"
    of_this_python(script, folder, tmp_path)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert ["time" in line for line in lines[:2]] == [True, True]
    rounding = 0.0011
    last = 0.0
    for line in lines:
        if "time" in line:
            assert line["time"] - last > 0.01 - rounding, "no sooner"
            assert line["time"] > line["value"] - rounding
            last = line["time"]
        else:
            assert line["value"] - last < 0.01 + rounding, "no later"
    times = [*logged(folder)["x"].times]
    assert times == sorted(times)
    assert [times[at] for at, line in enumerate(lines) if "time" in line] == [
        line["time"] for line in lines if "time" in line
    ]


def test_a_million_points_need_60_megabytes(folder: Path, tmp_path: Path) -> None:
    """With all digits of a number, and the steps of a long training."""
    script = "import random\nfrom amlexec.run import log\n"
    script += "for step in range(100000, 120000): log('loss', random.random(), step=step)\n"
    of_this_python(script, folder, tmp_path)
    assert (folder / "metrics.jsonl").stat().st_size / 20_000 < 60


def test_a_clock_that_steps_back_keeps_the_order(folder: Path, tmp_path: Path) -> None:
    script = "import time\nfrom amlexec.run import log\nreal = time.time\n"
    script += "for n, shift in enumerate((0, -3600, 0)):\n    time.time = lambda: real() + shift\n"
    script += "    log('x', n)\n"
    of_this_python(script, folder, tmp_path)
    found = logged(folder)["x"]
    assert [*found.values] == [0, 1, 2]
    assert found.times[1] < found.times[0] - 3000 < found.times[2] - 3000


PROCESSES = """
import multiprocessing, os, threading
from amlexec.run import log

def work(worker):
    for number in range(500):
        log("worker {}".format(worker), number, step=number)

log("before", 1)
threads = [threading.Thread(target=work, args=("thread %d" % n,)) for n in range(2)]
for thread in threads: thread.start()
children = []
for number in range(3):
    child = os.fork()
    if not child:
        work(number)
        os._exit(0)
    children.append(child)
for child in children: assert os.waitpid(child, 0)[1] == 0
for thread in threads: thread.join()
log("after", 1)
"""


@every_interpreter
def test_forked_processes_and_threads_lose_nothing(python: str, folder: Path, tmp_path: Path) -> None:
    # Python 3.12 and later warn of a fork beside threads.
    script = "import warnings\nwarnings.simplefilter('ignore')\n" + PROCESSES
    result = run(python, script, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    found = logged(folder)
    assert len(found) == 7
    assert read_all(folder / "metrics.jsonl").unreadable == 0
    for name, series in found.items():
        if name not in {"before", "after"}:
            assert [*series.values] == [*series.steps] == [*range(500)]


CLOSED = """
import os
from amlexec.run import log

log("x", 1)
os.closerange(3, 100)
files = [open("data%d" % number, "wb") for number in range(5)]
log("x", 2)
for file in files: file.close()
os.unlink(os.environ["AMLEXEC_RUN_FOLDER"] + "/metrics.jsonl")
log("x", 3)
os.mkdir("another")
os.environ["AMLEXEC_RUN_FOLDER"] = os.path.abspath("another")
log("x", 5)
"""


def test_a_script_that_closes_or_removes_files(folder: Path, tmp_path: Path) -> None:
    """The descriptor that was kept is never another file's."""
    of_this_python(CLOSED, folder, tmp_path)
    assert [(tmp_path / f"data{number}").read_bytes() for number in range(5)] == [b""] * 5
    assert [*logged(folder)["x"].values] == [3]
    assert [*read_series(tmp_path / "another" / "metrics.jsonl")["x"].values] == [5]


def test_a_kept_descriptor_does_not_reach_child_programs(folder: Path, tmp_path: Path) -> None:
    script = "import os, subprocess\nfrom amlexec.run import log\nlog('x', 1)\n"
    script += "print(subprocess.check_output('ls -l /proc/self/fd', shell=True, close_fds=False).decode())\n"
    assert "metrics.jsonl" not in of_this_python(script, folder, tmp_path)
