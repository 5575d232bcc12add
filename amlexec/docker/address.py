"""The address of the engine that the `docker` command would use, without slow imports.

https://docs.docker.com/reference/cli/docker/#environment-variables and
https://docs.docker.com/engine/manage-resources/contexts/. docker-py reads the rest of the settings,
certificates and logins, when it is needed.
"""

from __future__ import annotations

import json
import os

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["engine_address", "settings_file"]

# ruff: noqa: PTH110, PTH118, PTH123 - pathlib costs a no-op 3 ms

_DEFAULT = "/var/run/docker.sock"


def engine_address(environment: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """The engine's address, and whether docker-py finds it itself (from DOCKER_HOST or a context).

    Otherwise it is the first usual socket that exists.

    Raises:
        TargetError: the settings can't be read, or name a context that does not exist.
    """
    variables = os.environ if environment is None else environment
    if host := variables.get("DOCKER_HOST"):
        return host, True
    # Read even if DOCKER_CONTEXT is set: the file also has logins, so an unreadable one is an error.
    current = (_read(settings_file(variables)) or {}).get("currentContext")
    context = variables.get("DOCKER_CONTEXT") or str(current or "")
    if context and context != "default":
        return _context(context, variables), True
    sockets = _usual_sockets(variables)
    return f"unix://{next((path for path in sockets if os.path.exists(path)), _DEFAULT)}", False


def settings_file(environment: Mapping[str, str] | None = None) -> str:
    """The path of Docker's `config.json`."""
    variables = os.environ if environment is None else environment
    return os.path.join(
        variables.get("DOCKER_CONFIG") or os.path.join(_home(variables), ".docker"), "config.json"
    )


def _home(variables: Mapping[str, str]) -> str:
    return variables.get("HOME") or "/"


def _read(path: str) -> dict[str, Any] | None:
    """The object in a JSON file, or None if the file does not exist."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise TargetError(
            f"Docker's settings can't be read: {error}", hint="repair or remove the file", where=path
        ) from None
    return value if isinstance(value, dict) else {}


def _context(name: str, variables: Mapping[str, str]) -> str:
    import hashlib

    contexts = os.path.join(os.path.dirname(settings_file(variables)), "contexts")  # noqa: PTH120
    key = hashlib.sha256(name.encode()).hexdigest()
    endpoints = (_read(os.path.join(contexts, "meta", key, "meta.json")) or {}).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not host or not isinstance(host, str):
        raise TargetError(
            f"the Docker context {name!r} does not exist",
            hint="`docker context ls` lists them, `docker context use default` selects the default",
            where=contexts,
        )
    return host


def _usual_sockets(variables: Mapping[str, str]) -> list[str]:
    """Usual sockets: the default, rootless engines, Docker Desktop, Colima, Rancher, OrbStack, Podman."""
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
    of_docker = [_DEFAULT, f"{runtime}/docker.sock", *(os.path.join(home, path) for path in in_home)]
    return [*of_docker, f"{runtime}/podman/podman.sock", "/run/podman/podman.sock"]
