"""Whatever there is: nothing that is needed is removed, and a limit holds or its pins are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from amlexec.gc.model import CACHE, EXTRA, LEFTOVER, PART, ROOT, RUN, Item
from amlexec.gc.plan import made

if TYPE_CHECKING:
    from amlexec.gc.model import Plan

CHAIN = [
    Item("0", PART, PART, "here", "0", 5),
    Item("2", EXTRA, EXTRA, "here", "2", 7, ("0",)),
]
"""A part that only an extra needs."""
PINS = st.sampled_from(["", "", "", "it is tagged"])
MEMBERS = {PART, EXTRA}


@st.composite
def inventories(draw: st.DrawFn) -> list[Item]:
    """Items that need some of the parts before them."""
    found: list[Item] = []
    for number in range(draw(st.integers(0, 14))):
        role = draw(st.sampled_from([ROOT, RUN, RUN, PART, PART, EXTRA, CACHE, LEFTOVER]))
        below = [item.key for item in found if item.role in MEMBERS] + ["missing"]
        needs = draw(st.lists(st.sampled_from(below), max_size=4, unique=True))
        size, used = draw(st.integers(0, 50)), draw(st.integers(0, 5))
        found.append(Item(f"{number}", role, role, "here", f"{number}", size, tuple(needs), draw(PINS), used))
    return draw(st.permutations(found))


def needed_by(keys: set[str], items: list[Item]) -> set[str]:
    """These keys, and all that they need."""
    by_key = {item.key: item for item in items}
    found, waiting = set(), [key for key in keys if key in by_key]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += [below for below in by_key[key].needs if below in by_key]
    return found


def checked(plan: Plan, items: list[Item]) -> Plan:
    """The plan, after what is true of every plan."""
    removed = {each.item.key for each in plan.removed}
    kept = {item.key for item in plan.kept}
    assert removed | kept == {item.key for item in items}
    assert not removed & kept
    assert all(each.reason for each in plan.removed)
    assert not any(each.item.pin or each.item.role == ROOT for each in plan.removed)
    assert plan.freed + plan.left == sum(item.size for item in items)
    return plan


@given(inventories(), st.sets(st.integers(0, 14).map(str)))
def test_nothing_that_is_needed_is_removed(items: list[Item], chosen: set[str]) -> None:
    plan = checked(made(items, dict.fromkeys(chosen, "chosen")), items)
    removed = {each.item.key for each in plan.removed}
    stay = {item.key for item in plan.kept if item.role not in MEMBERS or item.pin}
    assert not [key for key in needed_by(stay, items) & removed if _role(key, items) in MEMBERS]
    for item in items:
        if item.role == RUN and item.key not in chosen:
            assert item.key not in removed, "without a rule, no run is removed"
        if item.role == CACHE:
            assert item.key not in removed


@given(inventories())
def test_what_nothing_needs_is_removed(items: list[Item]) -> None:
    plan = checked(made(items, {}), items)
    stay = {item.key for item in plan.kept if item.role not in MEMBERS or item.pin}
    assert {item.key for item in plan.kept} == needed_by(stay, list(plan.kept))


@given(inventories(), st.integers(0, 400), st.sets(st.integers(0, 14).map(str), max_size=3))
@example([*CHAIN, Item("11", ROOT, ROOT, "here", "11", 1, ("2",))], 0, set())
@example([*CHAIN, Item("11", RUN, RUN, "here", "11", 1, ("2",), "it is tagged")], 0, set())
def test_a_limit_holds_or_its_pins_are_named(items: list[Item], limit: int, spared: set[str]) -> None:
    plan = checked(made(items, {}, spared=dict.fromkeys(spared, "one of the best"), limit=limit), items)
    assert plan.excess == max(0, plan.left - limit)
    if plan.excess:
        pinned = {item.key for item in plan.kept if item.pin or item.role == ROOT}
        kept = list(plan.kept)
        assert {item.key for item in kept} == needed_by(pinned, kept), "all that stays has a pin"
    before = made(items, {}, spared=dict.fromkeys(spared, "one of the best"))
    if before.left <= limit:
        assert len(before.removed) == len(plan.removed), "nothing is removed without need"
    removed = {each.item.key for each in plan.removed}
    assert not needed_by({item.key for item in items if item.role == ROOT}, items) & removed
    # Of what else stays, a limit takes extras, and with them the parts that only they need.
    needed = {key for item in plan.kept for key in item.needs}
    assert not [key for key in needed & removed if _role(key, items) == PART]
    assert not spared & {each.item.key for each in plan.removed if each.item.role == RUN}


def _role(key: str, items: list[Item]) -> str:
    return next(item for item in items if item.key == key).role


def test_the_cheapest_goes_first_and_the_oldest_run_before_a_newer_one() -> None:
    items = [
        Item("new", "run", RUN, "here", "new", 10, ("tree",), used=2),
        Item("old", "run", RUN, "here", "old", 10, ("tree", "copy"), used=1),
        Item("copy", "copy", EXTRA, "here", "copy", 10, used=1),
        Item("tree", "snapshot", PART, "here", "tree", 10),
        Item("cache", "cache", CACHE, "here", "cache", 10, used=9),
    ]
    gone = {
        limit: [each.item.key for each in made(items, {}, limit=limit).removed] for limit in range(0, 50, 10)
    }
    assert gone == {
        40: ["cache"],
        30: ["cache", "copy"],
        20: ["cache", "copy", "old"],
        10: ["cache", "copy", "old", "new", "tree"],
        0: ["cache", "copy", "old", "new", "tree"],
    }
