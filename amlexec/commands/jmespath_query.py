"""JMESPath for values that scripts have logged: of any type, missing, or not a number.

The JMESPath library compares texts with numbers, and raises Python's own error. Here a comparison of values
of different types is null, which filters take as false; `max_by`, `min_by`, `max` and `min` pass over what
can't be compared, and `sort_by` and `sort` put it last. Imports the library: to be imported only for a query.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jmespath
from jmespath import exceptions, functions, visitor
from jmespath.exceptions import JMESPathError, JMESPathTypeError

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["search"]


def search(expression: str, value: object) -> object:
    """The result of an expression for a JSON value.

    Raises:
        UsageError: the expression is invalid, or can't be applied to this value.
    """
    try:
        parsed = jmespath.compile(expression).parsed
        options = visitor.Options(custom_functions=_Functions())
        found: object = _Interpreter(options).visit(parsed, value)
    except JMESPathError as error:
        at = getattr(error, "lex_position", getattr(error, "lexer_position", None))
        place = "" if at is None else f"the mistake is at character {at + 1}; "
        raise UsageError(
            f"--query {_short(expression)!r}: {_words(error)}", hint=f"{place}see https://jmespath.org"
        ) from None
    except RecursionError:
        raise UsageError("--query is nested too deeply", hint="see https://jmespath.org") from None
    except (ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"--query {_short(expression)!r} can't be applied to this value: {error}",
            hint="see https://jmespath.org",
        ) from None
    if isinstance(found, visitor._Expression):  # noqa: SLF001 - it has no public name
        raise UsageError("--query is only a reference: & belongs to an argument of a function")
    return found


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _words(error: Exception) -> str:
    if isinstance(error, JMESPathTypeError):  # its own message contains the whole value
        takes = " or ".join(error.expected_types)
        return f"{error.function_name}() takes {takes}, but got {error.actual_type}"
    # The rest draws a caret under the expression.
    return str(error).partition("\n")[0].rstrip(" :.")


class _Interpreter(visitor.TreeInterpreter):  # type: ignore[misc]
    """Evaluates an expression."""

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """A comparison; null for values of different types."""
        try:
            return super().visit_comparator(node, value)
        except TypeError:
            return None


class _Functions(functions.Functions):  # type: ignore[misc]
    """The functions of JMESPath, of which some order values."""

    def call_function(self, name: str, arguments: list[Any]) -> Any:
        """The result of a function. Raises JMESPathError."""
        base, by, _ = name.partition("_by")
        is_expression = len(arguments) == 2 and isinstance(arguments[1], visitor._Expression)  # noqa: SLF001
        if base not in {"max", "min", "sort"} or not (is_expression if by else len(arguments) == 1):
            return super().call_function(name, arguments)
        array = arguments[0]
        if not isinstance(array, list):
            return super().call_function(name, arguments)
        keys = [arguments[1].visit(arguments[1].expression, each) for each in array] if by else array
        comparable = _comparable(name, keys)
        places = [at for at, key in enumerate(comparable) if key is not None]
        if base == "sort":
            rest = [each for each, key in zip(array, comparable, strict=True) if key is None]
            return [array[at] for at in sorted(places, key=comparable.__getitem__)] + rest
        choose = max if base == "max" else min
        return array[choose(places, key=comparable.__getitem__)] if places else None


def _comparable(name: str, keys: Sequence[Any]) -> list[Any]:
    """The keys, with null for those that can't be compared. If there are numbers, texts can't.

    Raises:
        JMESPathTypeError: there are keys, but none is a number or a text.
    """
    numbers = [key if _is_number(key) else None for key in keys]
    texts = [key if isinstance(key, str) else None for key in keys]
    found = numbers if any(key is not None for key in numbers) else texts
    wrong = next((key for key in keys if key is not None and not isinstance(key, float)), None)
    if wrong is not None and all(key is None for key in found):
        kind = functions.TYPES_MAP.get(type(wrong).__name__, "unknown")
        raise exceptions.JMESPathTypeError(name, wrong, kind, ["number", "string"])
    return found


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return not math.isnan(value)
    return isinstance(value, int) and not isinstance(value, bool)
