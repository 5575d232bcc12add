"""What the modules of every command need of `typing`, without importing it.

That import costs a command 2 ms, and its named tuples 3 ms more: they compile the annotation of every field.
Those of `collections` compile a constructor for each class, 3 ms for the fifty classes of a submission, which
uses half of them. Here all classes have the same methods.

Type checkers see typing's own. What only annotations need, such as `Any` and `IO`, is imported from `typing`
under `if TYPE_CHECKING`.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "NamedTuple", "Protocol"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    try:
        from _collections import _tuplegetter as _getter  # as `collections` does it
    except ImportError:
        from operator import itemgetter

        def _getter(index, doc):
            return property(itemgetter(index), doc=doc)

    _new_tuple = tuple.__new__

    def _new(cls, /, *values, **named):
        """A new one; fields by their order or their names."""
        if named or len(values) != len(cls._fields):
            values = _completed(cls, values, named)
        return _new_tuple(cls, values)

    def _completed(cls, values, named):
        """All fields of a new one, in their order."""
        fields, defaults = cls._fields, cls._field_defaults
        if len(values) > len(fields):
            raise TypeError(f"{cls.__name__} has {len(fields)} fields; {len(values)} are given")
        found = list(values)
        for field in fields[len(values) :]:
            if field in named:
                found.append(named.pop(field))
            elif field in defaults:
                found.append(defaults[field])
            else:
                raise TypeError(f"{cls.__name__}: the field {field!r} is missing")
        if named:
            raise TypeError(f"{cls.__name__}: unexpected or repeated fields: {', '.join(named)}")
        return found

    def _make(cls, iterable):
        """A new one with these fields."""
        made = _new_tuple(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields; {len(made)} are given")
        return made

    def _replace(self, /, **named):
        """A copy with other values of the named fields."""
        made = self._make(map(named.pop, self._fields, self))
        if named:
            raise ValueError(f"{type(self).__name__} has no fields {', '.join(named)}")
        return made

    def _asdict(self):
        """The fields by their names."""
        return dict(zip(self._fields, self, strict=True))

    def _repr(self):
        fields = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({fields})"

    def _plain(self):
        """A plain tuple, for copies and pickles."""
        return tuple(self)

    _METHODS = {
        "__slots__": (),
        "__new__": _new,
        "__repr__": _repr,
        "__getnewargs__": _plain,
        "_make": classmethod(_make),
        "_replace": _replace,
        "__replace__": _replace,
        "_asdict": _asdict,
    }

    class _NamedTupleMeta(type):
        """Makes a named tuple of a class, as typing's does; its annotations stay texts."""

        def __new__(cls, name, _bases, namespace):
            fields = tuple(namespace["__annotations__"])
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            getters = {field: _getter(at, "") for at, field in enumerate(fields)}
            own = {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
            return type(name, (tuple,), {**_METHODS, **own, **getters, **namespace})

    NamedTuple = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})

    class Protocol:
        """The base of a class that only type checkers look at."""
