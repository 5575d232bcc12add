"""The engine and the logins in the user's own Docker settings."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import client
from amlexec.docker.address import engine_address
from amlexec.docker.login import login_of, registry_of
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr3t-value"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Write `config.json`, and set and return the environment in which Docker reads it."""

    def write(**content: Any) -> dict[str, str]:
        (tmp_path / ".docker").mkdir(exist_ok=True)
        (tmp_path / ".docker/config.json").write_text(json.dumps(content), "utf-8")
        environment = {
            "HOME": str(tmp_path),
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(tmp_path),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DOCKER_CONFIG", raising=False)
        return environment

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


class TestAddress:
    def test_host_comes_first(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(currentContext="other")
        told = {**environment, "DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_CONTEXT": "another"}
        assert engine_address(told) == ("tcp://127.0.0.1:1", True)

    def test_context_of_the_environment_before_the_current_one(
        self, settings: Callable[..., dict[str, str]]
    ) -> None:
        environment = settings(currentContext="one")
        _context(environment["HOME"], "one", "unix:///one.sock")
        _context(environment["HOME"], "two", "unix:///two.sock")
        assert engine_address(environment) == ("unix:///one.sock", True)
        assert engine_address({**environment, "DOCKER_CONTEXT": "two"})[0] == "unix:///two.sock"

    def test_unknown_context(self, settings: Callable[..., dict[str, str]]) -> None:
        with pytest.raises(TargetError, match="the Docker context 'gone' does not exist") as caught:
            engine_address(settings(currentContext="gone"))
        assert "docker context ls" in caught.value.hint

    @pytest.mark.parametrize("name", ["docker.sock", "podman/podman.sock"])
    def test_rootless_socket(
        self, settings: Callable[..., dict[str, str]], tmp_path: Path, name: str
    ) -> None:
        environment = settings()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        usual = "/var/run/docker.sock"
        expected = usual if Path(usual).exists() else f"{tmp_path}/{name}"
        assert engine_address({**environment, "DOCKER_CONTEXT": "default"}) == (f"unix://{expected}", False)

    def test_damaged_settings(self, settings: Callable[..., dict[str, str]], tmp_path: Path) -> None:
        environment = settings()
        (tmp_path / ".docker/config.json").write_text("{", "utf-8")
        with pytest.raises(TargetError, match="Docker's settings can't be read") as caught:
            engine_address(environment)
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

    def test_no_login(self, settings: Callable[..., dict[str, str]]) -> None:
        settings()
        assert login_of("r.test") == {}

    @pytest.mark.parametrize(
        ("registry", "key"),
        [
            ("r.test", "r.test"),
            ("r.test", "https://r.test"),
            ("r.test:5000", "r.test:5000/"),
            ("r.test:5000", "http://r.test:5000/v1/"),
            ("docker.io", "https://index.docker.io/v1/"),
            ("docker.io", "index.docker.io"),
        ],
    )
    def test_stored(self, settings: Callable[..., dict[str, str]], registry: str, key: str) -> None:
        stored = base64.b64encode(f"me:{SECRET}:more".encode()).decode()
        settings(auths={key: {"auth": stored}, "other.test": {"auth": "eDp5"}})
        found = login_of(registry)
        assert (found["username"], found["password"]) == ("me", f"{SECRET}:more")

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
    def test_every_key_that_docker_accepts(self, settings: Callable[..., dict[str, str]], key: str) -> None:
        stored = base64.b64encode(f"me:{SECRET}".encode()).decode()
        others = (
            "r.test",
            "r.test:50001",
            "x.r.test:5000",
            "https://r.test/r.test:5000",
            "ftp://r.test:5000",
        )
        auths = {**{other: {"auth": "eDp5"} for other in others}, key: {"auth": stored}}

        def password() -> object:
            found = {name.lower(): value for name, value in login_of("r.test:5000").items()}
            return found.get("password")

        settings(auths=auths)
        assert password() == SECRET
        assert login_of("s.test") == {}
        settings(auths={**auths, "r.test:5000": {}})
        assert password() == (SECRET if key != "r.test:5000" else None)
        environment = settings(credHelpers={key: "mine"})
        lacking = "echo credentials not found in native keychain; exit 1"
        script = f'read -r r; [ "$r" = "{key}" ] || {{ {lacking}; }}'
        answer = f'echo "{{\\"Username\\":\\"me\\",\\"Secret\\":\\"{SECRET}\\"}}"'
        _helper(environment["HOME"], "mine", f"{script}\n{answer}")
        assert password() == SECRET
        settings(credsStore="mine", auths={key: {}})
        assert password() == SECRET

    @pytest.mark.parametrize(
        "key", ["docker.io", "index.docker.io", "https://index.docker.io/v1", "registry-1.docker.io"]
    )
    def test_docker_hub_has_several_names(self, settings: Callable[..., dict[str, str]], key: str) -> None:
        settings(auths={key: {"auth": "eDp5"}})
        assert login_of("docker.io")["username"] == "x"

    def test_identity_token(self, settings: Callable[..., dict[str, str]]) -> None:
        settings(auths={"r.test": {"identitytoken": SECRET}})
        assert login_of("r.test") == {"IdentityToken": SECRET}

    @pytest.mark.parametrize(
        "auth", ["/w==", "x", f"not base64 {SECRET}", base64.b64encode(b"nobody").decode()]
    )
    def test_damaged(self, settings: Callable[..., dict[str, str]], auth: str) -> None:
        settings(auths={"r.test": {"auth": auth}})
        with pytest.raises(TargetError, match=r"the login for r\.test can't be read") as caught:
            login_of("r.test")
        assert "docker login r.test" in caught.value.hint
        assert SECRET not in "".join(caught.value.lines())

    def test_damaged_where_no_login_is_needed(self, settings: Callable[..., dict[str, str]]) -> None:
        settings(auths={"r.test": {"auth": "/w=="}})
        with pytest.raises(TargetError, match="a login in them is damaged") as caught:
            client.Engine("unix:///nowhere").info()
        assert caught.value.where.endswith("/.docker/config.json")

    def test_helper(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credHelpers={"r.test": "mine"}, auths={"r.test": {"auth": "eDp5"}})
        _helper(
            environment["HOME"],
            "mine",
            f'[ "$*" = get ] && read -r r; echo "{{\\"Username\\":\\"$r\\",\\"Secret\\":\\"{SECRET}\\"}}"',
        )
        expected = {"Username": "r.test", "Password": SECRET, "ServerAddress": "r.test"}
        assert login_of("r.test") == expected

    def test_helper_with_a_token(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", f'echo \'{{"Username":"<token>","Secret":"{SECRET}"}}\'')
        assert login_of("r.test")["IdentityToken"] == SECRET

    def test_helper_without_a_login(self, settings: Callable[..., dict[str, str]]) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", "echo credentials not found in native keychain; exit 1")
        assert login_of("r.test") == {}

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            pytest.param(f"echo {SECRET}; exit 1", "failed", id="fails"),
            pytest.param(f"echo {SECRET}", "no readable login", id="unreadable"),
            pytest.param(f'echo \'{{"Secret":"{SECRET}"}}\'', "no readable login", id="incomplete"),
        ],
    )
    def test_helper_that_fails(self, settings: Callable[..., dict[str, str]], script: str, said: str) -> None:
        environment = settings(credsStore="mine")
        _helper(environment["HOME"], "mine", script)
        with pytest.raises(TargetError, match=f"docker-credential-mine.*{said}") as caught:
            login_of("r.test")
        assert SECRET not in "".join(caught.value.lines())

    def test_missing_helper(self, settings: Callable[..., dict[str, str]]) -> None:
        settings(credsStore="gone")
        with pytest.raises(TargetError, match=r"docker-credential-gone .* not on PATH") as caught:
            login_of("r.test")
        assert "config.json" in caught.value.hint
