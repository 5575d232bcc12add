"""The protocol by which a script is sent to the `sh` of another machine and its output comes back.

It works with any login shell: that shell gets one `exec /bin/sh -c '…'` without characters that any shell
expands between single quotes. That prologue prints a mark, which separates the output of start-up files from
the script's, then reads the program from standard input: a line, or a length and that many bytes. It never
reads further, so the rest is the script's own input.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RemoteScript", "TO_BE_READ", "command_of", "new_mark", "remote_script", "start_of"]

# Undo what start-up files may have set: options, functions, a PATH without programs. Lines that they have
# read from our input were empty. `dd` with one block takes the bytes that have arrived and no more: `head -c`
# is not in POSIX, and a shell that reads its script from standard input may read ahead.
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
TO_BE_READ = b"\n" * 4
"""Empty lines before our first line, for start-up files that read a line as the answer to a question."""
_FUNCTIONS = (
    "awk cat cd chmod cp cut date df du env find gzip grep head id kill ln ls mkdir mv nohup ps readlink rm"
    " rmdir sed sh sha256sum sleep sort stat sync tail tar tr uname wc which xargs"
)
"""Programs that our scripts call. Where bash is `sh`, exported functions may hide them."""
_SHORT = 2000
"""Characters; a program up to this length is sent in the first line."""
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
"""Every byte as `printf %b` reads it, in ASCII and without line ends, so that all shells count alike."""


class RemoteScript(NamedTuple):
    """A script, encoded for sending."""

    command: str
    """The command for the login shell."""
    head: bytes
    """The first bytes of standard input, before the script's own input."""
    mark: str

    @property
    def start(self) -> bytes:
        """The mark that precedes the script's output on standard output and standard error."""
        return start_of(self.mark)

    def stderr(self, data: bytes) -> tuple[bytes, int | None]:
        """The script's standard error, and its exit code; None if the end is missing."""
        _, start, rest = data.partition(self.start)
        if not start:
            return b"", None
        match = re.search(rf"\n{self.mark} (\d+)\n".encode(), rest)
        if match is None:
            return rest, None
        return rest[: match.start()] + rest[match.end() :], int(match[1])

    def was_eaten(self, data: bytes) -> bool:
        """Whether a start-up file has read the script from standard input."""
        return f"\n{self.mark} eaten\n".encode() in data


def new_mark() -> str:
    """A word that nothing else prints."""
    return f"amlexec-{os.urandom(12).hex()}"


def start_of(mark: str) -> bytes:
    """What the other side prints before the output of a script with this mark."""
    return f"\n{mark}\n".encode()


def command_of(mark: str) -> str:
    """The command for the login shell that waits for a script with this mark."""
    return f"exec /bin/sh -c '{_PROLOGUE.format(mark=mark)}'"


def remote_script(script: str, arguments: Sequence[str], mark: str = "") -> RemoteScript:
    """Encode a script and its arguments for sending. `mark` is that of a command that waits for it.

    Raises:
        ValueError: the script or an argument has a NUL character, which no shell accepts.
    """
    if any("\0" in text for text in (script, *arguments)):
        raise ValueError("a script and its arguments can't have NUL characters")
    mark = mark or new_mark()
    program = _PROGRAM.format(
        arguments=" ".join(map(shlex.quote, arguments)),
        script=shlex.quote(script),
        mark=mark,
        functions=_FUNCTIONS,
    )
    encoded = "".join(_ENCODED[byte] for byte in program.encode("utf-8", "surrogateescape"))
    # `read` reads byte by byte, but starts no program.
    head = f"{mark} 0 {encoded}\n" if len(encoded) <= _SHORT else f"{mark} {len(encoded)}\n{encoded}"
    return RemoteScript(command_of(mark), TO_BE_READ + head.encode(), mark)
