"""What the user's own Docker settings say: which engine to ask, and who we are for a registry.

The settings are those of the `docker` command, so that whoever has it working has us working:
https://docs.docker.com/reference/cli/docker/#environment-variables and
https://docs.docker.com/engine/manage-resources/contexts/. Secrets are read, handed on, and shown nowhere.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import TargetError
from amlexec.redaction import learn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "endpoint", "has_login", "registry_header", "registry_of"]

# ruff: noqa: PTH110, PTH112, PTH118, PTH123 - pathlib costs a no-op 3 ms

DEFAULT_SOCKET = "/var/run/docker.sock"
_HUB = "https://index.docker.io/v1/"
"""The name under which Docker Hub stands in every settings file."""


class Endpoint(NamedTuple):
    """Where an engine listens, and with which certificates."""

    address: str
    """`unix://PATH` or `tcp://HOST:PORT`."""
    certificates: str = ""
    """Folder with `ca.pem`, `cert.pem` and `key.pem`; "" for a plain connection."""
    verify: bool = True


def endpoint(environment: Mapping[str, str] | None = None) -> Endpoint:
    """The engine that the `docker` command would ask: DOCKER_HOST, a context, or the first usual socket.

    Raises:
        TargetError: the settings can't be read, or name a context that is not there.
    """
    variables = os.environ if environment is None else environment
    if host := variables.get("DOCKER_HOST"):
        secured = variables.get("DOCKER_TLS_VERIFY") or variables.get("DOCKER_TLS")
        certificates = variables.get("DOCKER_CERT_PATH") or _folder(variables)
        return Endpoint(host, certificates if secured else "", bool(variables.get("DOCKER_TLS_VERIFY")))
    context = variables.get("DOCKER_CONTEXT") or str(_settings(variables).get("currentContext") or "")
    if context and context != "default":
        return _context(context, variables)
    sockets = _usual_sockets(variables)
    return Endpoint(f"unix://{next((path for path in sockets if os.path.exists(path)), DEFAULT_SOCKET)}")


def registry_of(reference: str) -> str:
    """The registry in an image reference: `127.0.0.1:5000/a/b:1` -> `127.0.0.1:5000`, `a` -> `docker.io`."""
    first, slash, _ = reference.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_registry else "docker.io"


def registry_header(registry: str, environment: Mapping[str, str] | None = None) -> str:
    """The value of `X-Registry-Auth` for a registry: who the user is there, `{}` for nobody, in base64.

    Raises:
        TargetError: the settings can't be read, or the credential helper that they name fails.
    """
    import base64

    variables = os.environ if environment is None else environment
    login = _login(registry, _settings(variables), variables)
    return base64.urlsafe_b64encode(json.dumps(login).encode()).decode()


def has_login(registry: str, environment: Mapping[str, str] | None = None) -> bool:
    """Whether Docker's settings name a user for a registry. Raises as `registry_header`."""
    variables = os.environ if environment is None else environment
    return bool(_login(registry, _settings(variables), variables))


def _folder(variables: Mapping[str, str]) -> str:
    return variables.get("DOCKER_CONFIG") or os.path.join(_home(variables), ".docker")


def _home(variables: Mapping[str, str]) -> str:
    return variables.get("HOME") or "/"


def _settings(variables: Mapping[str, str]) -> dict[str, Any]:
    return _read(os.path.join(_folder(variables), "config.json")) or {}


