"""A real browser for tests: Chromium through its DevTools protocol, over two pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Browser", "Page", "open_browser"]

TIMEOUT_S = 60.0
_OPTIONS = (
    "--remote-debugging-pipe",
    "--no-sandbox",  # the tests may run as root, in a container
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--disable-background-networking",
)


class Browser:
    """A running browser. It has no access to any host but this one."""

    def __init__(self, process: subprocess.Popen[bytes], writing: int, reading: int) -> None:
        self._process = process
        self._writing, self._reading = writing, reading
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        """What the browser has reported, from all pages."""

    def ask(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and wait for its answer."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._writing, data) :]
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self._next(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait until the browser has reported something."""
        deadline = time.monotonic() + TIMEOUT_S
        at = 0
        while True:
            for event in self.events[at:]:
                if wanted(event):
                    return event
            at = len(self.events)
            assert time.monotonic() < deadline, f"the browser has not reported: {what}"
            self.events.append(self._next(deadline))

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            with selectors.DefaultSelector() as selector:
                selector.register(self._reading, selectors.EVENT_READ)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._reading, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    @contextlib.contextmanager
    def page(
        self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> Iterator[Page]:
        """A new page, loaded."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        try:
            target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
            session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page = Page(self, session)
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.ask(f"{domain}.enable")
            page.resize(width, height)
            scheme = "dark" if dark else "light"
            page.ask(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            page.load(address)
            yield page
        finally:
            self.ask("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._begin = len(browser.events)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol to this tab."""
        return self._browser.ask(method, self._session, **parameters)

    def load(self, address: str) -> None:
        """Go to an address, and wait until it is loaded."""
        before = len(self._browser.events)
        answer = self.ask("Page.navigate", url=address)
        assert "errorText" not in answer, answer["errorText"]

        def is_loaded(event: dict[str, Any]) -> bool:
            is_ours = event.get("sessionId") == self._session and event["method"] == "Page.loadEventFired"
            return is_ours and self._browser.events.index(event) >= before

        self._browser.wait(is_loaded, f"{address} is loaded")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise's result."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true; its value. Looked at on each frame."""
        return self.run(
            f"""new Promise((resolve, reject) => {{
                const end = performance.now() + {TIMEOUT_S * 900};
                const look = () => {{
                    let found = null;
                    try {{ found = ({expression}); }} catch (error) {{ found = null; }}
                    if (found) resolve(found);
                    else if (performance.now() > end) reject(new Error({json.dumps(expression)}));
                    else setTimeout(look, 16);
                }};
                look();
            }})"""
        )

    def click(self, selector: str) -> None:
        """Click on the middle of an element, as a pointer does."""
        place = self.run(
            f"""(() => {{ const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: 'center', inline: 'center'}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        self.mouse("mousePressed", *place)
        self.mouse("mouseReleased", *place)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """A movement of the pointer, or its button."""
        button = "none" if kind == "mouseMoved" else "left"
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def press(self, key: str, *, code: int = 0) -> None:
        """Press a key that writes nothing, such as ArrowRight."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Write into the element with the focus."""
        self.ask("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window, in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def problems(self) -> list[str]:
        """Errors and warnings of its console, uncaught exceptions, and refused content."""
        found = []
        for event in self._browser.events[self._begin :]:
            if event.get("sessionId") != self._session:
                continue
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
                found.append(json.dumps(parameters["args"]))
            elif event["method"] == "Log.entryAdded":
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return found

    def requests(self) -> list[str]:
        """The addresses that it has asked for, since it was opened."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events[self._begin :]
            if event.get("sessionId") == self._session and event["method"] == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def open_browser(program: str, environment: Mapping[str, str], profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it in the end."""
    to_browser, from_browser = os.pipe(), os.pipe()

    def prepare() -> None:
        # The protocol is on descriptors 3 and 4. Moved away first: either may be in the other's place.
        ours = os.dup(to_browser[0]), os.dup(from_browser[1])
        away = [os.dup2(number, 60 + at) for at, number in enumerate(ours)]
        os.dup2(away[0], 3)
        os.dup2(away[1], 4)

    with (profile / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={profile}"],
            env={**os.environ, **environment, "HOME": str(profile)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=prepare,
            close_fds=False,
            start_new_session=True,
        )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Browser(process, to_browser[1], from_browser[0])
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
