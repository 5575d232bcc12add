"""How a script gets to the `sh` of another machine, and what it says comes back.

The login shell there may be any: all that it is given is one `exec /bin/sh -c '…'` with no character in it
that a shell of any family would touch between single quotes. That prologue prints a mark, so that what
start-up files have printed can be told from what the script prints, then reads its own program from standard
input: a line, or a length and so many bytes. It never reads further, so the rest is the script's own input.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RemoteScript", "remote_script"]

# What start-up files have set for shells of theirs is undone: options, functions, a PATH without programs.
# Lines that they have read of our input were empty ones. `dd` with one block takes what has come so far and
# not a byte more: `head -c` is not in POSIX, and a shell that reads its script from standard input itself may
# read ahead.
_PROLOGUE = (
    "set +eufxvC;unset -f unset command echo read dd printf exit;"
    "command -v dd >/dev/null||PATH=${{PATH:+$PATH:}}/usr/local/bin:/usr/bin:/bin;export PATH;"
    "echo;echo {mark};echo >&2;echo {mark} >&2;"
    'm=;while read -r m n t;do [ "$m" = {mark} ]&&break;done;'
    '[ "$m" = {mark} ]||{{ echo {mark} eaten >&2;exit 255; }};'
    "while [ ${{#t}} -lt $n ];do "
    'c=$(dd bs=$((n-${{#t}})) count=1 2>/dev/null);[ "$c" ]||exit 255;t=$t$c;done;'
    't=$(printf %b. "$t");eval "${{t%.}}"'
)
_TO_BE_READ = b"\n" * 4
"""Before our first line: for start-up files that read a line, as of somebody who answers a question."""
_FUNCTIONS = (
    "awk cat cd chmod cp cut date df du find gzip grep head id kill ln ls mkdir mv nohup ps readlink rm rmdir"
    " sed sh sha256sum sleep sort stat sync tail tar tr uname wc which xargs"
)
"""What our scripts call; where bash is `sh` too, functions of these names may have been exported to it."""
_SHORT = 2000
"""Characters of a program that travels in the first line."""
# In a subshell, so that the script can exit; through eval, so that its syntax errors stay its own.
_PROGRAM = """\
set -- {arguments}
unset -f {functions}
(unset m n t c
eval {script})
n=$?
echo >&2
echo {mark} $n >&2
exit $n
"""
_PLAIN = {ord("\\"): "\\\\"}
_ENCODED = [_PLAIN.get(byte, chr(byte)) if 0x20 <= byte < 0x7F else f"\\0{byte:03o}" for byte in range(256)]
"""Every byte as `printf %b` reads it, in ASCII and without line ends: its length is beyond doubt."""


class RemoteScript(NamedTuple):
    """A script made ready to be sent."""

    command: str
    """What the login shell is to execute."""
    head: bytes
    """What stands in standard input before the script's own."""
    mark: str

    @property
    def start(self) -> bytes:
        """What comes in both outputs before the script's own words."""
        return f"\n{self.mark}\n".encode()

    def stderr(self, said: bytes) -> tuple[bytes, int | None]:
        """What the script wrote to standard error, and its exit code; None where its end was not read."""
        _, start, rest = said.partition(self.start)
        if not start:
            return b"", None
        match = re.search(rf"\n{self.mark} (\d+)\n".encode(), rest)
        if match is None:
            return rest, None
        return rest[: match.start()] + rest[match.end() :], int(match[1])

    def was_eaten(self, said: bytes) -> bool:
        """Whether something that ran before has read the script from standard input."""
        return f"\n{self.mark} eaten\n".encode() in said


def remote_script(script: str, arguments: Sequence[str]) -> RemoteScript:
    """Make a script and its arguments ready to be sent.

    Raises:
        ValueError: there is a NUL character in it; no shell can have one.
    """
    if any("\0" in text for text in (script, *arguments)):
        raise ValueError("a script and its arguments can't have NUL characters")
    mark = f"amlexec-{os.urandom(12).hex()}"
    program = _PROGRAM.format(
        arguments=" ".join(map(shlex.quote, arguments)),
        script=shlex.quote(script),
        mark=mark,
        functions=_FUNCTIONS,
    )
    encoded = "".join(_ENCODED[byte] for byte in program.encode("utf-8", "surrogateescape"))
    command = f"exec /bin/sh -c '{_PROLOGUE.format(mark=mark)}'"
    # `read` takes one byte at a time, and starts no program for it.
    head = f"{mark} 0 {encoded}\n" if len(encoded) <= _SHORT else f"{mark} {len(encoded)}\n{encoded}"
    return RemoteScript(command, _TO_BE_READ + head.encode(), mark)
