"""`--query` on what scripts may have logged: nothing, NaN, texts, numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from amlexec.commands import output
from amlexec.commands.jmespath_query import search
from amlexec.errors import UsageError

RUNS = [
    {"id": number, "metrics": metrics}
    for number, metrics in enumerate(
        [{}, {"a": 0.5}, {"a": "NaN"}, {"a": None}, {"a": 2}, {"a": "Infinity"}, {"a": [1, 2]}, {"a": True}]
    )
]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[?metrics.a > `0.1`].id", [1, 4]),
        ("[?metrics.a <= `0.5` || metrics.a == 'NaN'].id", [1, 2]),
        ("[?!(metrics.a > `1`)].id", [0, 1, 2, 3, 5, 6, 7]),
        ("[?`1` < metrics.a].id", [4]),
        ("[?metrics.a != null] | max_by(@, &metrics.a).id", 4),
        ("max_by(@, &metrics.a).id", 4),
        ("min_by(@, &metrics.a).id", 1),
        ("sort_by(@, &metrics.a)[].id", [1, 4, 0, 2, 3, 5, 6, 7]),
        ("max([].metrics.a)", 2),
        ("min([].metrics.a)", 0.5),
        ("sort([].metrics.a)[:2]", [0.5, 2]),
        ("max_by(@, &metrics.b)", None),
        ("max_by([?metrics.a == 'NaN'], &metrics.a).id", 2),
        ("sort_by(@, &metrics.b)[0].id", 0),
        ('max(`["a", null, "b"]`)', "b"),
        ("max(`[]`)", None),
        ("sort(`[]`)", []),
    ],
)
def test_what_can_not_be_compared_is_not_comparable(expression: str, expected: object) -> None:
    assert search(expression, RUNS) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "sort_by(@, &metrics)",
            "max_by(@, &[id, id])",
            "max(@)",
            "max(`1`)",
            "max_by(@)",
            "sort_by(@, id)",
        ),
        *(
            "avg([].metrics.a)",
            "sum([].metrics.a)",
            "&id",
            "[",
            "(" * 9000,
            "[::0]",
            "@.1",
            "join(@, @)",
        ),
        *("to_number(@, @)", "max_by(`1`, &id)", "map(@, @)", "[?id >", "max_by(@, &(&id))", "foo(@)"),
    ],
)
def test_what_can_not_be_done_is_one_error(expression: str) -> None:
    with pytest.raises(UsageError, match=r"^--query") as caught:
        search(expression, RUNS)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "expression", ["to_number('NaN')", "[to_number('Infinity'), {a: to_number('-inf')}]", "[].metrics"]
)
def test_all_json_can_be_read_by_a_strict_parser(expression: str) -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    text = output.as_json(search(expression, RUNS))
    json.loads(text, parse_constant=refuse)


def test_numbers_that_json_lacks_are_texts() -> None:
    value = {"a": [math.nan, (math.inf, -math.inf)], "b": 1.5}
    assert json.loads(output.as_json(value)) == {"a": ["NaN", ["Infinity", "-Infinity"]], "b": 1.5}
