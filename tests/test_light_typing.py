"""Named tuples that are made without `typing` are as those of `typing`."""

from __future__ import annotations

import pickle
import typing

import pytest

from amlexec import light_typing


class Light(light_typing.NamedTuple):
    """Its text."""

    one: int
    other: str = "x"

    @property
    def both(self) -> str:
        """A property."""
        return f"{self.one}{self.other}"

    @classmethod
    def of(cls, one: int) -> Light:
        """A class method."""
        return cls(one)

    def __str__(self) -> str:
        return "text"


class Heavy(typing.NamedTuple):
    """Its text."""

    one: int
    other: str = "x"


def test_it_is_a_named_tuple() -> None:
    light, heavy = Light(1, other="y"), Heavy(1, other="y")
    assert light == (1, "y") == heavy
    assert repr(light) == repr(heavy).replace("Heavy", "Light")
    assert (Light._fields, Light._field_defaults) == (Heavy._fields, Heavy._field_defaults)
    assert (Light.__doc__, Light.__module__, Light.__mro__[1:]) == ("Its text.", __name__, Heavy.__mro__[1:])
    assert light._replace(one=2)._asdict() == heavy._replace(one=2)._asdict()
    assert typing.get_type_hints(Light) == typing.get_type_hints(Heavy)
    assert pickle.loads(pickle.dumps(light)) == light
    assert type(pickle.loads(pickle.dumps(light))) is Light


def test_its_class_is_cheap_to_make() -> None:
    """A constructor of its own would be compiled for each class, whether it is used or not."""

    class Other(light_typing.NamedTuple):
        one: int

    assert vars(Light)["__new__"].__func__ is vars(Other)["__new__"].__func__


def test_it_is_made_from_its_fields_in_any_way() -> None:
    made = [Light(1), Light(one=1), Light(1, "x"), Light(1, other="x"), Light(other="x", one=1)]
    assert [*made, Light._make([1, "x"])] == [(1, "x")] * 6
    assert {type(each) for each in made} == {Light}


def test_its_own_members_stay() -> None:
    assert (Light(1).both, str(Light(1)), Light.of(3)) == ("1x", "text", Light(3))


def test_wrong_arguments_are_errors() -> None:
    for wrong in ({}, {"other": "x"}, {"one": 1, "more": 2}):
        with pytest.raises(TypeError):
            Light(**wrong)
    with pytest.raises(TypeError):
        Light(1, "x", 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Light(1, one=1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Light._make([1])
    with pytest.raises(ValueError, match="more"):
        Light(1)._replace(more=2)  # type: ignore[call-arg]


def test_a_field_without_a_default_comes_first() -> None:
    with pytest.raises(TypeError, match="Wrong: a field without a default follows one with a default"):

        class Wrong(light_typing.NamedTuple):
            one: int = 1
            other: int  # type: ignore[misc]
