"""The search space of a sweep job of Azure Machine Learning (CLI v2)."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from amlexec.config.document import Mapping, Node, Scalar, Sequence
from amlexec.config.generations import find
from amlexec.errors import ConfigurationError
from amlexec.search.domains import Range, typed
from amlexec.search.section import domain_of_list
from amlexec.search.space import Parameter
from amlexec.values import Place

if TYPE_CHECKING:
    from amlexec.search.domains import Domain

__all__ = ["AzureFile", "parameters_of"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_RANGES = ("uniform", "quniform", "loguniform", "qloguniform")
_LARGEST_LOGARITHM = 700.0
_MOST_STEPS = 1000


class AzureFile:
    """A file, with its values by dotted key, and errors with their places."""

    def __init__(self, path: str, root: Mapping) -> None:
        self.path, self.root = path, root
        self.notes: list[str] = []
        """What is done otherwise than in the cloud, a line each."""

    def note(self, text: str) -> None:
        """Add a note."""
        self.notes.append(f"{self.path}: note: {text}")

    def text(self, key: str, node: Node | None = None) -> str:
        """The text of a key; "" for a missing one."""
        within = self.root if node is None else node
        found = find(within, key) if isinstance(within, Mapping) else None
        return found.text.strip() if isinstance(found, Scalar) and not found.is_null else ""

    def number(self, key: str, node: Node) -> Decimal:
        """The number of a key. Raises ConfigurationError."""
        text = self.text(key, node)
        value = typed(text).value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            at = (find(node, key) if isinstance(node, Mapping) else None) or node
            self.fail(at, f"{key} is {text or 'missing'}; expected a number")
        return Decimal(text)

    def whole(self, key: str) -> int:
        """The whole number of a key; 0 for a missing one. Raises ConfigurationError."""
        text = self.text(key)
        if text and not re.fullmatch(r"[0-9]{1,9}", text):
            self.fail(find(self.root, key) or self.root, f"{key} is {text}; expected a whole number")
        return int(text or 0)

    def fail(self, node: Node, message: str, hint: str = "") -> NoReturn:
        """Raise an error with the place of `node`."""
        raise ConfigurationError(message, hint=hint, where=str(Place(self.path, node.line, node.column)))


def parameters_of(file: AzureFile) -> tuple[Parameter, ...]:
    """The parameters of `search_space`. Raises ConfigurationError for what can't be searched here."""
    space = find(file.root, "search_space")
    if not isinstance(space, Mapping) or not space.entries:
        file.fail(space or file.root, "search_space has no parameters", "lr: {type: choice, values: [0.1]}")
    for name, entry in space.entries.items():
        if not _NAME.fullmatch(name):
            file.fail(
                entry.value, f"{name!r} can't be the name of a parameter", "use letters, digits and '_'"
            )
    return tuple(Parameter(name, _domain(file, name, entry.value)) for name, entry in space.entries.items())


def _domain(file: AzureFile, name: str, node: Node) -> Domain:
    kind = file.text("type", node).casefold()
    if kind == "choice":
        values = find(node, "values") if isinstance(node, Mapping) else None
        items = values.items if isinstance(values, Sequence) else []
        scalars = [item for item in items if isinstance(item, Scalar)]
        if not scalars or len(scalars) != len(items):
            file.fail(node, f"{name}: values is not a list of numbers and texts", "values: [0.1, 0.01]")
        return domain_of_list([("null" if item.is_null else item.text, item.is_plain) for item in scalars])
    if kind == "randint":
        upper = file.number("upper", node)
        if upper < 1:
            file.fail(node, f"{name}: upper is {upper}", "write 1 or more")
        return Range(Decimal(0), Decimal(int(upper) - 1), step=Decimal(1), is_whole=True)
    if kind not in _RANGES:
        known = f"write choice, randint, {', '.join(_RANGES[:-1])} or {_RANGES[-1]}"
        file.fail(node, f"{name}: the type {kind or '(missing)'} can't be searched here", known)
    return _range(file, name, kind, node)


def _range(file: AzureFile, name: str, kind: str, node: Node) -> Range:
    low, high = file.number("min_value", node), file.number("max_value", node)
    if low > high:
        file.fail(node, f"{name}: min_value is above max_value")
    if "log" in kind:  # the numbers are logarithms
        low, high = (Decimal(repr(math.exp(min(float(each), _LARGEST_LOGARITHM)))) for each in (low, high))
    if not kind.startswith("q"):
        return Range(low, high, is_log=kind == "loguniform")
    step = file.number("q", node)
    if step <= 0:
        file.fail(node, f"{name}: q is {step}", "write a step above 0")
    low, high = ((each / step).to_integral_value() * step for each in (low, high))
    if kind == "qloguniform":
        if (high - low) / step > _MOST_STEPS:
            file.fail(node, f"{name}: qloguniform with more than {_MOST_STEPS} values", "write loguniform")
        file.note(f"{name}: the values of qloguniform are drawn equally often")
    return Range(low, high, step=step, is_whole=step == step.to_integral_value())
