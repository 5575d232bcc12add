"""Explain why an environment has to be rebuilt: the difference of two canonical values, in a sentence."""

from __future__ import annotations

import json
import re

from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.conda_spec import name_of, shown_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from amlexec.values import Place

    At = Callable[[str, str, str], str]
    """Puts the place of a part of the new value before a sentence."""

__all__ = ["Key", "explain", "explain_all"]

Key = tuple[str, str]
"""Identifies a part of the canonical value: its list (`specs`, `pip`, ...) and its text."""

_FOLDER = "the folder of Maven packages"
_UNKNOWN = "it was made by another version of amlexec, so the change is unknown"


def explain(old: bytes | str, new: bytes | str, places: Iterable[tuple[Key, Place]] = ()) -> str:
    """What changed from `old` to `new`, such as `conda_dependencies.yml:9: numpy 1.26 -> 2.0`.

    Both are canonical values, of environments or of the basis of a lock file; `places` are the places of the
    parts of `new`. "" if nothing changed.
    """
    changes = explain_all(old, new, places)
    if not changes:
        return ""
    return changes[0] + (f" … and {len(changes) - 1} more" if len(changes) > 1 else "")


def explain_all(old: bytes | str, new: bytes | str, places: Iterable[tuple[Key, Place]] = ()) -> list[str]:
    """All changes from `old` to `new`, one sentence each, the most important first; see `explain`."""
    try:
        before, after = json.loads(old), json.loads(new)
        if before == after:
            return []
        return list(_changes(before, after, _placed(dict(places)))) or [_UNKNOWN]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return [_UNKNOWN]


def _placed(places: Mapping[Key, Place]) -> At:
    def at(sentence: str, part: str, text: str) -> str:
        if part == "path":
            return (
                f"{places['path', text].path} {sentence}"
                if ("path", text) in places
                else f"a file {sentence}"
            )
        place = places.get((part, text))
        if place is None or not place.path:
            # Without Spark packages there is no file to name.
            place = places.get(("spark", "")) if part == "spark" else places.get(("", ""))
        if place is None or not place.path:
            return sentence
        return f"{place.path}:{place.line}: {sentence}" if place.line else f"{place.path}: {sentence}"

    return at


def _changes(before: dict[str, Any], after: dict[str, Any], at: At) -> Iterator[str]:
    """The sentences, the most important first."""
    for key, what in (("base_image", "base image"), ("platform", "platform")):
        if before.get(key) != after.get(key):
            yield at(f"{what} {_words(before.get(key))} -> {_words(after.get(key))}", key, "")
    if before["recipe"] != after["recipe"]:
        yield f"the build recipe of environments changed: {before['recipe']} -> {after['recipe']}"
    if "locked" in after and "locked" not in before:
        yield at("there is a lock file now; its packages are installed", "locked", "")
    elif "locked" in before and "locked" not in after:
        yield at("the lock file was removed; the newest fitting packages are installed", "", "")
    else:
        if "locked" in after:
            yield from _packages(before["locked"], after["locked"], at)
        else:
            yield from _channels(before["channels"], after["channels"], at)
            yield from _specs(before["specs"], after["specs"], at)
        yield from _pip(before["pip"], after["pip"], at)
    yield from _spark(before.get("spark", []), after.get("spark", []), at)


def _words(value: Any) -> str:
    return " ".join(str(part) for part in value if part) if isinstance(value, list) else str(value or "none")


def _channels(before: list[str], after: list[str], at: At) -> Iterator[str]:
    for channel in after:
        if channel not in before:
            yield at(f"channel {channel} added", "channels", channel)
    for channel in before:
        if channel not in after:
            yield at(f"channel {channel} removed", "", "")
    if before != after and sorted(before) == sorted(after):
        moved = next(new for old, new in zip(before, after, strict=True) if old != new)
        yield at(f"the order of the channels changed to {', '.join(after)}", "channels", moved)


def _specs(before: list[str], after: list[str], at: At) -> Iterator[str]:
    removed = [spec for spec in before if spec not in after]
    for spec in (spec for spec in after if spec not in before):
        was = next((old for old in removed if name_of(old) == name_of(spec)), None)
        if was is None:
            sentence = f"{_spelled(spec)} added"
        else:
            removed.remove(was)
            name = spec.partition(" ")[0]
            same = was.partition(" ")[0] == name
            sentence = f"{name} {' -> '.join(shown_version(was, spec))}" if same else f"{was} -> {spec}"
        yield at(sentence, "specs", spec)
    for spec in removed:
        yield at(f"{_spelled(spec)} removed", "", "")


