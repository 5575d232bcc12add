"""How a script gets its environment: at the moment it begins, from `runtime/begin.sh`, and not before.

What a run configuration says for the script must not change how the supervisor and its tools are started,
be it PATH, LD_PRELOAD or IFS. So it travels as text under other names, in the environment and on no command
line, since it may have secrets.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Handed", "handed", "is_plain", "of_run", "of_supervisor", "with_site"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_SHELLS = re.compile(
    # What a shell sets itself, or lets nobody set; it may end a shell that tries. `_` is in every one.
    r"_|E?UID|PPID|GROUPS|PWD|SHELLOPTS|OPT(IND|ARG|ERR)|LINENO|S?RANDOM|SECONDS|EPOCH(REALTIME|SECONDS)"
    r"|FUNCNAME|DIRSTACK|HISTCMD|PIPESTATUS|IFS|BASH(OPTS|PID)"
    r"|BASH_(VERSINFO|SUBSHELL|ARG[CV0]|LINENO|SOURCE|COMMAND|ALIASES|CMDS|REMATCH)|AMLEXEC_(SET_\d+|REST|SUPERVISED_\w+)"
)
_PIECE = 1 << 16
"""Bytes. Linux takes 128 kB for one variable."""
_REST = "AMLEXEC_REST"
_SET_REST = f"""import json, os, sys
for name, value in json.loads(os.environ.pop("{_REST}")).items():
    os.environb[name.encode("latin-1")] = value.encode("latin-1")
os.execvp(sys.argv[1], sys.argv[1:])"""
"""For Python 3.5, whatever its locale: what no shell can set."""


class Handed(NamedTuple):
    """An environment, ready to be handed over."""

    variables: dict[str, str]
    """What the supervisor is to have in its own environment."""
    before: tuple[str, ...]
    """What stands in front of the command, where a shell can't set all of it."""


def is_plain(name: str) -> bool:
    """Whether every shell can export a variable of that name, and gives it no meaning of its own."""
    return _NAME.fullmatch(name) is not None and _OF_SHELLS.fullmatch(name) is None


def handed(environment: Mapping[str, str], python: str) -> Handed:
    """An environment, as `begin.sh` takes it; `python` is a Python there for what no shell can set."""
    plain = {name: value for name, value in environment.items() if is_plain(name)}
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plain.items())
    rest = {_latin(name): _latin(value) for name, value in environment.items() if name not in plain}
    if rest:
        text += f"export {_REST}={shlex.quote(json.dumps(rest))}\n"
    data = text.encode("utf-8", "surrogateescape")
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    variables = {
        f"AMLEXEC_SET_{number}": piece.decode("utf-8", "surrogateescape")
        for number, piece in enumerate(pieces)
    }
    return Handed(variables, (python, "-I", "-S", "-c", _SET_REST) if rest else ())


def with_site(environment: dict[str, str], site: str) -> dict[str, str]:
    """An environment in which Python looks into the folder `site`, which travels into every run, first."""
    before = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": f"{site}:{before}" if before else site}


def of_run(run_id: str, folder: str) -> dict[str, str]:
    """What the script, and all that it starts, is told by, too."""
    return {"AMLEXEC_RUN_ID": run_id, "AMLEXEC_RUN_FOLDER": folder}


def of_supervisor(run_id: str, folder: str) -> dict[str, str]:
    """What its supervisor is told by: it is not ended with the script."""
    return {"AMLEXEC_SUPERVISED_ID": run_id, "AMLEXEC_SUPERVISED_FOLDER": folder}


def _latin(text: str) -> str:
    """Text with a character for each of its bytes."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
