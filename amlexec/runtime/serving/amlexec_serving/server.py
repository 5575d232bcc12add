"""Runs the application on uvicorn. The script has the main thread; see `turns.py` for the loop's."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from typing import Any

from .app import App, _say
from .connection import protocol_class
from .peers import Peers
from .script import Script, ScriptError, load
from .settings import Settings, SettingsError
from .turns import Turns

__all__ = ["serve"]

_FAILED = 3
"""The exit code if the script can't be loaded, or its `init` fails."""
_KEEP_ALIVE_S = 75
"""Longer than clients keep their connections, so that it is they who close them."""


class _Server:
    def __init__(self, settings: Settings) -> None:
        import uvicorn

        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.turns = Turns(self.loop, settings.queue)
        self.app = App(settings, self.turns)
        key = {"ssl_certfile": settings.certificate} if settings.certificate else {}
        self.config = uvicorn.Config(
            self.app,
            host=settings.host,
            port=settings.port,
            loop="asyncio",
            http=protocol_class(),
            lifespan="off",
            ws="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(settings.grace) or None,
            backlog=2048,
            **key,
        )
        self.uvicorn = uvicorn.Server(self.config)
        self.running = threading.Event()
        """Set when the server listens, or has ended."""
        self.failure = ""
        self.is_over = False
        self._public: Any = None
        self._accepted: weakref.WeakSet[Any] = weakref.WeakSet()
        """Of the public port's connections; uvicorn knows a connection from its first event on."""
        self._sockets: list[socket.socket] = []

    def bind(self) -> None:
        """Open the port. Raises OSError."""
        host, port = self.settings.host, self.settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # With its protocol: else asyncio does not turn off Nagle's algorithm, and an answer takes 40 ms.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(2048)
        self._sockets = [opened]
        _say("{} listens on {}:{}".format(self.settings.name, *opened.getsockname()[:2]))

    def run(self) -> None:
        """On its own thread: serve until it is told to end."""
        try:
            task = self.loop.create_task(self._run())
            task.add_done_callback(lambda _: self.turns.end())
            self.turns.relieve()
            task.result()
        except BaseException:
            self.failure = traceback.format_exc()
        finally:
            self.is_over = True
            self.running.set()
            self.turns.stop()
            self.app.worker.stop()

    async def _run(self) -> None:
        task = asyncio.ensure_future(self.uvicorn.serve(sockets=self._sockets))
        while not self.uvicorn.started and not task.done():
            await asyncio.sleep(0.001)
        self.running.set()
        await task

    async def join(self, shared: socket.socket) -> None:
        """Accept connections of the public port, too."""
        await self.leave()
        self.app.leaving = False
        shared.setblocking(False)
        server = self.uvicorn

        def protocol() -> Any:
            made = self.config.http_protocol_class(
                config=self.config, server_state=server.server_state, app_state={}
            )
            self._accepted.add(made)
            return made

        secured = self.config.ssl if self.config.is_ssl else None
        self._public = await self.loop.create_server(protocol, sock=shared, ssl=secured, backlog=2048)
        server.servers.append(self._public)
        _say("replica of generation {} takes requests".format(self.settings.generation))

    async def leave(self) -> None:
        """Accept no more connections of the public port; those that are open go on."""
        if self._public is not None:
            self.app.leaving = True
            for accepting in self._public.sockets:
                self.loop.remove_reader(accepting)
            # What the loop has just accepted gets its protocol in this pass; a closed server would drop it.
            await asyncio.sleep(0)
            self._public.close()
            self.uvicorn.servers.remove(self._public)
            self._public = None
            _say("replica of generation {} takes no new connections".format(self.settings.generation))

    async def retire(self) -> None:
        """Another generation has the public port: end, once the connections of this one are closed.

        Clients close a connection after its next answer; those that stay idle are cut off after a time.
        """
        if self._public is None:
            return
        await self.leave()
        self._retiring = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        until = time.monotonic() + self.settings.drain
        await asyncio.sleep(0)  # what the loop has just accepted gets its protocol in the next pass
        while self._has_connections() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        self.end()

    def _has_connections(self) -> bool:
        """Whether clients are connected, also those whose TLS handshake is not over."""
        beginning = any(one.transport is None for one in self._accepted)
        return beginning or bool(self.uvicorn.server_state.connections)

    def end(self, *_: object) -> None:
        """On SIGTERM: refuse new requests, answer those that have begun, and end."""
        if not self.app.ending:
            # A call of the script can't be interrupted.
            timer = threading.Timer(self.settings.grace + 2, os._exit, [1])
            timer.daemon = True
            timer.start()
        self.app.ready = False
        self.app.ending = True
        self.uvicorn.should_exit = True


def serve(settings: Settings) -> int:
    """Serve until SIGTERM; the exit code."""
    try:
        server = _Server(settings)
        server.bind()
    except (OSError, OverflowError) as error:
        _say("the port {} of {} can't be used: {}".format(settings.port, settings.host, error))
        return _FAILED
    except SettingsError as error:
        _say(str(error))
        return _FAILED
    if not server.app.keys and not settings.insecure:
        cure = "set AMLEXEC_SERVICE_KEY or AMLEXEC_SERVICE_INSECURE=1"
        _say("no key is set, so all requests are refused: " + cure)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.end)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    server.running.wait()
    if not server.is_over and not _started(server):
        server.uvicorn.should_exit = True
        thread.join(1)
        sys.stdout.flush()
        return _FAILED
    if settings.join and not server.is_over:
        from .listener import follow

        threading.Thread(target=follow, args=(server, settings), daemon=True).start()
    server.app.worker.work()
    thread.join(settings.grace)
    if server.failure:
        _say(server.failure)
        return 1
    _say("the service has ended")
    # Threads of the script must not keep the container.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _started(server: _Server) -> bool:
    """Load the script and call `init`, on this thread; False if one of them fails."""
    settings = server.settings
    began = time.perf_counter()
    timer = threading.Timer(settings.init_timeout, _late, [settings])
    timer.daemon = True
    timer.start()
    try:
        script = load(settings.script)
        _initialize(script, server)
    except ScriptError as error:
        _say(str(error))
        return False
    except BaseException:
        name = os.path.basename(settings.script)
        _say("{} failed before it was ready\n{}".format(name, traceback.format_exc()))
        return False
    finally:
        timer.cancel()
    if server.app.ending:
        return True
    asyncio.run_coroutine_threadsafe(_open(server, script), server.loop).result()
    _say("ready after {:.2f} s".format(time.perf_counter() - began))
    return True


async def _open(server: _Server, script: Script) -> None:
    if server.settings.join:
        peers = Peers(os.path.dirname(server.settings.join), server.app.counters)
        try:
            await peers.open()
            server.app.peers = peers
        except OSError as error:
            _say("/metrics is of this replica only: {}".format(error))
    server.app.loaded(script)
    server.app.ready = not server.app.ending


def _initialize(script: Script, server: _Server) -> None:
    if inspect.iscoroutinefunction(script.init):
        asyncio.run_coroutine_threadsafe(script.init(), server.loop).result()
    else:
        script.init()


def _late(settings: Settings) -> None:
    _say(
        "init did not return within {:g} s: raise AMLEXEC_SERVICE_INIT_TIMEOUT".format(settings.init_timeout)
    )
    os._exit(_FAILED)
