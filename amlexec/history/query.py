"""The language of `--where` and `--sort`: text to a value that `query_sql` turns into SQL.

    accuracy > 0.9 and (params.lr < 0.1 or not exists(depth))
    status in (Failed, Canceled) and min(metrics."val loss") <= 0.2 and tags.stage like 'prod%'

A name is a field of a run (`status`, `duration`), or that of a metric, a parameter, a tag or an environment
variable. A bare name may be any of them; `metrics.NAME`, `params.NAME`, `tags.NAME`, `env.NAME` and
`run.FIELD` say which. Names with spaces or signs are put in quotes. What is missing, and NaN, compares as
false with everything; `not` of it is true.
"""

from __future__ import annotations

from typing import NamedTuple

from amlexec.history.query_tokens import QueryError, Token, tokens

__all__ = [
    "AGGREGATES",
    "PREFIXES",
    "And",
    "Comparison",
    "Exists",
    "Literal",
    "Member",
    "Not",
    "Or",
    "Query",
    "Reference",
    "SortKey",
    "parse",
    "parse_columns",
    "parse_sort",
]

PREFIXES = {
    "metrics": "metrics",
    "metric": "metrics",
    "params": "params",
    "param": "params",
    "tags": "tags",
    "tag": "tags",
    "env": "env",
    "run": "run",
}
"""What a name may begin with, followed by a dot."""
AGGREGATES = ("min", "max", "first", "last", "count")
COMPARISONS = frozenset({"=", "!=", "<", ">", "<=", ">="})
_WORDS = frozenset({"and", "or", "not", "in", "contains", "like", "exists"})
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_DEEPEST = 40
_MOST = 200
"""Comparisons and values of a query: SQLite limits both."""


class Reference(NamedTuple):
    """A name in a query."""

    kind: str
    """`metrics`, `params`, `tags`, `env`, `run`; "" for a bare name."""
    name: str
    column: int
    aggregate: str = "last"
    """Of the values of a metric: one of `AGGREGATES`."""

    def __str__(self) -> str:
        name = f"{self.kind}.{self.name}" if self.kind else self.name
        return name if self.aggregate == "last" else f"{self.aggregate}({name})"


class Literal(NamedTuple):
    """A value in a query."""

    value: float | str | bool
    text: str
    """As it is written, without quotes."""
    column: int
    unit: str = ""
    """`s`, `m`, `h`, `d` or `w` of a time; its value is in seconds."""


class Comparison(NamedTuple):
    """`left operator right`."""

    left: Reference
    operator: str
    """One of `COMPARISONS`, `contains`, or `like`."""
    right: Literal | Reference


class Member(NamedTuple):
    """`left in (…)`."""

    left: Reference
    values: tuple[Literal, ...]


class Exists(NamedTuple):
    """`exists(reference)`."""

    reference: Reference


class Not(NamedTuple):
    """`not condition`."""

    condition: Condition


class And(NamedTuple):
    """`condition and condition …`."""

    conditions: tuple[Condition, ...]


class Or(NamedTuple):
    """`condition or condition …`."""

    conditions: tuple[Condition, ...]


Condition = Comparison | Member | Exists | Not | And | Or


class Query(NamedTuple):
    """A condition that runs meet or don't."""

    text: str
    condition: Condition


class SortKey(NamedTuple):
    """What runs are sorted by."""

    text: str
    reference: Reference
    descending: bool


def parse(text: str) -> Query:
    """The query that a text is.

    Raises:
        UsageError: it is none. A caret shows where.
    """
    parser = _Parser(text)
    condition = parser.either(0)
    parser.expect_end("`and` or `or`")
    return Query(text, condition)


def parse_sort(text: str) -> SortKey:
    """A name or an aggregate to sort by, with a `-` before it for the largest first. Raises UsageError."""
    parser = _Parser(text.removeprefix("-"))
    reference = parser.reference()
    parser.expect_end("")
    return SortKey(text, reference, text.startswith("-"))


