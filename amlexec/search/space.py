"""A search space: its parameters, and the points of a grid and of a random search over it.

A point is found by its number alone, so that 10,000 points need no memory, and a continued search goes on
where it stopped. Random points depend on the seed and the number only.
"""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from amlexec.search.domains import Domain, Range, Value
from amlexec.search.grammar import BadValuesError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Grid", "Listed", "Parameter", "Point", "Points", "Random", "share"]

_MOST_POINTS = 1_000_000


class Parameter(NamedTuple):
    """A parameter with its possible values."""

    name: str
    domain: Domain


Point = tuple[tuple[str, Value], ...]
"""The parameters of a point, in the order of the space."""


def share(seed: int, number: int, name: str) -> float:
    """A random number from 0 up to 1, exclusive: the same on every machine and Python."""
    digest = hashlib.sha256(f"{seed}\0{number}\0{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64) if digest[:7] != b"\xff" * 7 else 0.0


class Grid:
    """Every combination of the values. The last parameter changes fastest."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Raises BadValuesError if a range has no steps, or if there are too many points."""
        self._parameters = [_stepped(parameter) for parameter in parameters]
        self.size = math.prod(domain.size or 0 for _, domain in self._parameters)
        """The number of points."""
        _check_count(self.size)

    def __getitem__(self, index: int) -> Point:
        found = []
        for name, domain in reversed(self._parameters):
            index, at = divmod(index, domain.size or 1)
            found.append((name, domain.at(at)))
        return tuple(reversed(found))


def _stepped(parameter: Parameter) -> Parameter:
    """The parameter with the values of a grid: of a logarithmic range, the powers of ten."""
    domain = parameter.domain
    if domain.size is not None:
        return parameter
    assert isinstance(domain, Range)
    if domain.is_log:
        return Parameter(parameter.name, domain._replace(factor=Decimal(10)))
    written = f"{domain.low}..{domain.high}"
    raise BadValuesError(
        f"{parameter.name} has no steps: a grid can't have all numbers of {written}",
        f"write {written}:STEP, or search at random: --random N",
    )


def _check_count(count: int) -> None:
    if count > _MOST_POINTS:
        raise BadValuesError(
            f"the sweep has {count:,} points; at most {_MOST_POINTS:,} are possible",
            "list fewer values, or search at random: --random N",
        )


class Random:
    """Random points. If all parameters have steps, no point comes twice."""

    def __init__(self, parameters: Sequence[Parameter], count: int, seed: int) -> None:
        """Raises BadValuesError if `count` is too large. A space with fewer points is searched completely."""
        _check_count(count)
        self._parameters, self._seed = tuple(parameters), seed
        counts = [domain.size for _, domain in parameters]
        whole = math.prod(each or 0 for each in counts) if None not in counts else 0
        self.size = min(count, whole) if whole else count
        """The number of points."""
        self._order = _Shuffle(whole, seed) if whole else None

    def __getitem__(self, index: int) -> Point:
        if self._order is not None:
            at = self._order[index]
            found = []
            for name, domain in reversed(self._parameters):
                at, each = divmod(at, domain.size or 1)
                found.append((name, domain.at(each)))
            return tuple(reversed(found))
        return tuple((name, self._drawn(name, domain, index)) for name, domain in self._parameters)

    def _drawn(self, name: str, domain: Domain, index: int) -> Value:
        where = share(self._seed, index, name)
        if domain.size is None:
            assert isinstance(domain, Range)
            return domain.between(where)
        return domain.at(int(where * domain.size))


class _Shuffle:
    """The numbers below `count` in random order, each computed when it is first needed."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._drawn: list[int] = []
        self._moved: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        while len(self._drawn) <= index:
            first = len(self._drawn)
            other = first + int(share(self._seed, first, "") * (self._count - first))
            self._drawn.append(self._moved.pop(other, other))
            if other != first:
                self._moved[other] = self._moved.pop(first, first)
            else:
                self._moved.pop(first, None)
        return self._drawn[index]


class Listed:
    """Points that are listed one by one."""

    def __init__(self, points: Sequence[Point]) -> None:
        """Raises BadValuesError if there are too many."""
        _check_count(len(points))
        self._points = tuple(points)
        self.size = len(points)
        """The number of points."""

    def __getitem__(self, index: int) -> Point:
        return self._points[index]


Points = Grid | Random | Listed
"""Points by their index; the first is 0. `size` is their number."""
