"""Reading time is linear in the length of the file, for any content: a budget for each kilobyte."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from amlexec.config import schemas
from amlexec.config.document import read
from amlexec.config.validate import Checker
from amlexec.docker.reference import is_reference
from amlexec.errors import ConfigurationError
from amlexec.packages import conda_spec, urls
from amlexec.ssh import login

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 10_000
BUDGET_S = 1.0
"""For 10 kB, on a busy machine; quadratic code took up to ten times as long."""

PIECES = [
    "a",
    "1",
    " ",
    "\n",
    "\t",
    "-",
    ".",
    ",",
    "=",
    "<",
    "*",
    "|",
    "[",
    "]",
    "{",
    "(",
    "'",
    '"',
    "\\",
    "/",
]
PIECES += [
    ":",
    "@",
    "#",
    " #",
    ";",
    "^",
    "${",
    "{{",
    "%",
    "a.",
    "1.",
    "a ",
    "a-",
    "://",
    "::",
    "\n- ",
    "\n a",
    "\r",
]


def checked(kind: str, text: str) -> None:
    with suppress(ConfigurationError):
        Checker(lint=True).check(read(text.encode(), "f", lenient=True), kind)


READERS: dict[str, Callable[[str], object]] = {
    "text": lambda x: checked(schemas.COMPUTE, x),
    "JSON key": lambda x: checked(schemas.RUNCONFIG, '{"a' + x + '":\t1}'),
    "braces": lambda x: checked(schemas.RUNCONFIG, "{a: " + x),
    "key": lambda x: checked(schemas.RUNCONFIG, json.dumps({"Target": "a", x: "b"})),
    "value": lambda x: checked(schemas.RUNCONFIG, json.dumps({"Target": x})),
    "variable": lambda x: checked(schemas.RUNCONFIG, json.dumps({"EnvironmentVariables": {x: x}})),
    "target": lambda x: checked(
        schemas.COMPUTE,
        json.dumps({"type": "remote", "address": x, "username": x, "password": x, "baseDockerImage": x}),
    ),
    "spark": lambda x: checked(schemas.SPARK, json.dumps({"configuration": {x: x}, "repositories": [x]})),
    "spec": lambda x: checked(
        schemas.CONDA, json.dumps({"dependencies": [f"nu{x}mpy=1", f"x={x}", f"{x}::x"]})
    ),
    "pip": lambda x: checked(
        schemas.CONDA,
        json.dumps({"dependencies": [{"pip": [f"nu{x}mpy==1", f"x=={x}", f"./{x}", f"-i {x}", f"x; {x}"]}]}),
    ),
    "address": lambda x: (
        urls.public(f"https://{x}"),
        urls.secrets(x),
        urls.secrets(f"a://{x}"),
    ),
    "canonical spec": lambda x: (conda_spec.canonical_spec(f"a{x}b=1"), conda_spec.name_of(x)),
    "image": is_reference,
    "user": login.is_user,
}


@pytest.mark.parametrize("name", READERS)
def test_reading_is_linear(name: str) -> None:
    slow = []
    for piece in PIECES:
        text = piece * (SIZE // len(piece))
        began = time.process_time()
        READERS[name](text)
        took = time.process_time() - began
        if took > BUDGET_S:
            slow.append((piece, round(took, 1)))
    assert slow == []