def _spelled(spec: str) -> str:
    """A canonical spec as a user would write it: `numpy 1.26.*` is `numpy=1.26`."""
    plain = re.fullmatch(r"(\S+) ([^ *<>!~=|,]+)\.\*", spec)
    if plain is not None:
        return f"{plain[1]}={plain[2]}"
    return spec.replace(" ", "", 1) if re.fullmatch(r"\S+ [<>=!~][^ ]*", spec) else spec


def _pip(before: list[list[str]], after: list[list[str]], at: At) -> Iterator[str]:
    removed = [line for line in before if line not in after]
    for line in (line for line in after if line not in before):
        kind, text, content = line
        was = next((old for old in removed if _is_same_package(old, line)), None)
        if was is not None:
            removed.remove(was)
        if was is not None and was[1] == text:
            yield at("changed", "path", content)
            continue
        if was is None:
            sentence = f"{_line(kind, text)} added"
        else:
            name = _name(text)
            versions = [spec[len(name) :].strip().removeprefix("==") or "any" for spec in (was[1], text)]
            sentence = f"{name} {versions[0]} -> {versions[1]}"
        yield at(sentence, "pip", " ".join(line))
    for kind, text, _ in removed:
        yield at(f"{_line(kind, text)} removed", "", "")
    if before != after and sorted(before) == sorted(after):
        moved = next(new for old, new in zip(before, after, strict=True) if old != new)
        yield at("the order of the pip section changed", "pip", " ".join(moved))


def _is_same_package(one: list[str], other: list[str]) -> bool:
    if one[0] != other[0]:
        return False
    return one[1] == other[1] if other[2] else bool(_name(one[1])) and _name(one[1]) == _name(other[1])


def _name(text: str) -> str:
    """The name of the package or option that a line of the pip section begins with; "" for an address."""
    match = re.match(r"(--[a-z-]+|[a-z0-9][a-z0-9-]*(\[[^\]]*\])?)(?![a-z0-9+.-]*://)", text)
    return match[1] if match else ""


def _line(kind: str, text: str) -> str:
    is_constraint = kind.startswith("constraint-")
    what = {"tree": "local package ", "editable": "local package -e "}.get(
        kind.removeprefix("constraint-"), ""
    )
    return f"{'constraint ' if is_constraint else ''}{what}{text}".strip()


def _packages(before: list[list[str]], after: list[list[str]], at: At) -> Iterator[str]:
    old = {(package[0], package[1]): package for package in before}
    new = {(package[0], package[1]): package for package in after}
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        if was is None or now is None:
            _, name, version, *_ = now or was or []
            sentence = f"{name} {version} {'added' if was is None else 'removed'}"
        elif was[2:4] != now[2:4]:
            size = 3 if was[2] != now[2] else 4
            sentence = f"{now[1]} {' '.join(was[2:size])} -> {' '.join(now[2:size])}"
        else:
            sentence = f"{now[1]} {now[2]} has another source or content"
        yield at(sentence, "locked", "")


def _spark(before: list[str], after: list[str], at: At) -> Iterator[str]:
    """A folder is digested by the named packages in it, so it changes whenever these change."""
    others = [[line for line in lines if not line.startswith("folder ")] for lines in (before, after)]
    if others[0] != others[1]:
        before, after = others
    removed = [line for line in before if line not in after]
    for line in (line for line in after if line not in before):
        thing, version = _of_maven(line)
        was = next((old for old in removed if version and _of_maven(old)[0] == thing), None)
        if was is None:
            yield at(f"{thing} {'' if thing == _FOLDER else version}".rstrip() + " added", "spark", "")
            continue
        removed.remove(was)
        if thing == _FOLDER:
            yield at(f"{thing} has other packages now", "spark", "")
        else:
            yield at(f"{thing} {_of_maven(was)[1]} -> {version}", "spark", "")
    for line in removed:
        thing, version = _of_maven(line)
        yield at(f"{thing} {'' if thing == _FOLDER else version}".rstrip() + " removed", "spark", "")
    if before != after and sorted(before) == sorted(after):
        yield at("the order of the Spark packages changed", "spark", "")


def _of_maven(line: str) -> tuple[str, str]:
    """The subject of a line of the Spark packages, and its version."""
    kind, _, rest = line.partition(" ")
    if kind == "folder":
        return _FOLDER, rest
    if rest:
        return {"repository": "Maven repository", "without": "excluded Spark package"}.get(kind, kind), rest
    name, _, version = line.rpartition(":")
    return f"Spark package {name}", version
