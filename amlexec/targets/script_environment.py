"""The script's environment variables, which `runtime/begin.sh` sets just before the script starts.

The variables of a run configuration, such as PATH, LD_PRELOAD or IFS, must not affect the supervisor and its
tools. So they are passed as text in variables of other names, and not on a command line, because they may
contain secrets.
"""

from __future__ import annotations

import json

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Handed", "handed", "is_plain", "of_run", "of_supervisor", "with_site"]

_OF_SHELLS = frozenset(
    [
        *("_", "UID", "EUID", "PPID", "GROUPS", "PWD", "SHELLOPTS", "OPTIND", "OPTARG", "OPTERR", "LINENO"),
        *("RANDOM", "SRANDOM", "SECONDS", "EPOCHREALTIME", "EPOCHSECONDS", "FUNCNAME", "DIRSTACK", "HISTCMD"),
        *("PIPESTATUS", "IFS", "BASHOPTS", "BASHPID", "BASH_VERSINFO", "BASH_SUBSHELL", "BASH_ARGC"),
        *("BASH_ARGV", "BASH_ARG0", "BASH_LINENO", "BASH_SOURCE", "BASH_COMMAND", "BASH_ALIASES"),
        *("BASH_CMDS", "BASH_REMATCH"),
    ]
)
"""Variables that a shell sets itself or makes read-only; setting these may end the shell."""
_PIECE = 1 << 16
"""Bytes; Linux's limit for one variable is 128 kB."""
_REST = "AMLEXEC_REST"
_OWN = ("AMLEXEC_SET_", "AMLEXEC_SUPERVISED_")
_SET_REST = f"""import json, os, sys
for name, value in json.loads(os.environ.pop("{_REST}")).items():
    os.environb[name.encode("latin-1")] = value.encode("latin-1")
os.execvp(sys.argv[1], sys.argv[1:])"""
"""For Python 3.5 and later in any locale: sets variables that no shell can set."""


class Handed(NamedTuple):
    """An environment, encoded for `begin.sh`."""

    variables: dict[str, str]
    """Variables for the supervisor's own environment."""
    before: tuple[str, ...]
    """A command prefix that sets what a shell can't set; () if there is nothing."""


def is_plain(name: str) -> bool:
    """Whether every shell can export a variable of that name, and gives it no special meaning."""
    # No patterns: to compile them takes longer than to check the names.
    is_name = name.isascii() and name.isidentifier()
    return is_name and name not in _OF_SHELLS and name != _REST and not name.startswith(_OWN)


def handed(environment: Mapping[str, str], python: str) -> Handed:
    """Encode an environment for `begin.sh`; `python`, on the machine, sets what no shell can set."""
    plain = {name: value for name, value in environment.items() if is_plain(name)}
    text = "".join(f"export {name}={_quoted(value)}\n" for name, value in plain.items())
    rest = {_latin(name): _latin(value) for name, value in environment.items() if name not in plain}
    if rest:
        text += f"export {_REST}={_quoted(json.dumps(rest))}\n"
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
    """Variables that identify the script's processes."""
    return {"AMLEXEC_RUN_ID": run_id, "AMLEXEC_RUN_FOLDER": folder}


def of_supervisor(run_id: str, folder: str) -> dict[str, str]:
    """Variables that identify the supervisor, which must not be stopped with the script."""
    return {"AMLEXEC_SUPERVISED_ID": run_id, "AMLEXEC_SUPERVISED_FOLDER": folder}


def _quoted(text: str) -> str:
    """A word for a shell. `shlex`, which leaves harmless words as they are, is one import more."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _latin(text: str) -> str:
    """The text with one character for each byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
