"""What scoring scripts may be: annotations, decorators, raw requests, coroutines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.serving.test_server import must_be_openapi
from tests.support.services import serving

if TYPE_CHECKING:
    from pathlib import Path


def test_annotations_are_checked_and_described(tmp_path: Path) -> None:
    script = """
from __future__ import annotations
import dataclasses, datetime, enum, typing

class Kind(enum.Enum):
    SMALL = "small"

@dataclasses.dataclass
class Flower:
    width: float
    kind: Kind
    names: typing.List[str] = dataclasses.field(default_factory=list)

def init(): pass

def run(flowers: typing.List[Flower], day: datetime.date, limit: typing.Optional[int] = None,
        by: typing.Dict[str, float] = {}, mode: typing.Literal["a", "b"] = "a", request_headers=None):
    return [type(flowers[0]).__name__, flowers[0].kind.name, day.year, limit, by, mode,
            request_headers["x-own"]]
"""
    with serving(tmp_path, script) as served:
        good = {"flowers": [{"width": 1, "kind": "small"}], "day": "2026-03-01", "by": {"a": 1}}
        answer = served.ask(body=good, x_own="yes")
        assert answer.json == ["Flower", "SMALL", 2026, None, {"a": 1.0}, "a", "yes"]
        bad = {"flowers": [{"width": "1", "kind": "tall", "more": 1}], "limit": True, "mode": "c", "extra": 1}
        wrong = served.ask(body=bad)
        assert wrong.status == 422
        assert {one["field"]: one["message"] for one in wrong.json["fields"]} == {
            "flowers[0].width": "expected a number, got '1'",
            "flowers[0].kind": "expected one of 'small', got 'tall'",
            "flowers[0].more": "it is unknown",
            "day": "it is missing",
            "limit": "expected an integer, got true or false",
            "mode": "expected one of 'a', 'b', got 'c'",
            "extra": "it is unknown",
        }
        document = served.ask("/openapi.json").json
    must_be_openapi(document)
    schema = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["day", "flowers"]
    assert document["components"]["schemas"]["Flower"]["properties"]["width"] == {"type": "number"}


def test_schemas_of_samples(tmp_path: Path) -> None:
    script = """
import numpy
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

def init(): pass

@input_schema("data", NumpyParameterType(numpy.array([[1.0, 2.0]])))
@input_schema("options", StandardPythonParameterType({"method": "predict"}), optional=True)
@output_schema(NumpyParameterType(numpy.array([1])))
def run(data, options={"method": "none"}):
    return {"sum": data.sum(axis=1), "kind": type(data).__name__, "method": options["method"]}
"""
    with serving(tmp_path, script) as served:
        answer = served.ask(body={"data": [[1, 2], [3, 4]], "options": {"method": "x"}})
        assert answer.json == {"sum": [3.0, 7.0], "kind": "ndarray", "method": "x"}
        wrong = served.ask(body={"data": [[1, 2, 3]]})
        assert (wrong.status, wrong.json["fields"][0]["field"]) == (422, "data")
        assert served.ask(body={"options": {}}).status == 422
        assert served.ask(body={"data": [["a", 2]]}).status == 422
        document = served.ask("/openapi.json").json
    must_be_openapi(document)
    schema = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["data"]["examples"] == [[[1.0, 2.0]]]


def test_raw_requests_and_answers(tmp_path: Path) -> None:
    script = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

def init(): pass

@rawhttp
def run(request):
    assert isinstance(request, AMLRequest)
    if request.method == "GET":
        return AMLResponse({"args": request.args}, 201, {"X-Own": "yes"}, json_str=True)
    if request.files:
        return AMLResponse(request.files["image"].read() + request.form["note"].encode(), 200)
    return AMLResponse(request.headers["X-SENT"] + request.get_data(as_text=True), 418)
"""
    with serving(tmp_path, script) as served:
        answer = served.ask("/score?a=1")
        assert (answer.status, answer.json) == (201, {"args": {"a": "1"}})
        assert answer.headers["x-own"] == "yes"
        answer = served.ask(body="body", x_sent="sent-")
        assert (answer.status, answer.body) == (418, b"sent-body")
        answer = served.ask(body=FORM, kind='multipart/form-data; boundary="b"')
        assert answer.body == b"\x89PNG\r\nok"


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n"
    b"\x89PNG\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nok\r\n--b--\r\n'
)


def test_file_uploads(tmp_path: Path) -> None:
    script = "def init(): pass\ndef run(image: bytes, note: str, times: int = 1): return [len(image), note]\n"
    with serving(tmp_path, script) as served:
        assert served.ask(body=FORM, kind="multipart/form-data; boundary=b").json == [6, "ok"]
        missing = FORM.replace(b'"note"', b'"other"')
        assert served.ask(body=missing, kind="multipart/form-data; boundary=b").status == 422
        assert served.ask(body=FORM[:-20], kind="multipart/form-data; boundary=b").status == 400
        assert served.ask(body={"image": "x"}).status == 415


def test_coroutines_are_awaited_and_run_side_by_side(tmp_path: Path) -> None:
    script = """
import asyncio
async def init():
    global both
    both = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None
    await asyncio.sleep(0)
async def run(data: int):
    if both is not None:
        await both.wait()
    return data
"""
    import concurrent.futures

    with serving(tmp_path, script) as served, concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = [pool.submit(served.ask, body=number) for number in range(2)]
        assert sorted(one.result().json for one in found) == [0, 1]


def test_a_script_of_the_old_service(tmp_path: Path) -> None:
    """`run` is never called twice at once, and on the main thread, as those scripts expect."""
    script = """
import json, threading
busy = threading.Lock()
def init():
    global thread
    thread = threading.current_thread()
def run(raw_data):
    assert busy.acquire(blocking=False)
    try:
        assert threading.current_thread() is thread is threading.main_thread()
        data = json.loads(raw_data)["data"]
        return json.dumps({"result": sum(data)})
    finally:
        busy.release()
"""
    import concurrent.futures

    with serving(tmp_path, script) as served, concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [pool.submit(served.ask, body={"data": [number, 1]}) for number in range(50)]
        for number, one in enumerate(found):
            answer = one.result()
            assert json.loads(answer.json) == {"result": number + 1}
        # The script could not read it, which is not its fault.
        assert served.ask(body="{").status == 400
        assert served.ask(body={"other": 1}).status == 500
        assert served.ask("/score?data=[1,2]").json == '{"result": 3}'


def test_pydantic_models(tmp_path: Path) -> None:
    script = """
import pydantic
class Flower(pydantic.BaseModel):
    width: float
def init(): pass
def run(flower: Flower) -> Flower:
    return flower
"""
    with serving(tmp_path, script) as served:
        assert served.ask(body={"width": 2}).json == {"width": 2.0}
        wrong = served.ask(body={"width": "x"})
        assert (wrong.status, wrong.json["fields"][0]["field"]) == (422, "flower.width")
        must_be_openapi(served.ask("/openapi.json").json)
