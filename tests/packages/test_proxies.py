"""A proxy's password may hold any character: it works, or it is refused without being shown."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest
from uv import find_uv_bin

from amlexec.errors import ConfigurationError
from amlexec.packages import network
from amlexec.packages.urls import with_login_encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ProjectFolder

PASSWORDS = [
    'hush"hush/1',
    "grün-grün",
    "back\\slash",
    "two  blanks",
    "100%hush",
    "hash#hush",
    "at@hush@2",
    "quest?hush",
    "it's hush",
    "hush\u7f51hush",
    "hush:hush",
    "[hush]",
    "plain-hush",
    "%41lready%22",
]


class Proxy(ThreadingHTTPServer):
    """A proxy that refuses every request, and records the logins."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refusal)
        self.logins: set[str] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Refusal(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        word = self.headers.get("Proxy-Authorization", "").partition(" ")[2]
        assert isinstance(self.server, Proxy)
        self.server.logins.add(base64.b64decode(word).decode())
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_CONNECT = _refuse  # noqa: N815 - as http.server calls them

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def variables(value: str) -> dict[str, str]:
    """An environment with that proxy and no other settings of this machine's network."""
    left = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**left, "HTTPS_PROXY": value, "HTTP_PROXY": value, "PIP_CONFIG_FILE": os.devnull}


def is_told(password: str, text: str) -> bool:
    """Whether a text contains the password, or a large part of it, in any encoding."""
    whole = {password, quote(password, safe=""), " ".join(password.split()), repr(password)[1:-1]}
    return any(one in text for one in whole) or "hush" in text or "grün" in text or "%41lready" in text


@pytest.mark.parametrize("password", PASSWORDS)
def test_every_program_sends_the_right_password(proxy: Proxy, password: str) -> None:
    found = network.settings(variables(f"http://ada:{password}@{proxy.address}"))
    meant = 'Already"' if password.startswith("%41") else password
    proxy.logins.clear()
    done = subprocess.run(
        [
            find_uv_bin(),
            "pip",
            "compile",
            "-",
            "--no-config",
            "--index-url",
            "http://nowhere.example.org/simple",
        ],
        input="six\n",
        env={**network.uv_variables(found), "UV_HTTP_RETRIES": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert proxy.logins == {f"ada:{meant}"}, done.stderr
    assert network.client(found) is not None


@pytest.mark.parametrize(
    "password", ['hush"hush/1', "grün-grün", "back\\slash", "two  blanks", "100%hush", "hash#hush"]
)
def test_no_command_shows_it(project: ProjectFolder, proxy: Proxy, password: str) -> None:
    project.write("aml_config/docker.compute", "type: docker\nbaseDockerImage: debian:bookworm-slim\n")
    project.write("aml_config/docker.runconfig", "Target: docker\nFramework: Python\n")
    project.write(
        "aml_config/conda_dependencies.yml",
        "channels: ['http://nowhere.example.org/channel']\ndependencies: ['python=3.12']\n",
    )
    proxy.logins.clear()
    environment = variables(f"http://ada:{password}@{proxy.address}")
    done = project.amlexec("lock", "-c", "docker", env=environment)
    assert done.code == 2, done.err
    assert not is_told(password, done.out + done.err)
    # A connection of the test before may be answered late.
    assert f"ada:{password}" in proxy.logins


@pytest.mark.parametrize(
    "value",
    [
        "ftp://ada:hush-hush@127.0.0.1:3128",
        "http://ada:hush-hush@",
        "http://ada:hush-hush@ho st:3128",
        "http://ada:hush-hush@127.0.0.1:port",
        "http://ada:hush-hush@127.0.0.1:3128/path",
        "ada:hush-hush",
        "http://:hush-hush@[::1:3128",
        "http://ada:hush-hush@127.0.0.1:3128?x\x1b[1m",
    ],
)
def test_an_invalid_proxy_is_refused_without_showing_it(project: ProjectFolder, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        network.settings(variables(value))
    told = " ".join(caught.value.lines())
    assert told.startswith("error: HTTP")
    assert "_PROXY" in told
    assert "hush" not in told


def test_a_proxy_without_a_scheme_and_one_that_pip_names() -> None:
    found = network.settings(variables("ada:pw@proxy.example.org:3128"))
    assert dict(found.proxies)["https_proxy"] == "http://ada:pw@proxy.example.org:3128"


@pytest.mark.parametrize("password", PASSWORDS)
def test_an_address_of_packages_is_encoded_once(password: str) -> None:
    address = with_login_encoded(f"https://ada:{password}@host.example.org:8443/simple/")
    assert with_login_encoded(address) == address
    parts = urlsplit(address)
    assert (parts.hostname, parts.port, parts.path) == ("host.example.org", 8443, "/simple/")
    assert address.isascii()


@pytest.mark.parametrize(
    "address",
    [
        "https://host/a@b/c",
        "git+ssh://git@host/x.git@v1",
        "https://host/x?user=a@b",
        "file:///a@b",
        "six",
        "",
        "https://t0k3n@host/simple",
    ],
)
def test_a_valid_address_is_unchanged(address: str) -> None:
    assert with_login_encoded(address) == address
