"""Read the user's conda settings for channels, proxies and certificates.

https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/use-condarc.html: later
files take precedence, and variables in values are expanded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import ConfigurationError
from amlexec.packages.urls import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Conda", "read"]

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_FALSE = frozenset(["false", "no", "off", "0"])
_TRUE = frozenset(["", "true", "yes", "on", "1", "truststore"])


class Conda(NamedTuple):
    """The settings for access to packages. Its repr shows no password."""

    channel_alias: Secret = Secret("")
    """"" if it is not set."""
    default_channels: tuple[Secret, ...] = ()
    proxies: Mapping[str, Secret] = {}
    """By scheme, `http` or `https`."""
    ca_bundle: str = ""
    """A file with certificates; "" for the system's."""
    verifies: bool = True
    """False if certificates are not verified."""


def read(variables: Mapping[str, str]) -> Conda:
    """Read the settings. `variables` is the environment.

    Raises:
        ConfigurationError: a file can't be read, or names a certificate file that does not exist.
    """
    values: dict[str, Any] = {}
    for path in _files(variables):
        values |= {key: (value, path) for key, value in _read(path).items()}
    if variables.get("CONDA_CHANNEL_ALIAS"):
        values["channel_alias"] = (variables["CONDA_CHANNEL_ALIAS"], "CONDA_CHANNEL_ALIAS")
    if variables.get("CONDA_SSL_VERIFY"):
        values["ssl_verify"] = (variables["CONDA_SSL_VERIFY"], "CONDA_SSL_VERIFY")

    def value(key: str, kind: type) -> Any:
        content = values.get(key, (None, ""))[0]
        return content if isinstance(content, kind) else kind()

    def filled(text: object) -> Secret:
        return Secret(_VARIABLE.sub(lambda match: variables.get(match[1] or match[2]) or match[0], str(text)))

    servers = value("proxy_servers", dict)
    verify, where = values.get("ssl_verify", (True, ""))
    bundle, verifies = _verification(verify, where, variables)
    return Conda(
        filled(value("channel_alias", str)),
        tuple(filled(channel) for channel in value("default_channels", list) if isinstance(channel, str)),
        {scheme: filled(servers[scheme]) for scheme in ("https", "http") if servers.get(scheme)},
        bundle,
        verifies,
    )


def _verification(verify: object, where: object, variables: Mapping[str, str]) -> tuple[str, bool]:
    """The certificate file, and whether certificates are verified."""
    text = str(verify).strip()
    if text.lower() in _TRUE:
        return "", True
    if text.lower() in _FALSE:
        return "", False
    path = Path(_home(variables), text[2:]) if text.startswith("~/") else Path(text)
    if path.is_dir():
        return "", True  # conda accepts a folder too; no other tool does
    if not path.is_file():
        raise ConfigurationError(
            f"there is no CA bundle {path}, which conda's ssl_verify names",
            where=str(where),
            hint="correct the setting, or remove it",
        )
    return str(path.absolute()), True


def _home(variables: Mapping[str, str]) -> Path:
    return Path(variables["HOME"]) if variables.get("HOME") else Path.home()


def _files(variables: Mapping[str, str]) -> Iterator[Path]:
    home = _home(variables)
    for folder in (
        Path("/etc/conda"),
        Path(variables.get("XDG_CONFIG_HOME") or home / ".config", "conda"),
        home / ".conda",
    ):
        yield from (folder / ".condarc", folder / "condarc")
    yield home / ".condarc"
    if variables.get("CONDARC"):
        yield Path(variables["CONDARC"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError("conda's settings cannot be read", where=str(path)) from error
    return content if isinstance(content, dict) else {}
