"""Logins for registries, from Docker's own settings and credential helpers."""

from __future__ import annotations

import os
import shutil

from amlexec.docker.address import settings_file
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.redaction import learn

if TYPE_CHECKING:
    from typing import Any

__all__ = ["login_of", "registry_of"]

_SECRETS = ("password", "Password", "IdentityToken")


def registry_of(reference: str) -> str:
    """The registry in an image reference: `127.0.0.1:5000/a/b:1` -> `127.0.0.1:5000`, `a` -> `docker.io`."""
    first, slash, _ = reference.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_registry else "docker.io"


def login_of(registry: str) -> dict[str, Any]:
    """The login for a registry in the engine's form; {} for none.

    Raises:
        TargetError: the settings can't be read, or their credential helper fails.
    """
    from docker import auth
    from docker.errors import InvalidConfigFile

    where = settings_file()
    try:
        known = auth.load_config(where if os.path.exists(where) else None)  # noqa: PTH110
    except (InvalidConfigFile, ValueError):
        # Without the error's text: it may contain a login.
        raise TargetError(
            f"the login for {registry} can't be read: Docker's settings contain a damaged login",
            where=where,
            hint=f"run `docker login {registry}` again",
        ) from None
    found: dict[str, Any] = {}
    for name in _names(known, registry):
        found = _resolved(known, name, where) or dict(known.auths.get(name) or {})
        if found:
            break
    # An engine's messages may repeat what it was sent.
    learn(*(str(found[key]) for key in _SECRETS if found.get(key)))
    return found


def _names(known: Any, registry: str) -> list[str]:
    """The names in the settings that mean a registry: those with its host, as for the `docker` command.

    docker-py does this for logins in the file, but not for those of a helper.
    """
    same = (name for name in (*known.cred_helpers, *known.auths) if _host_in(name) == _host_in(registry))
    return list(dict.fromkeys([registry, *same]))


def _host_in(name: str) -> str:
    """The host in `HOST`, `HOST/`, `https://HOST/v1/` and so on; Docker Hub has several."""
    scheme, _, rest = name.rpartition("://")
    host = (rest if scheme.lower() in {"", "http", "https"} else name).partition("/")[0].lower()
    return "docker.io" if host in {"index.docker.io", "registry-1.docker.io"} else host


def _resolved(known: Any, name: str, where: str) -> dict[str, Any]:
    from docker import auth
    from docker.credentials.errors import StoreError
    from docker.errors import DockerException

    store = known.get_credential_store(name)
    helper = f"docker-credential-{store}"
    if store and shutil.which(helper) is None:
        raise TargetError(
            f"the credential helper {helper} of Docker's settings is not on PATH",
            hint=f"install it, or remove it from {where}",
        )
    try:
        return dict(auth.resolve_authconfig(known, name) or {})
    except (StoreError, DockerException):
        raise TargetError(
            f"the credential helper {helper} of Docker's settings failed",
            hint=f"run it by hand to see why: echo {name} | {helper} get",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the answer's text: it contains a secret.
        raise TargetError(f"the credential helper {helper} returned no readable login") from None