def parse_columns(text: str) -> list[tuple[str, Reference]]:
    """Names and aggregates, separated by commas, each with how it is written. Raises UsageError."""
    parser = _Parser(text)
    found = [parser.written_reference()]
    while parser.takes("sign", ","):
        found.append(parser.written_reference())
    parser.expect_end("a comma")
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._values = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _error(self, token: Token, message: str, advice: str = "") -> QueryError:
        return QueryError(self._text, token.column, message, advice)

    def _is(self, kind: str, text: str) -> bool:
        token = self._next
        return token.kind == kind and (token.text.lower() if kind == "word" else token.text) == text

    def takes(self, kind: str, text: str) -> bool:
        """Whether the next token is this one, which is then passed."""
        found = self._is(kind, text)
        self._at += found
        return found

    def _must_take(self, text: str, after: str) -> None:
        if not self.takes("sign", text):
            raise self._error(self._next, f"expected {text!r} after {after}, not {self._next.shown()}")

    def expect_end(self, also: str) -> None:
        """Raise QueryError unless nothing follows."""
        if self._next.kind != "end":
            expected = f"expected {also} or the end" if also else "expected the end"
            raise self._error(self._next, f"{expected}, not {self._next.shown()}", self._quoting())

    def _quoting(self) -> str:
        before = self._tokens[self._at - 1] if self._at else None
        two = before is not None and before.kind == self._next.kind == "word"
        return "a name or text with spaces is put in quotes" if two else ""

    def either(self, depth: int) -> Condition:
        """Conditions with `or` between them."""
        found = [self._all(depth)]
        while self.takes("word", "or"):
            found.append(self._all(depth))
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _all(self, depth: int) -> Condition:
        found = [self._inverted(depth)]
        while self.takes("word", "and"):
            found.append(self._inverted(depth))
        return found[0] if len(found) == 1 else And(tuple(found))

    def _inverted(self, depth: int) -> Condition:
        if depth > _DEEPEST:
            raise self._error(self._next, f"more than {_DEEPEST} parentheses or `not` in each other")
        if self.takes("word", "not"):
            return Not(self._inverted(depth + 1))
        if self.takes("sign", "("):
            inner = self.either(depth + 1)
            self._must_take(")", "a condition")
            return inner
        if self._is("word", "exists") and self._tokens[self._at + 1].text == "(":
            self._at += 2
            reference = self.reference()
            self._must_take(")", "the name")
            return Exists(reference)
        return self._comparison()

    def _comparison(self) -> Condition:
        self._count(self._next)
        first = self._next
        if first.kind == "number" or (first.kind == "word" and first.text.lower() in {"true", "false"}):
            left = self._literal()
            operator = self._operator()
            return Comparison(self.reference(), _MIRRORED.get(operator, operator), left)
        reference = self.reference()
        inverted = self.takes("word", "not")
        if self.takes("word", "in"):
            condition: Condition = Member(reference, self._values_in_parentheses())
        elif self.takes("word", "contains"):
            condition = Comparison(reference, "contains", self._literal())
        elif self.takes("word", "like"):
            condition = Comparison(reference, "like", self._literal())
        elif inverted:
            raise self._error(self._next, "expected `in`, `contains` or `like` after `not`")
        else:
            operator = self._operator()
            condition = Comparison(reference, operator, self._right(operator))
        return Not(condition) if inverted else condition

    def _operator(self) -> str:
        token = self._next
        if token.kind != "sign" or token.text not in COMPARISONS:
            advice = self._quoting() or "such as > 0.9, = Failed, in (1, 2), contains 'x'; or exists(NAME)"
            raise self._error(token, f"expected a comparison, not {token.shown()}", advice)
        self._at += 1
        return token.text

    def _right(self, operator: str) -> Literal | Reference:
        token, following = self._next, self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind == "word":
            prefix, dot, _ = token.text.partition(".")
            if token.text.lower() in AGGREGATES and following.text == "(":
                return self.reference()
            if dot and prefix in PREFIXES:
                return self.reference()
            is_text = operator in {"=", "!="} or token.text[0].isdigit()
            if not is_text and token.text.lower() not in {"true", "false"}:
                advice = f"is it metrics.{token.text}, or text in quotes?"
                raise self._error(token, f"{token.text!r} is neither a number nor a full name", advice)
        return self._literal()

    def _values_in_parentheses(self) -> tuple[Literal, ...]:
        self._must_take("(", "`in`")
        found = [self._literal()]
        while self.takes("sign", ","):
            self._count(self._next)
            found.append(self._literal())
        self._must_take(")", "the values")
        return tuple(found)

    def _count(self, token: Token) -> None:
        self._values += 1
        if self._values > _MOST:
            raise self._error(token, f"more than {_MOST} values")

    def _literal(self) -> Literal:
        token = self._next
        if token.kind in {"end", "sign"} or (token.kind == "word" and token.text.lower() in _WORDS):
            advice = "a number, text in quotes, true or false"
            raise self._error(token, f"expected a value, not {token.shown()}", advice)
        self._at += 1
        if token.kind == "number":
            return Literal(token.number, token.text, token.column, token.unit)
        if token.kind == "word" and token.text.lower() in {"true", "false"}:
            return Literal(token.text.lower() == "true", token.text.lower(), token.column)
        return Literal(token.text, token.text, token.column)

    def written_reference(self) -> tuple[str, Reference]:
        """A name, or an aggregate of one, with how it is written, but without quotes."""
        start, is_quoted = self._next.column, self._next.kind == "quoted"
        reference = self.reference()
        if is_quoted:
            return reference.name, reference
        return self._text[start : self._next.column].rstrip(), reference

    def reference(self) -> Reference:
        """A name, or an aggregate of one."""
        token = self._next
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind == "word" and token.text.lower() in AGGREGATES and following.text == "(":
            self._at += 2
            inner = self.reference()
            if inner.aggregate != "last" or inner.kind not in {"", "metrics"}:
                raise self._error(token, f"{token.text}() takes a metric, not {str(inner)!r}")
            self._must_take(")", "the metric")
            return Reference("metrics", inner.name, inner.column, token.text.lower())
        if token.kind not in {"word", "quoted"} or (token.kind == "word" and token.text.lower() in _WORDS):
            advice = "such as accuracy, metrics.accuracy, params.lr, tags.best or status"
            raise self._error(token, f"expected a name, not {token.shown()}", advice)
        self._at += 1
        if token.kind == "quoted":
            return Reference("", token.text, token.column)
        prefix, dot, name = token.text.partition(".")
        if not dot or prefix not in PREFIXES:
            return Reference("", token.text, token.column)
        if not name:
            quoted = self._next
            if quoted.kind != "quoted" or quoted.column != token.column + len(token.text):
                raise self._error(quoted, f"expected a name after {token.text!r}")
            self._at += 1
            name = quoted.text
        return Reference(PREFIXES[prefix], name, token.column)
