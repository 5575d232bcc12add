"""The language of `--where` and `--sort`: what it accepts, and where errors point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.errors import UsageError
from amlexec.history import moments, params, query
from amlexec.history.query import And, Comparison, Exists, Literal, Member, Not, Or, Reference


def test_a_query_is_a_tree_with_and_before_or() -> None:
    found = query.parse("accuracy > 0.9 and (lr < .1 or not exists(params.depth)) or a in (1, 'x')").condition
    assert found == Or(
        (
            And(
                (
                    Comparison(Reference("", "accuracy", 0), ">", Literal(0.9, "0.9", 11)),
                    Or(
                        (
                            Comparison(Reference("", "lr", 20), "<", Literal(0.1, ".1", 25)),
                            Not(Exists(Reference("params", "depth", 42))),
                        )
                    ),
                )
            ),
            Member(Reference("", "a", 60), (Literal(1.0, "1", 66), Literal("x", "x", 69))),
        )
    )


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("val/loss < 1", Reference("", "val/loss", 0)),
        ("metrics.top-1.acc < 1", Reference("metrics", "top-1.acc", 0)),
        ('"a name" < 1', Reference("", "a name", 0)),
        ('metrics."it""s" < 1', Reference("metrics", 'it"s', 0)),
        ("tags.`and` = x", Reference("tags", "and", 0)),
        ("損失 < 1", Reference("", "損失", 0)),
        ("min(loss) < 1", Reference("metrics", "loss", 4, "min")),
        ("COUNT(metrics.loss) < 1", Reference("metrics", "loss", 6, "count")),
        ("min < 1", Reference("", "min", 0)),
        ("1 > loss", Reference("", "loss", 4)),
        ("metric.loss<1", Reference("metrics", "loss", 0)),
    ],
)
def test_names(text: str, reference: Reference) -> None:
    found = query.parse(text).condition
    assert isinstance(found, Comparison)
    assert found.left == reference


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = -1e-3", -0.001),
        ("a = true", True),
        ("a = 'true'", "true"),
        ("a = Completed", "Completed"),
        ("a = 'it''s'", "it's"),
        ("a < 5m", 300.0),
        ("a > 2026-01-31T12:00", "2026-01-31T12:00"),
        ("a = '1e3'", "1e3"),
    ],
)
def test_values_have_the_type_that_is_written(text: str, value: object) -> None:
    found = query.parse(text).condition
    assert isinstance(found, Comparison) and isinstance(found.right, Literal)
    assert (found.right.value, type(found.right.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "says", "column"),
    [
        ("", "expected a name, not the end", 1),
        ("accuracy", "expected a comparison, not the end", 9),
        ("a >", "expected a value, not the end", 4),
        ("a > b", "'b' is neither a number nor a full name", 5),
        ("(a = 1", "expected ')' after a condition", 7),
        ("a = 1)", "expected `and` or `or` or the end", 6),
        ("a = 1 b = 2", "not 'b'", 7),
        ("a = 'x", "the quote ' is not closed", 5),
        ("a ! 1", "'!' is not part of the language", 3),
        ("a & b", "'&' is not part", 3),
        ("a not = 1", "expected `in`, `contains` or `like`", 7),
        ("a in 1", "expected '(' after `in`", 6),
        ("min(max(a)) > 1", "min() takes a metric", 1),
        ("metrics. > 1", "expected a name after 'metrics.'", 10),
        ("and = 1", "expected a name, not 'and'", 1),
        ("損失 損 = 1", "expected a comparison", 4),
        ("not " * 50 + "a = 1", "more than 40 parentheses", 165),
        ("(" * 50, "more than 40 parentheses", 42),
        (f"a in ({','.join('1' * 300)})", "more than 200 values", 407),
    ],
)
def test_an_error_points_at_its_place(text: str, says: str, column: int) -> None:
    with pytest.raises(UsageError) as caught:
        query.parse(text)
    first, second, *rest = "\n".join(caught.value.lines()).split("\n")
    assert says in first and first.endswith(f"at column {column}"), first
    assert len(rest) == 1 and rest[0].lstrip().startswith("^")
    assert len(second) < 80
    if column - 1 < len(text) and text.isascii():
        assert second[rest[0].index("^")] == text[column - 1]


def test_a_query_has_a_greatest_length() -> None:
    with pytest.raises(UsageError, match="has 5000 characters"):
        query.parse("a" * 5000)


@given(st.text(max_size=60) | st.text(alphabet="ab.1-'\"`()<>=!&|, notinexists", max_size=60))
def test_any_text_is_a_query_or_one_error(text: str) -> None:
    for parse in (query.parse, query.parse_sort, query.parse_columns):
        try:
            parse(text)
        except UsageError as error:
            assert error.hint


def test_a_sort_key_begins_with_a_sign_or_not() -> None:
    assert query.parse_sort("-metrics.loss").descending
    assert not query.parse_sort("min(loss)").descending
    with pytest.raises(UsageError, match="expected the end"):
        query.parse_sort("a, b")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["data.csv", "--lr", "0.1", "--depth=3", "--fp16"], {"lr": "0.1", "depth": "3", "fp16": "true"}),
        (["-s", "-7", "--x", "--y", "a b"], {"s": "-7", "x": "true", "y": "a b"}),
        (["opt.lr=0.1", "http://x?a=b", "--a=b=c"], {"opt.lr": "0.1", "a": "b=c"}),
        (["--lr", "1", "--lr", "2"], {"lr": "2"}),
        (["--", "--lr", "1"], {}),
        (["--", "-"], {}),
        (["-", "--=", "--" + "x" * 300], {}),
    ],
)
def test_the_parameters_of_a_script(arguments: list[str], found: dict[str, str]) -> None:
    assert params.parameters(arguments) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", 1), ("1e3", 1000.0), ("-.5", -0.5), ("true", True), ("False", False), ("on", "on")),
        *(("no", "no"), ("2024-01-01", "2024-01-01"), ("nan", "nan"), ("1_000", "1_000")),
        ("9" * 500, "9" * 500),
    ],
)
def test_parameters_are_typed(text: str, value: object) -> None:
    found = params.typed(text)
    assert (found, type(found)) == (value, type(value))


def test_times_are_ago_or_in_iso_8601() -> None:
    assert moments.parse("2d", 1_000_000) == 1_000_000 - 172_800
    assert moments.parse("1.5h ago", 1_000_000) == 1_000_000 - 5400
    assert moments.parse("2018-03-15T01:26:30.506Z", 0) == 1521077190.506
    assert moments.parse("2018-03-15T02:26:30.506+01:00", 0) == 1521077190.506
    assert abs(moments.parse("2018-03-15", 0) - 1521072000) <= 14 * 3600
    for wrong in ("", "2", "d", "yesterday", "2018-13-01", "9" * 30 + "d", "-2d"):
        with pytest.raises(UsageError, match="is not a time"):
            moments.parse(wrong, 0)
