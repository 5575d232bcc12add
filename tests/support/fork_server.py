"""A process that has imported amlexec, and forks for each command that the tests give it.

A forked command is a process like any other, with a process id, streams, environment, working folder and exit
code of its own. It only does not start Python and import a hundred modules again, which is most of the time
that a command takes. `commands.py` decides which commands are forked.

Run it as `python fork_server.py SOCKET MODULE`, where MODULE is what `python -m` would run. A connection is a
command: JSON, sent with the descriptors of its three streams. The answers are its process id and, when it has
ended, its exit code as `subprocess` has it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import socket
import sys
import threading
from pathlib import Path
from typing import Any

_MOST = 1 << 22
"""Bytes of a command with its environment."""
_HEAVY = ("yaml", "jsonschema", "rattler", "docker", "rich.console")
_CLOUD = ("azure.identity", "azure.mgmt.containerinstance", "azure.storage.blob")
_CLUSTER = ("kubernetes.client", "kubernetes.config", "kubernetes.stream.ws_client")
"""What amlexec imports where it is needed."""
_DOIT = ("doit.doit_cmd", "doit.cmd_run", "doit.cmd_list", "doit.cmd_info", "doit.cmd_clean", "sqlite3")
_NEVER = ("plumbum",)
"""Modules that copy the environment when they are imported: the command has to do that itself."""


def load(module: str) -> None:
    """Import what commands of this module import sooner or later."""
    import amlexec

    sys.modules.update(dict.fromkeys(_NEVER))  # type: ignore[arg-type] - None: it can't be imported for now
    names = [found.name for found in pkgutil.walk_packages(amlexec.__path__, "amlexec.")]
    left_out = ["amlexec.runtime.", "amlexec.__main__"]
    if module != "doit":
        left_out += ["amlexec.tasks", "amlexec.doit"]
    names = [name for name in names if not name.startswith(tuple(left_out))]
    for name in [*names, *_HEAVY, *_CLOUD, *_CLUSTER, *(_DOIT if module == "doit" else ())]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in _NEVER:
        del sys.modules[name]


def serve(path: str, module: str) -> dict[str, Any] | None:
    """Fork for each command until standard input ends; in a forked process, return its command."""
    load(module)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads must not be forked"
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as waiting, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}.new")
        server.listen(64)
        Path(f"{path}.new").rename(path)
        waiting.register(server, selectors.EVENT_READ)
        waiting.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fd == 0:
                    return None
                if key.fd == server.fileno():
                    connection = server.accept()[0]
                    command, streams = _received(connection)
                    pid = os.fork()
                    if pid == 0:
                        for number, stream in enumerate(streams):
                            os.dup2(stream, number)
                        for descriptor in (*streams, *running):
                            os.close(descriptor)
                        for _, other in running.values():
                            other.close()
                        connection.close()
                        return command
                    for stream in streams:
                        os.close(stream)
                    connection.sendall(b"%d\n" % pid)
                    ended = os.pidfd_open(pid)
                    running[ended] = pid, connection
                    waiting.register(ended, selectors.EVENT_READ)
                else:
                    waiting.unregister(key.fd)
                    pid, connection = running.pop(key.fd)
                    os.close(key.fd)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with connection, contextlib.suppress(OSError):  # whoever wanted it may be gone
                        connection.sendall(b"%d\n" % code)


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    told, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
    while not told.endswith(b"\0"):
        told += connection.recv(_MOST)
    command: dict[str, Any] = json.loads(told[:-1])
    return command, streams


def become(command: dict[str, Any], module: str) -> None:
    """Be what `python -m MODULE` would be."""
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    sys.path[0] = str(Path.cwd())
    sys.argv = [module, *command["arguments"]]
    if before := os.environ.pop("AMLEXEC_TEST_BEFORE", ""):
        runpy.run_path(before)
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            raise
    _end(code)


def _end(code: int) -> None:
    """End as Python does, but leave the modules as they are: removing them copies the whole memory first."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    forked = serve(*sys.argv[1:])
    if forked is not None:
        become(forked, sys.argv[2])
