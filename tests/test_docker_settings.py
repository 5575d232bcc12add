"""Which engine and which login the user's own Docker settings mean."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker.settings import Endpoint, endpoint, registry_header, registry_of
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr3t-value"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Write `config.json`, and give the environment in which it counts."""

    def write(**content: Any) -> dict[str, str]:
        (tmp_path / ".docker").mkdir(exist_ok=True)
        (tmp_path / ".docker/config.json").write_text(json.dumps(content), "utf-8")
        return {
            "HOME": str(tmp_path),
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(tmp_path),
        }

    return write


def _context(home: str, name: str, host: str) -> None:
    folder = Path(home, ".docker/contexts/meta", hashlib.sha256(name.encode()).hexdigest())
    folder.mkdir(parents=True)
    told = {"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(told), "utf-8")


def _helper(home: str, name: str, script: str) -> None:
    program = Path(home, "bin", f"docker-credential-{name}")
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)


def _login(registry: str, environment: dict[str, str]) -> dict[str, str]:
    return dict(json.loads(base64.urlsafe_b64decode(registry_header(registry, environment))))


class TestEndpoint:
    def test_host_comes_first(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(currentContext="other")
        told = {**environment, "DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_CONTEXT": "another"}
        assert endpoint(told) == Endpoint("tcp://127.0.0.1:1", "", verify=False)

    def test_host_with_certificates(self, settings: Callable[..., dict[str, str]]) -> None:
        told = {**settings(), "DOCKER_HOST": "tcp://h:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}
        assert endpoint(told) == Endpoint("tcp://h:1", "/c", verify=True)

    def test_context_of_the_environment_before_the_current_one(
        self, settings: Callable[..., dict[str, str]]
    ) -> None:
        environment = settings(currentContext="one")
        _context(environment["HOME"], "one", "unix:///one.sock")
        _context(environment["HOME"], "two", "unix:///two.sock")
        assert endpoint(environment).address == "unix:///one.sock"
        assert endpoint({**environment, "DOCKER_CONTEXT": "two"}).address == "unix:///two.sock"

    def test_context_that_is_not_there(self, settings: Callable[..., dict[str, str]]) -> None:
        with pytest.raises(TargetError, match="the Docker context 'gone' is not there") as caught:
            endpoint(settings(currentContext="gone"))
        assert "docker context ls" in caught.value.hint

    def test_rootless_socket(self, settings: Callable[..., dict[str, str]], tmp_path: Path) -> None:
        environment = settings()
        (tmp_path / "docker.sock").touch()
        usual = "/var/run/docker.sock"
        expected = usual if Path(usual).exists() else f"{tmp_path}/docker.sock"
        assert endpoint({**environment, "DOCKER_CONTEXT": "default"}).address == f"unix://{expected}"

    def test_damaged_settings(self, settings: Callable[..., dict[str, str]], tmp_path: Path) -> None:
        environment = settings()
        (tmp_path / ".docker/config.json").write_text("{", "utf-8")
        with pytest.raises(TargetError, match="Docker's settings can't be read") as caught:
            endpoint(environment)
        assert caught.value.where == f"{tmp_path}/.docker/config.json"


class TestLogin:
    @pytest.mark.parametrize(
        ("reference", "registry"),
        [
            ("a", "docker.io"),
            ("a/b:1", "docker.io"),
            ("localhost/a", "localhost"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000"),
            ("r.test/a@sha256:0f", "r.test"),
        ],
    )
    def test_registry_of_a_reference(self, reference: str, registry: str) -> None:
        assert registry_of(reference) == registry

    def test_nobody(self, settings: Callable[..., dict[str, str]]) -> None:
        assert _login("r.test", settings()) == {}

    @pytest.mark.parametrize(
        ("registry", "key"),
        [("r.test", "r.test"), ("r.test", "https://r.test"), ("docker.io", "https://index.docker.io/v1/")],
    )
    def test_stored(self, settings: Callable[..., dict[str, str]], registry: str, key: str) -> None:
        stored = base64.b64encode(f"me:{SECRET}:more".encode()).decode()
        environment = settings(auths={key: {"auth": stored}, "other.test": {"auth": "eDp5"}})
        expected = {"username": "me", "password": f"{SECRET}:more", "serveraddress": key}
        assert _login(registry, environment) == expected

    @pytest.mark.parametrize(
        "key",
        [
            *(
                "r.test:5000",
                "r.test:5000/",
                "https://r.test:5000",
                "https://r.test:5000/v1/",
                "HTTPS://R.test:5000",
            ),
            *(
                "http://r.test:5000/",
                "http://r.test:5000/v2/",
                "r.test:5000/team",
                "https://r.test:5000/team/more",
            ),
        ],
    )
    def test_every_key_that_docker_takes(self, settings: Callable[..., dict[str, str]], key: str) -> None:
        stored = base64.b64encode(f"me:{SECRET}".encode()).decode()
        others = (
            "r.test",
            "r.test:50001",
            "x.r.test:5000",
            "https://r.test/r.test:5000",
            "ftp://r.test:5000",
        )
        auths = {**{other: {"auth": "eDp5"} for other in others}, key: {"auth": stored}}
        expected = {"username": "me", "password": SECRET, "serveraddress": key}
        assert _login("r.test:5000", settings(auths=auths)) == expected
        assert _login("r.test:5000", settings(auths={**auths, "r.test:5000": {}})) == (
            expected if key != "r.test:5000" else {}
        )
        assert _login("s.test", settings(auths=auths)) == {}
        environment = settings(credHelpers={key: "mine"}, auths={"r.test:5000": "nothing", "x": None})
        script = f'read -r r; [ "$r" = "{key}" ] || {{ echo credentials not found; exit 1; }}'
        answer = f'echo "{{\\"Username\\":\\"me\\",\\"Secret\\":\\"{SECRET}\\"}}"'
        _helper(environment["HOME"], "mine", f"{script}\n{answer}")
        assert _login("r.test:5000", environment) == expected
        environment = settings(credsStore="mine", auths={key: {}})
        assert _login("r.test:5000", environment) == expected

    @pytest.mark.parametrize(
        "key", ["docker.io", "index.docker.io", "https://index.docker.io/v1", "registry-1.docker.io"]
    )
    def test_docker_hub_has_several_names(self, settings: Callable[..., dict[str, str]], key: str) -> None:
        assert _login("docker.io", settings(auths={key: {"auth": "eDp5"}}))["username"] == "x"

    def test_identity_token(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(auths={"r.test": {"identitytoken": SECRET}})
        assert _login("r.test", environment) == {"identitytoken": SECRET, "serveraddress": "r.test"}

    def test_damaged(self, settings: Callable[..., dict[str, str]]) -> None:
        with pytest.raises(TargetError, match=r"the login for r\.test in Docker's settings is damaged"):
            registry_header("r.test", settings(auths={"r.test": {"auth": "/w=="}}))

    def test_helper(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credHelpers={"r.test": "mine"}, auths={"r.test": {"auth": "eDp5"}})
        _helper(
            environment["HOME"],
            "mine",
            f'[ "$*" = get ] && read -r r; echo "{{\\"Username\\":\\"$r\\",\\"Secret\\":\\"{SECRET}\\"}}"',
        )
        expected = {"username": "r.test", "password": SECRET, "serveraddress": "r.test"}
        assert _login("r.test", environment) == expected

    def test_helper_with_a_token(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", f'echo \'{{"Username":"<token>","Secret":"{SECRET}"}}\'')
        assert _login("r.test", environment)["identitytoken"] == SECRET

    def test_helper_that_knows_nobody(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", "echo credentials not found in native keychain; exit 1")
        assert _login("r.test", environment) == {}

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            pytest.param("echo locked >&2; exit 1", "failed: locked", id="fails"),
            pytest.param(f"echo {SECRET}", "gave no login", id="unreadable"),
            pytest.param(f'echo \'{{"Secret":"{SECRET}"}}\'', "gave no login", id="incomplete"),
        ],
    )
    def test_helper_that_fails(self, settings: Callable[..., dict[str, str]], script: str, said: str) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", script)
        with pytest.raises(TargetError, match=f"docker-credential-mine.*{said}") as caught:
            registry_header("r.test", environment)
        assert SECRET not in "".join(caught.value.lines())

    def test_helper_that_is_not_there(self, settings: Callable[..., dict[str, str]]) -> None:
        with pytest.raises(TargetError, match=r"docker-credential-gone.*No such file") as caught:
            registry_header("r.test", settings(credsStore="gone"))
        assert "config.json" in caught.value.hint
