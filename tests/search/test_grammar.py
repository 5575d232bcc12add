"""The values of a parameter as they are written, and the points of a grid and of a random search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.search import domains, grammar
from amlexec.search.domains import Choices, Range, Value
from amlexec.search.grammar import BadValuesError
from amlexec.search.space import Grid, Parameter, Random


def texts(written: str) -> list[str]:
    found = grammar.values(written)
    assert found is not None
    assert found.size is not None
    return [found.at(index).text for index in range(found.size)]


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("0.1,0.01", ["0.1", "0.01"]),
        ("2..6", ["2", "3", "4", "5", "6"]),
        ("2..7:2", ["2", "4", "6"]),
        ("-2..1", ["-2", "-1", "0", "1"]),
        ("0..1:0.25", ["0.0", "0.25", "0.5", "0.75", "1.0"]),
        ("0.1..0.4:0.1", ["0.1", "0.2", "0.3", "0.4"]),
        ("1..64:x4", ["1", "4", "16", "64"]),
        ("1e-4..1e-1:x10", ["0.0001", "0.001", "0.01", "0.1"]),
        ("1e-3,true,null,007", ["1e-3", "true", "null", "007"]),
        ("'a,b',\"c\"", ["a,b", "c"]),
        ("'it''s',x", ["it's", "x"]),
        ("it's,x", ["it's", "x"]),
        ("'',a", ["", "a"]),
        (" a ,b\nc", [" a ", "b\nc"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('{"a":1,"b":"}"},x', ['{"a":1,"b":"}"}', "x"]),
        ("1,3..5,9", ["1", "3", "4", "5", "9"]),
        ("3..3", ["3"]),
    ],
)
def test_values_are_listed(written: str, values: list[str]) -> None:
    assert texts(written) == values


@pytest.mark.parametrize(
    "written", ["0.1", "", "../data", "1..", "a..b", "v1.2..1.3", "'a,b'", "(1,2)", "..5"]
)
def test_a_single_value(written: str) -> None:
    assert grammar.values(written) is None


def test_quotes_keep_a_comma() -> None:
    assert grammar.literal("'a,b'") == "a,b"
    assert grammar.literal("'2..6'") == "2..6"
    assert grammar.literal("'plain'") == "'plain'"
    assert grammar.literal("it's") == "it's"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-3", 0.001),
        ("0.5", 0.5),
        ("true", True),
        ("None", None),
        ("007", "007"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("1_000", "1_000"),
        ("٣", "٣"),
    ],
)
def test_values_are_typed(text: str, value: object) -> None:
    found = domains.typed(text)
    assert (found.text, found.value, type(found.value)) == (text, value, type(value))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("1,,2", "there is an empty value in '1,,2'"),
        ("6..2", "the range 6..2 ends before it begins"),
        ("0..1:log", "the range 0..1:log can't be logarithmic"),
        ("0..4:x2", "the range 0..4:x2 never ends"),
        ("1..4:0", "the range 1..4:0 never ends"),
        ("1..4:lin", "'lin' in '1..4:lin' is not a step"),
        ("1..9999999", "the range 1..9999999 has more than 1,000,000 values"),
        ("1,0.1..0.2", "0.1..0.2 in a list has no steps"),
    ],
)
def test_what_is_wrong_is_named(written: str, message: str) -> None:
    with pytest.raises(BadValuesError) as error:
        grammar.values(written)
    assert str(error.value) == message
    assert error.value.hint


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=5))
def test_quoted_values_survive(values: list[str]) -> None:
    written = ",".join("'" + value.replace("'", "''") + "'" for value in values)
    assert texts(written) == values


def space(**written: str) -> list[Parameter]:
    found = []
    for name, text in written.items():
        domain = grammar.values(text)
        assert domain is not None
        found.append(Parameter(name, domain))
    return found


def test_a_grid_has_a_fixed_order() -> None:
    grid = Grid(space(lr="0.1,0.01", depth="2..3"))
    points = [{name: value.value for name, value in grid[index]} for index in range(grid.size)]
    assert points == [
        {"lr": 0.1, "depth": 2},
        {"lr": 0.1, "depth": 3},
        {"lr": 0.01, "depth": 2},
        {"lr": 0.01, "depth": 3},
    ]
    powers = Grid(space(lr="1e-3..1:log"))
    assert [powers[index][0][1].value for index in range(powers.size)] == [0.001, 0.01, 0.1, 1.0]


def test_a_grid_needs_steps_and_an_end() -> None:
    with pytest.raises(BadValuesError, match="lr has no steps"):
        Grid(space(lr="0.1..0.2"))
    with pytest.raises(BadValuesError, match="10,000,000,000 points"):
        Grid(space(a="1..100000", b="1..100000"))


@pytest.mark.parametrize("count", [1, 7, 30, 100])
def test_random_points_of_a_space_with_steps_differ(count: int) -> None:
    points = Random(space(a="1..6", b="x,y,z,u,v"), count, seed=3)
    assert points.size == min(count, 30)
    found = [points[index] for index in range(points.size)]
    assert len(set(found)) == points.size
    # More points are the same ones and others.
    assert found == [
        Random(space(a="1..6", b="x,y,z,u,v"), 30, seed=3)[index] for index in range(points.size)
    ]


def test_random_points_depend_on_the_seed_alone() -> None:
    first = Random(space(lr="1e-4..1:log", n="1..9", x="-1.0..1.0"), 1000, seed=1)
    assert [first[index] for index in (0, 1, 999)] == [first[index] for index in (0, 1, 999)]
    # These must never change: a sweep of an older version continues with the same points.
    assert [round(float(first[index][0][1].value), 6) for index in range(3)] == GOLDEN
    rates = sorted(float(first[index][0][1].value) for index in range(1000))
    assert 1e-4 <= rates[0] < 2e-4
    assert rates[-1] <= 1
    assert 0.005 < rates[500] < 0.02, "a logarithmic range is drawn logarithmically"
    assert {first[index][1][1].value for index in range(200)} == set(range(1, 10))
    assert len({first[index] for index in range(1000)}) == 1000
    other = Random(space(lr="1e-4..1:log", n="1..9", x="-1.0..1.0"), 1000, seed=2)
    assert other[0] != first[0]


GOLDEN = [0.074878, 0.029544, 0.002286]


def test_domains_are_written_and_read() -> None:
    for written in ("0.1,a,true", "2..6", "0..1:0.25", "1e-4..1:log", "1..64:x2", "0.5..2.5"):
        domain = grammar.values(written)
        assert domain is not None
        assert domains.from_json(domains.to_json(domain)) == domain
    assert isinstance(grammar.values("1..2"), Range)
    assert Choices((Value("a", "a"),)).size == 1
    for wrong in ({}, {"low": "x", "high": "1"}, {"choices": [1]}, {"low": "NaN", "high": "NaN"}, 3):
        with pytest.raises(ValueError, match=r"is not"):
            domains.from_json(wrong)
