"""Programs `amlexec` and `doit` for a shell script: each command is forked, as in `commands.py`.

A program here asks the server for the command, with its own streams, folder and environment, and ends as the
command does. It is a Python that imports nothing: what is saved are the imports of amlexec.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tests.support import commands

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["path_with_programs"]

_PROGRAM = """\
#!{python} -IS
import _socket, _struct, posix, sys
from _json import encode_basestring_ascii as quoted

def text(value):
    return quoted(value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value)

variables = ", ".join(text(name) + ": " + text(value) for name, value in posix.environ.items())
words = ", ".join(map(text, sys.argv[1:]))
folder = text(posix.getcwd())
told = '{{"arguments": [%s], "folder": %s, "environment": {{%s}}}}' % (words, folder, variables)
told = told.encode("ascii") + b"\\0"
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
connection.connect({server!r})
streams = _struct.pack("3i", 0, 1, 2)
sent = connection.sendmsg([told], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
if sent < len(told):
    connection.sendall(told[sent:])
said = b""
while said.count(b"\\n") < 2:
    piece = connection.recv(100)
    if not piece:
        break
    said += piece
code = int(said.split()[1])
posix._exit(code if code >= 0 else 128 - code)
"""


def path_with_programs(folder: Path) -> str:
    """A PATH with these programs, written into `folder`; with fresh ones if nothing can be forked."""
    if not commands.can_fork(os.environ):
        return os.environ["PATH"]
    folder.mkdir()
    for name in ("amlexec", "doit"):
        program = folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, server=commands._server(name)), "utf-8")
        program.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])
