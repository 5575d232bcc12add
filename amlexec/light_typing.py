"""What the modules of every command need of `typing`, without importing it.

That import costs a command 2 ms, and its named tuples 3 ms more: they compile the annotation of every field.
Type checkers see typing's own. What only annotations need, such as `Any` and `IO`, is imported from `typing`
under `if TYPE_CHECKING`.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "NamedTuple", "Protocol"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    from collections import namedtuple

    _OF_CLASSES = frozenset({"__module__", "__annotations__"})

    class _NamedTupleMeta(type):
        """Makes a named tuple of a class, as typing's does; its annotations stay texts."""

        def __new__(cls, name, _bases, namespace):
            fields = namespace["__annotations__"]
            defaults = [namespace[field] for field in fields if field in namespace]
            if any(field in namespace for field in list(fields)[: len(fields) - len(defaults)]):
                raise TypeError(f"{name}: a field without a default follows one with a default")
            made = namedtuple(  # noqa: PYI024 - this is the other one
                name, fields, defaults=defaults, module=namespace["__module__"]
            )
            made.__annotations__ = fields
            for key, value in namespace.items():
                if key not in fields and key not in _OF_CLASSES:
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})

    class Protocol:
        """The base of a class that only type checkers look at."""
