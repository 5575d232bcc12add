"""The page of a service, in a real browser."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.support.services import KEY, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser, Page

HOSTILE = "<img src=x onerror=alert(1)>"
SCRIPT = """
import dataclasses
@dataclasses.dataclass
class Flower:
    width: float
    name: str = "iris"
def init(): pass
def run(flower: Flower, times: int = 1) -> dict:
    return {"area": flower.width * times, "told": "<b>" + flower.name}
"""


def enter(page: Page, key: str) -> None:
    """Type a key, and open the page with it."""
    page.until("!document.querySelector('#login').hidden")
    page.click("#key")
    page.write(key)
    page.click("#enter")


def test_a_request_on_the_page(tmp_path: Path, browser: Browser) -> None:
    settings = {"name": HOSTILE, "models": [{"name": "iris", "version": 3}]}
    with (
        serving(tmp_path, SCRIPT, settings) as served,
        browser.page(f"http://127.0.0.1:{served.port}/") as page,
    ):
        enter(page, "wrong")
        page.until("document.querySelector('#refused').textContent === 'The key is wrong.'")
        page.run("document.querySelector('#key').value = ''")
        enter(page, KEY)
        page.until("document.querySelector('#models').textContent === 'iris:3'")
        assert page.run("document.querySelector('#login').hidden") is True
        assert page.run("document.querySelector('h1').textContent") == HOSTILE
        assert page.run("document.querySelectorAll('img').length") == 0
        schema = json.loads(page.run("document.querySelector('#schema').textContent"))
        assert schema["required"] == ["flower"]
        assert schema["properties"]["flower"]["properties"]["width"] == {"type": "number"}
        body = json.loads(page.run("document.querySelector('#body').value"))
        assert body == {"flower": {"width": 0, "name": ""}, "times": 0}
        body = json.dumps({"flower": {"width": 1.5}, "times": 2})
        page.run(f"document.querySelector('#body').value = {json.dumps(body)}")
        page.until("document.querySelector('#status').textContent.includes('ready')")
        page.click("#send")
        page.until("document.querySelector('#answer').textContent !== ''")
        assert json.loads(page.run("document.querySelector('#answer').textContent")) == {
            "area": 3.0,
            "told": "<b>iris",
        }
        told = page.run("document.querySelector('#outcome').textContent")
        assert re.fullmatch(r"200 in [0-9.]+ ms by iris:3", told)
        page.until("document.querySelector('#status').textContent.includes('1 \u00d7 200')")
        assert "ready" in page.run("document.querySelector('#status').textContent")
        page.run("document.querySelector('#body').value = '{'")
        page.click("#send")
        page.until("document.querySelector('#outcome').textContent.startsWith('400')")
        # What the browser says of the answers with 401 and 400; nothing was refused by the page's policy.
        assert all("responded with a status of 40" in one for one in page.problems()), page.problems()
        assert {re.sub(r"(https?://[^/]+).*", r"\1", one) for one in page.requests()} == {
            f"http://127.0.0.1:{served.port}"
        }
        assert KEY not in "".join(page.requests())

        page.load(f"http://127.0.0.1:{served.port}/docs")
        page.until("document.querySelectorAll('#operations h2').length === 3")
        assert "POST /score" in page.run("document.querySelector('#operations').textContent")


def test_the_page_may_do_little(tmp_path: Path) -> None:
    with serving(tmp_path, SCRIPT) as served:
        for path in ("/", "/docs", "/page/service.js", "/page/service.css"):
            answer = served.ask(path, key="")
            policy = answer.headers["content-security-policy"]
            assert answer.status == 200
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            # Whoever has no key learns nothing of the service.
            assert b"demo" not in answer.body
