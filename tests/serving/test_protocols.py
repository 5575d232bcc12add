"""MLflow's protocol and the Open Inference Protocol, in front of scoring scripts that declare their input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.services import Served

MODEL = {"models": [{"name": "iris", "version": 3}]}
PANDAS = "class DataFrame(list):\n    def __init__(self, rows, columns=None): super().__init__(rows)\n"
"""As much of it as the script needs: the real one is not among the packages of the tests."""
TABLE = """
import pandas
def init(): pass
def run(data: pandas.DataFrame) -> list:
    return [row["a"] * 10 + row["b"] for row in data]
"""
ROWS = """
import numpy
def init(): pass
def run(data: numpy.ndarray) -> list:
    return data[:, 0] * 10 + data[:, 1]
"""
SEVERAL = """
def init(): pass
def run(amount: float, names: list = None, pieces: int = 1) -> dict:
    return {"price": amount * pieces, "names": names or [], "odd": [1, None]}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("table")
    (folder / "pandas.py").write_text(PANDAS)
    with serving(folder, TABLE, MODEL) as found:
        yield found


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("several"), SEVERAL, MODEL) as found:
        yield found


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}, "application/json"),
        ({"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}, "application/json; charset=utf-8"),
        ({"inputs": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}, "application/json"),
        ("a,b\n1,2\n3,4\n", "text/csv"),
    ],
)
def test_each_form_of_mlflow_is_the_same_table(table: Served, body: Any, kind: str) -> None:
    answer = table.ask("/invocations", body, kind=kind)
    assert (answer.status, answer.json) == (200, {"predictions": [12, 34]})
    assert answer.headers["x-amlexec-model"] == "iris:3"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, [[1, 2]], "expected an object with one of dataframe_split"),
        (400, {"inputs": [], "instances": []}, "expected an object with one of"),
        (400, {"inputs": [], "params": {"x": 1}}, "params is unknown"),
        (400, {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "each row needs 1 values"),
        (400, {"dataframe_split": [[1]]}, "needs the lists columns and data"),
        (400, '{"inputs": ', "line 1, column 12"),
        (422, {"inputs": 3}, "expected a list of objects"),
        (500, {"dataframe_records": [{"a": 1}]}, "the scoring script failed"),
    ],
)
def test_bad_requests_of_mlflow(table: Served, status: int, body: Any, told: str) -> None:
    answer = table.ask("/invocations", body)
    assert (answer.status, told in answer.json["error"]) == (status, True), answer.json


def test_an_array_gets_the_rows(tmp_path: Path) -> None:
    with serving(tmp_path, ROWS, MODEL) as served:
        split = {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}
        assert served.ask("/invocations", {"dataframe_split": split}).json == {"predictions": [12, 34]}
        assert served.ask("/invocations", {"instances": [[1, 2]]}).json == {"predictions": [12]}
        tensor = {"name": "data", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2, 3, 4]}
        answer = served.ask("/v2/models/iris/infer", {"inputs": [tensor]})
        assert answer.json["outputs"] == [
            {"name": "output_0", "datatype": "FP64", "shape": [2], "data": [17.0, 34.0]}
        ]


def test_tensors_become_columns_or_parameters(table: Served, several: Served) -> None:
    a = {"name": "a", "shape": [2, 1], "datatype": "INT64", "data": [[1], [3]]}
    b = {"name": "b", "shape": [2], "datatype": "INT64", "data": [2, 4]}
    for path in ("/v2/models/iris/infer", "/v2/models/iris/versions/3/infer", "/v2/models/demo/infer"):
        answer = table.ask(path, {"id": "one", "inputs": [a, b]})
        output = {"name": "output_0", "datatype": "INT64", "shape": [2], "data": [12, 34]}
        assert (answer.status, answer.json["id"], answer.json["outputs"]) == (200, "one", [output])
        assert answer.json["model_version"] == "3"
    inputs = [
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]},
        {"name": "names", "shape": [2, 2], "datatype": "BYTES", "data": ["a", "b", "c", "d"]},
    ]
    answer = several.ask("/v2/models/iris/infer", {"inputs": inputs})
    assert answer.json["outputs"] == [
        {"name": "price", "datatype": "FP64", "shape": [1], "data": [1.5]},
        {"name": "names", "datatype": "BYTES", "shape": [2, 2], "data": ["a", "b", "c", "d"]},
        {"name": "odd", "datatype": "BYTES", "shape": [1], "data": ["[1, null]"]},
    ]
    assert (
        several.ask("/invocations", {"inputs": {"amount": 2, "pieces": 3}}).json["predictions"]["price"] == 6
    )
    counted = several.ask("/status").json["answers"]
    assert several.ask("/metrics").body.count(b'route="/v2/infer",status="200"') == 1
    assert counted == {}  # of /score


@pytest.mark.parametrize(
    ("status", "inputs", "told"),
    [
        (400, [], "the list inputs"),
        (400, [{"shape": [1], "data": [1]}], "inputs[0] has no name"),
        (400, [{"name": "amount", "shape": [2], "data": [1]}], "has 1 values, and its shape 2"),
        (400, [{"name": "amount", "shape": [-1], "data": [1]}], "needs a shape"),
        (400, [{"name": "other", "shape": [1], "data": [1]}], "several parameters (amount, names, pieces)"),
        (422, [{"name": "amount", "shape": [1], "data": ["x"]}], "amount: expected a number"),
    ],
)
def test_bad_tensors(several: Served, status: int, inputs: Any, told: str) -> None:
    answer = several.ask("/v2/models/iris/infer", {"inputs": inputs})
    assert (answer.status, told in answer.json["error"]) == (status, True), answer.json


def test_a_service_describes_its_models(several: Served) -> None:
    assert several.ask("/v2").json == {"name": "demo", "version": "3", "extensions": []}
    told = several.ask("/v2/models/iris").json
    assert (told["name"], told["versions"]) == ("iris", ["3"])
    assert told["inputs"][0] == {"name": "amount", "datatype": "FP64", "shape": [1]}
    assert several.ask("/v2/models/iris/ready").json == {"name": "iris", "ready": True}
    for path in ("/v2/models/wine", "/v2/models/iris/versions/4/ready"):
        answer = several.ask(path)
        assert (answer.status, "this service has iris (version 3)" in answer.json["error"]) == (404, True)
    assert several.ask("/v2/models/iris", key="").status == 401
    assert several.ask("/invocations").status == 405
    assert several.ask("/v2/nothing").status == 404


def test_a_script_that_declares_nothing_has_neither(tmp_path: Path) -> None:
    with serving(tmp_path, "def init(): pass\ndef run(data): return data\n") as served:
        for path in ("/invocations", "/v2/models/demo/infer"):
            answer = served.ask(path, {"inputs": [1]})
            assert (answer.status, "annotate the parameters of run" in answer.json["error"]) == (501, True)
