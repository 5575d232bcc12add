"""A record's parts: each is valid, or the record is an error that names the invalid part."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import pytest

from amlexec.history.record import Run, is_run_id, text_of
from amlexec.history.record_checks import parsed
from tests.support.records import RUN

ID = "demo_1521077190506"
GOOD: dict[str, Any] = json.loads(text_of(RUN._replace(run_id=ID, metric_counts={"Accuracy": 2})))


@pytest.mark.parametrize("name", ["demo_1", "a.b-c_2", "_1", "x" * 60 + "_9", "a_b_3"])
def test_valid_id(name: str) -> None:
    assert is_run_id(name) == (name != "_1")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "demo",
            "demo_",
            "_",
            "..",
            "../x_1",
            "a/b_1",
            "-x_1",
            ".x_1",
            "demo_1\n",
            "demo_1 ",
            "demo_-1",
        ),
        *(
            "ssh_/../../../../evil/pwned",
            "x" * 61 + "_1",
            "demo_" + "1" * 19,
            "demo_1/",
            "a\0_1",
            "é_1",
            "demo_1?x=",
        ),
    ],
)
def test_invalid_id(name: str) -> None:
    assert not is_run_id(name)
    with pytest.raises(ValueError, match="is not a run id"):
        parsed(json.dumps({**GOOD, "run_id": name}), name)


ODD: list[tuple[str, Any]] = [
    *[(key, value) for key in ("status", "created_utc") for value in ([], None, 1, "", {}, "x" * 100)],
    *[("metrics", value) for value in ([], None, 1, "text", [1])],
    *[("metric_counts", value) for value in ([], {"a": "b"}, {"a": -1}, {"a": True}, {"a": 1.5})],
    *[("exit_code", value) for value in ("0", -1, 256, 0.0, True, [], 10**400)],
    *[("arguments", value) for value in (None, "text", [1], {}, ["a", None])],
    *[("argv", value) for value in ("text", [[]], 7)],
    *[("python", value) for value in ("text", [], {"path": "x"}, {"path": 1, "version": "3"}, 3)],
    *[("snapshot", value) for value in ({"tree": "--output=x", "files": 1, "bytes": 1}, {}, "0" * 40)],
    ("snapshot", {"tree": "0" * 40, "files": -1, "bytes": 1}),
    *[("source", value) for value in ({"commit": "HEAD", "dirty": False}, {"commit": "", "dirty": 1}, [])],
    *[
        ("outputs", value)
        for value in ({"files": "many", "bytes": 0}, {"files": float("nan"), "bytes": 0}, 1)
    ],
    *[("target", value) for value in ("../x", "a/b", "..", "", "a\nb", "\0", None, 5, "x" * 300)],
    *[("run_configuration", value) for value in ("../x", "", ["docker"])],
    *[("environment_variables", value) for value in ([], {"A": 1}, {"A": None}, "A=1")],
    *[("start_time_utc", value) for value in ("yesterday", 1e30, "2026-13-01T00:00:00.000000Z")],
    *[("image_id", value) for value in ("../info?x=", 5, "sha256:short", "latest")],
    *[("environment_digest", value) for value in ("../x", [], "g" * 64)],
    *[
        ("application", value)
        for value in ({"id": "a;b", "tracking_url": None}, {"id": 5, "tracking_url": None}, "x")
    ],
    *[
        (key, value)
        for key in ("reason", "user_id", "host", "amlexec", "script_name")
        for value in (None, 5, [], {})
    ],
    *[("tracked", value) for value in (None, 1, "true")],
    *[("unread", value) for value in ("text", [1], {"a": 1}, None)],
    *[(key, value) for key in ("target_kind", "framework") for value in (None, [], "a b", "../x", "")],
]


@pytest.mark.parametrize(("key", "value"), ODD, ids=lambda value: repr(value)[:30])
def test_an_invalid_part(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{key} ") as raised:
        parsed(json.dumps({**GOOD, key: value}), ID)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[" * 200_000,
            '{"a":' * 200_000,
            "",
            "{",
            "null",
            "[]",
            "1",
            '"x"',
            "NaN",
            "\0",
            "\ufeff{}",
            "{}",
            "[{}]",
        ),
        json.dumps({**GOOD, "metrics": "@"}).replace('"@"', '{"a": ' + "[" * 200 + "]" * 200 + "}"),
        json.dumps({**GOOD, "exit_code": "@"}).replace('"@"', "1" * 10_000),
        json.dumps({**GOOD, "run_id": "demo_2"}),
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_not_a_record(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text, ID)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**300, "\ud800", {"\udcff": ["\ud800"]}, None, True, [[]]]
)
def test_a_metric_may_be_any_json(value: Any) -> None:
    run = RUN._replace(run_id=ID, metrics={"x": value}, metric_counts={"x": 1})
    again = parsed(text_of(run).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), ID)
    assert repr(again) == repr(run)


def test_a_record_of_an_earlier_version() -> None:
    old = {key: value for key, value in GOOD.items() if key not in ("metric_counts", "unread", "application")}
    run = parsed(json.dumps({**old, "metrics": {"loss": [3, 2, 1]}, "more": 1}), ID)
    assert (run.metrics, run.metric_counts, run.unread, run.application) == (
        {"loss": [3, 2, 1]},
        {},
        (),
        None,
    )


VALUES: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        10**30,
        1e308,
        float("nan"),
        "",
        "x",
        "\ud800",
        "../../x",
        "\0",
        "x" * 5000,
        [],
        {},
        [[]],
    ),
    *([1], {"a": {}}, {"": None}, "2026-01-31T12:00:00.000000Z", "a_1", ["-x"], {"path": "x", "version": []}),
]


def odd_records(chance: random.Random, count: int) -> Any:
    """Texts that are almost valid records."""
    for _ in range(count):
        value = copy.deepcopy(GOOD)
        for _ in range(chance.randrange(1, 4)):
            place: Any = value
            key = chance.choice(list(value))
            if isinstance(place[key], dict) and place[key] and chance.random() < 0.5:
                place = place[key]
                key = chance.choice(list(place))
            if chance.random() < 0.1:
                del place[key]
            else:
                place[key] = copy.deepcopy(chance.choice(VALUES))
        text = json.dumps(value)
        if chance.random() < 0.2:
            at = chance.randrange(len(text))
            text = (
                text[:at]
                + chance.choice(["", "\0", "[", '"', "}", "9" * 50])
                + text[at + chance.randrange(9) :]
            )
        yield text


def test_random_records_are_read_or_refused() -> None:
    kept = 0
    for text in odd_records(random.Random(4), 3000):
        with contextlib.suppress(ValueError):
            run = parsed(text, ID)
            assert isinstance(run, Run)
            assert repr(parsed(text_of(run), ID)) == repr(run)
            kept += 1
    assert kept > 100
