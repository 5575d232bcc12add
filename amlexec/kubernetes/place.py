"""Where a run is in a cluster, and what its Pods need. Values only."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

__all__ = ["RUNS", "USER", "Place", "is_name", "needs_of", "of_texts"]

RUNS = "amlexec"
"""The folder of a claim that has a folder for each run."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OWNER = re.compile(r"[^\x00-\x1f]{1,200}")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}")
_CONTEXT = re.compile(r"[^\x00-\x1f]{0,300}")
USER = "runAsUser"
"""The need for a user other than root; not a part of a Pod by itself."""
_NEEDS = {
    "nodeSelector": dict,
    "tolerations": list,
    "serviceAccountName": str,
    "imagePullSecrets": list,
    USER: int,
}
"""What each Pod of a target has; all but the last are parts of a Pod."""
_MOST_USER = (1 << 31) - 1


class Place(NamedTuple):
    """Where a run is: its Job and its Secret, which have one name, and its folder of that name in a claim."""

    context: str
    namespace: str
    name: str
    claim: str
    image: str
    """By sha256: what looks into the claim runs in it too."""
    needs: str
    """What each Pod needs, as JSON: parts of its specification, and its user."""
    owner: str
    """`amlexec.owner` of the project that submitted the run."""


def of_texts(kept: dict[str, str]) -> Place:
    """The place that such texts say.

    Raises:
        KeyError, ValueError: amlexec can't have written them.
    """
    place = Place(**{name: kept[name] for name in Place._fields})
    patterns = (
        (place.context, _CONTEXT),
        (place.namespace, _LABEL),
        (place.name, _LABEL),
        (place.claim, _OBJECT),
        (place.image, _IMAGE),
        (place.owner, _OWNER),
    )
    if not all(pattern.fullmatch(text) for text, pattern in patterns):
        raise ValueError
    needs_of(place)
    return place


def needs_of(place: Place) -> dict[str, Any]:
    """What each Pod needs. Raises ValueError."""
    found = json.loads(place.needs)
    if not isinstance(found, dict) or not all(
        isinstance(value, _NEEDS.get(key, ())) for key, value in found.items()
    ):
        raise ValueError
    if isinstance(found.get(USER), bool) or not 1 <= found.get(USER, 1) <= _MOST_USER:
        raise ValueError
    return found


def is_name(text: str, *, dots: bool = False) -> bool:
    """Whether it can be the name of an object; with `dots`, of one that may have them."""
    return (_OBJECT if dots else _LABEL).fullmatch(text) is not None
