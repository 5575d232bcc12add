"""How the answers of `amlexec computetarget check` look as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.commands.output import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.machines.findings import Finding

__all__ = ["lines"]


def lines(found: Sequence[Finding]) -> list[str]:
    """Question, `ok` or not, and the answer; on a line below it, what to do."""
    first = max(len(each.check) for each in found)
    second = max(len(each.status) for each in found)
    told = []
    for each in found:
        told.append(f"{each.check:<{first}}  {each.status:<{second}}  {cell(each.message)}".rstrip())
        if each.hint:
            told.append(f"{'':<{first + second + 4}}hint: {cell(each.hint)}")
    return told
