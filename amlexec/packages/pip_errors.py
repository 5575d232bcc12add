"""Translate uv's errors to messages about the user's pip section."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.errors import AmlexecError, ConfigurationError, TargetError
from amlexec.packages.requirement_syntax import normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.packages.requirements import RequirementEntry

__all__ = ["unresolved"]

_LONGEST = 600
"""Characters of uv's explanation; the rest is about indirect dependencies."""
_NETWORK = re.compile(
    r"failed to fetch|error sending request|dns error|connection|timed out|could not connect|certificate"
    r"|unauthorized",
    re.IGNORECASE,
)


def unresolved(output: str, entries: Sequence[RequirementEntry], fixed: Mapping[str, str]) -> AmlexecError:
    """The error for a pip section that cannot be resolved.

    `output` is uv's output without secrets; `fixed` are the versions that conda installs, by name.
    """
    explanation = _sentence(output)
    entry = _concerned(explanation, entries)
    where = str(entry.place) if entry is not None else ""
    if _NETWORK.search(output) and "No solution found" not in output:
        return TargetError(
            f"a file of the pip section cannot be fetched: {_fetch(output)}",
            where=where,
            hint="check the network, HTTPS_PROXY, SSL_CERT_FILE and the index's address and password",
        )
    mine = [name for name in fixed if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", explanation)]
    hint = "change this line, or the lines that it conflicts with"
    if mine:
        hint = f"{mine[0]} {fixed[mine[0]]} is installed by conda: change its version there, or this line"
    elif "was not found" in explanation:
        hint = "check the name, the indexes that are named, and their password"
    return ConfigurationError(f"the pip section cannot be resolved: {explanation}", where=where, hint=hint)


def _fetch(output: str) -> str:
    """The address and the last cause."""
    address = re.search(r"Failed to fetch: `?([^\s`]+)", output)
    last = re.sub(r"^(error|cause|Caused by):\s*", "", output.strip().splitlines()[-1].strip())
    return f"{address[1]}: {last}" if address else last


def _sentence(output: str) -> str:
    lines = [re.sub(r"^\W+|^error:\s*", "", line).strip() for line in output.splitlines()]
    lines = [re.sub(r"^(error|cause|Caused by):\s*", "", line) for line in lines if line]
    lines = [line for line in lines if not line.startswith(("hint:", "No solution found", "warning:"))]
    text = " ".join(lines) or "uv gives no reason"
    text = re.sub(r",? we can conclude that your requirements are unsatisfiable\.?", "", text)
    text = text[:_LONGEST].rstrip() + ("..." if len(text) > _LONGEST else "")
    return text.rstrip(".")


def _concerned(explanation: str, entries: Sequence[RequirementEntry]) -> RequirementEntry | None:
    """The line that the explanation concerns: the last one it names, because it ends at the user's lines."""
    positions = []
    for entry in entries:
        name = entry.name or (
            normalised(entry.path.rpartition("/")[2].partition("-")[0]) if entry.path else ""
        )
        found = (
            [match.start() for match in re.finditer(rf"(?<![\w-]){re.escape(name)}(?![\w-])", explanation)]
            if name
            else []
        )
        if found:
            positions.append((found[-1], entry))
    if positions:
        bare = explanation.replace(" ", "")
        return max(
            positions,
            key=lambda found: (found[1].text.replace(" ", "") in bare, found[0], len(found[1].text)),
        )[1]
    packages = [entry for entry in entries if entry.kind not in {"option", "transport"}]
    return packages[0] if len(packages) == 1 else None