def _read(path: str) -> dict[str, Any] | None:
    """A JSON file's object, or None where there is no such file."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TargetError(
            f"Docker's settings can't be read: {error}", hint="mend or remove the file", where=path
        ) from None
    return value if isinstance(value, dict) else {}


def _context(name: str, variables: Mapping[str, str]) -> Endpoint:
    import hashlib

    contexts = os.path.join(_folder(variables), "contexts")
    key = hashlib.sha256(name.encode()).hexdigest()
    told = (
        (_read(os.path.join(contexts, "meta", key, "meta.json")) or {}).get("Endpoints", {}).get("docker", {})
    )
    if not told.get("Host"):
        raise TargetError(
            f"the Docker context {name!r} is not there",
            hint="`docker context ls` lists them, `docker context use default` goes back to the usual one",
            where=contexts,
        )
    certificates = os.path.join(contexts, "tls", key, "docker")
    return Endpoint(
        str(told["Host"]),
        certificates if os.path.isdir(certificates) else "",
        not told.get("SkipTLSVerify", False),
    )


def _usual_sockets(variables: Mapping[str, str]) -> list[str]:
    """Where engines listen: most, rootless ones, Docker Desktop, Colima, Rancher Desktop, OrbStack."""
    home = _home(variables)
    runtime = variables.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    in_home = (
        ".docker/run/docker.sock",
        ".docker/desktop/docker.sock",
        ".colima/default/docker.sock",
        ".colima/docker.sock",
        ".rd/docker.sock",
        ".orbstack/run/docker.sock",
    )
    return [DEFAULT_SOCKET, f"{runtime}/docker.sock", *(os.path.join(home, path) for path in in_home)]


def _part(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _keys(told: Mapping[str, Any], registry: str) -> list[str]:
    """The keys that mean a registry, as `docker` reads them: by the host, whatever stands around it."""
    return [name for name in told if _host_in(name) == _host_in(registry)]


def _host_in(name: str) -> str:
    """The host in `HOST`, `HOST/`, `https://HOST/v1/` and so on; Docker Hub has several."""
    scheme, _, rest = name.rpartition("://")
    host = (rest if scheme.lower() in {"", "http", "https"} else name).partition("/")[0].lower()
    return "docker.io" if host in {"index.docker.io", "registry-1.docker.io"} else host


def _login(registry: str, settings: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """Who the user is at a registry, in the engine's form; {} for nobody."""
    import base64
    import binascii

    helpers, stored = _part(settings, "credHelpers"), _part(settings, "auths")
    names = [_HUB, "index.docker.io", "docker.io"] if registry == "docker.io" else [registry]
    # Where a helper keeps the logins, the file has the names under which it does.
    for name in dict.fromkeys([*names, *_keys(helpers, registry), *_keys(stored, registry)]):
        helper = helpers.get(name) or settings.get("credsStore")
        if helper and (login := _ask_helper(str(helper), name, variables)):
            return login
    for name in dict.fromkeys([*names, *_keys(stored, registry)]):
        entry = _part(stored, name)
        if entry.get("identitytoken"):
            learn(str(entry["identitytoken"]))
            return {"identitytoken": str(entry["identitytoken"]), "serveraddress": name}
        if entry.get("auth"):
            try:
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise TargetError(
                    f"the login for {name} in Docker's settings is damaged",
                    hint=f"run `docker login {registry}` again",
                    where=os.path.join(_folder(variables), "config.json"),
                ) from None
            learn(password.rstrip("\0"), str(entry["auth"]))
            return {"username": user, "password": password.rstrip("\0"), "serveraddress": name}
    return {}


def _ask_helper(helper: str, name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What `docker-credential-HELPER get` says about a registry. Its protocol: the name in, JSON out."""
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=name.encode(), capture_output=True, timeout=60, env=dict(variables)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it has not answered after 60 s"
        raise TargetError(
            f"the credential helper {program} of Docker's settings can't be asked: {reason}",
            hint=f"install it, or take it out of {os.path.join(_folder(variables), 'config.json')}",
        ) from None
    if done.returncode:
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
        if "not found" in said:
            return {}
        raise TargetError(f"the credential helper {program} failed: {said[:200] or done.returncode}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        # Without the answer itself: there is a secret in it.
        raise TargetError(f"the credential helper {program} gave no login that can be read") from None
    learn(secret)
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": name}
    return {"username": user, "password": secret, "serveraddress": name}
