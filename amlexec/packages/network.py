"""The user's settings for fetching packages, and which tool gets which of them.

| what | from; the first that is set counts | used by |
|---|---|---|
| proxies | HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY in either case; pip's `proxy` | uv, pip |
| proxies | the same variables; `proxy_servers` of `.condarc`; pip's `proxy` | solver |
| CA bundle | SSL_CERT_FILE, and after it PIP_CERT, pip's `cert`, REQUESTS_CA_BUNDLE, ... | uv, pip |
| CA bundle | SSL_CERT_FILE; `ssl_verify` of `.condarc` | solver |
| indexes | PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ..., else `pip.conf` | uv, pip |
| channels | CONDA_CHANNEL_ALIAS, else `channel_alias` and `default_channels` of `.condarc` | solver |
| passwords | addresses, NETRC, rattler's own store (RATTLER_AUTH_FILE) | solver, uv, pip |

None of it is part of a digest: it does not decide which packages are installed.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import ConfigurationError
from amlexec.packages import condarc
from amlexec.packages.urls import Secret, secrets, with_login_encoded
from amlexec.redaction import learn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rattler.networking import Client

__all__ = [
    "Network",
    "build_variables",
    "cache_folder",
    "client",
    "rattler_settings",
    "settings",
    "uv_variables",
]

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_PROXY = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@\s]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?/?"
)
_PROXY_KINDS = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
_BUNDLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DEFAULTS = (
    Secret("https://repo.anaconda.com/pkgs/main"),
    Secret("https://repo.anaconda.com/pkgs/r"),
)
"""conda's meaning of `defaults` on all systems except Windows."""
_UV_MAY_READ = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "NETRC"),
    *("SSL_CERT_DIR", "SSL_CLIENT_CERT", "UV_HTTP_TIMEOUT", "UV_KEYRING_PROVIDER", "UV_CREDENTIALS_DIR"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK"),
)
"""uv's other settings are not passed: they could change what is installed."""


class Network(NamedTuple):
    """How packages are fetched on this machine. Its repr shows no password."""

    ca_bundle: str = ""
    """A file with certificates; "" for the system's."""
    proxies: tuple[tuple[str, Secret], ...] = ()
    """Lower-case names of variables, with their values."""
    index_url: Secret = Secret("")
    extra_index_urls: tuple[Secret, ...] = ()
    find_links: tuple[Secret, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    channel_alias: Secret = Secret("https://conda.anaconda.org/")
    default_channels: tuple[Secret, ...] = _DEFAULTS
    passed_on: tuple[tuple[str, Secret], ...] = ()
    """Variables that are passed to uv unchanged."""
    channel_proxies: tuple[tuple[str, Secret], ...] = ()
    """Proxies for channels, in the form of `proxies`."""
    channel_ca_bundle: str = ""
    """A file with the certificates of channels; "" for the system's."""
    verifies_channels: bool = True
    """False if the user's conda is configured not to verify the certificates of channels."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address in it, to hide their passwords in the output of tools."""
        return (
            *(value for _, value in (*self.proxies, *self.channel_proxies)),
            self.index_url,
            *self.extra_index_urls,
            *self.find_links,
            self.channel_alias,
            *self.default_channels,
        )


def settings(environment: Mapping[str, str] | None = None) -> Network:
    """Read the settings from the user's environment and configuration files.

    Raises:
        ConfigurationError: a named file does not exist or can't be read.
    """
    variables = os.environ if environment is None else environment
    pip = _pip(variables)
    conda = condarc.read(variables)
    own = {name: variables.get(name) or variables.get(name.upper()) or "" for name in _PROXIES}
    bundle = _bundle(variables, pip)
    return Network(
        ca_bundle=bundle or conda.ca_bundle,
        proxies=_proxies(own, {"https": pip.get("proxy", ""), "http": pip.get("proxy", "")}, conda.proxies),
        index_url=Secret(pip.get("index-url", "")),
        extra_index_urls=_secrets(pip.get("extra-index-url", "")),
        find_links=_secrets(pip.get("find-links", "")),
        trusted_hosts=tuple(pip.get("trusted-host", "").split()),
        no_index=pip.get("no-index", "").lower() in {"1", "true", "yes", "on"},
        passed_on=tuple((name, Secret(variables[name])) for name in _UV_MAY_READ if variables.get(name)),
        channel_alias=conda.channel_alias or Network().channel_alias,
        default_channels=conda.default_channels or _DEFAULTS,
        channel_proxies=_proxies(
            own, conda.proxies, {"https": pip.get("proxy", ""), "http": pip.get("proxy", "")}
        ),
        channel_ca_bundle=bundle
        if variables.get("SSL_CERT_FILE") or not conda.ca_bundle
        else conda.ca_bundle,
        verifies_channels=conda.verifies,
    )


def _proxies(own: Mapping[str, str], *settings: Mapping[str, str]) -> tuple[tuple[str, Secret], ...]:
    """The proxies of the variables, else of the first settings that have any."""
    proxies = dict(own)
    if not any(own[name] for name in _PROXIES[:3]):
        chosen = next((each for each in settings if any(each.values())), {})
        proxies |= {f"{scheme}_proxy": value for scheme, value in chosen.items() if value}
    return tuple((name, _proxy(name, proxies[name])) for name in _PROXIES if proxies[name])


def _proxy(name: str, value: str) -> Secret:
    """A proxy in the form that every program accepts. Errors don't show it: it may hold a password."""
    if name == "no_proxy":
        return Secret(value)
    # curl and pip accept `host:port` too.
    address = with_login_encoded((value if "://" in value else f"http://{value}").strip())
    shape = _PROXY.fullmatch(address)
    if shape is None or shape[1].lower() not in _PROXY_KINDS:
        wrong = "is not a proxy address" if shape is None else f"names a proxy of the unknown kind {shape[1]}"
        raise ConfigurationError(
            f"{name.upper()} (or pip's `proxy`) {wrong}",
            hint="write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with %XX for special characters "
            "in a password",
        )
    learn(*secrets(address))
    return Secret(address)


def _secrets(text: str) -> tuple[Secret, ...]:
    return tuple(_address(word) for word in text.split())


def _address(text: str) -> Secret:
    """An address of packages; its passwords are redacted from now on."""
    address = with_login_encoded(text)
    learn(*secrets(address))
    return Secret(address)


def _bundle(variables: Mapping[str, str], pip: Mapping[str, str]) -> str:
    named = {name: variables[name] for name in _BUNDLES if variables.get(name)}
    if "cert" in pip:
        named.setdefault("PIP_CERT", pip["cert"])
    for name in _BUNDLES:
        if name in named:
            # requests and curl accept a folder too; no other tool does.
            if Path(named[name]).is_dir() and name != "SSL_CERT_FILE":
                continue
            if not Path(named[name]).is_file():
                raise ConfigurationError(
                    f"there is no CA bundle {named[name]}, which {name} names",
                    hint=f"correct {name}, or pip's `cert` setting, or remove it",
                )
            return str(Path(named[name]).absolute())
    return ""


def _pip(variables: Mapping[str, str]) -> dict[str, str]:
    """pip's settings: files, then PIP_* variables; later ones take precedence.

    https://pip.pypa.io/en/stable/topics/configuration/
    """
    values: dict[str, str] = {}
    for path in _pip_files(variables):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, "utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"pip's settings cannot be read: {reason}", where=str(path)) from error
        for section in ("global", "install"):
            if parser.has_section(section):
                values |= {key.replace("_", "-"): value for key, value in parser.items(section) if value}
    for name, value in variables.items():
        if name.startswith("PIP_") and value and name != "PIP_CONFIG_FILE":
            values[name[4:].lower().replace("_", "-")] = value
    return values


def _pip_files(variables: Mapping[str, str]) -> Iterator[Path]:
    chosen = variables.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return
    home = Path(variables["HOME"]) if variables.get("HOME") else Path.home()
    for folder in reversed((variables.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder, "pip/pip.conf")
    yield Path("/etc/pip.conf")
    yield home / ".pip/pip.conf"
    yield Path(variables.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")
    if variables.get("VIRTUAL_ENV"):
        yield Path(variables["VIRTUAL_ENV"], "pip.conf")
    if chosen:
        yield Path(chosen)


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The cache of packages and channel data: AMLEXEC_CACHE, else a folder in the user's cache."""
    given = (os.environ if environment is None else environment).get("AMLEXEC_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("amlexec", appauthor=False)


def uv_variables(network: Network) -> dict[str, str]:
    """The complete environment of a uv process."""
    variables = {name: str(value) for name, value in network.passed_on}
    variables |= {name.upper(): str(value) for name, value in network.proxies}
    if network.ca_bundle:
        variables["SSL_CERT_FILE"] = network.ca_bundle
    return variables


def build_variables(network: Network) -> dict[str, Secret]:
    """The environment of pip in an image build, except the CA bundle, which has to be copied there.

    Values may hold passwords: never put them into build arguments, labels or files of the image.
    """
    variables = dict(network.proxies)
    variables |= {name.upper(): value for name, value in network.proxies}
    lists = {"PIP_EXTRA_INDEX_URL": network.extra_index_urls, "PIP_TRUSTED_HOST": network.trusted_hosts}
    variables |= {name: Secret(" ".join(values)) for name, values in lists.items() if values}
    if network.index_url:
        variables["PIP_INDEX_URL"] = network.index_url
    if network.no_index:
        variables["PIP_NO_INDEX"] = Secret("1")
    return variables


def client(network: Network) -> Client:
    """rattler's client, with its store of passwords, and these proxies and certificates."""
    from rattler import Config
    from rattler.networking import Client

    try:
        with _certificates(network.channel_ca_bundle):
            return Client.from_config(Config.from_toml(rattler_settings(network)), user_agent="amlexec")
    except Exception:
        # Without rattler's message: it shows the invalid line, with the password in it.
        raise ConfigurationError(
            "the proxy settings cannot be used",
            hint="see HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, `proxy_servers` of .condarc and pip's "
            "`proxy`",
        ) from None


@contextlib.contextmanager
def _certificates(bundle: str) -> Iterator[None]:
    """Set SSL_CERT_FILE while a client is made: rattler reads it only from the environment."""
    if not bundle or os.environ.get("SSL_CERT_FILE"):
        yield
        return
    os.environ["SSL_CERT_FILE"] = bundle
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]


def rattler_settings(network: Network) -> str:
    """rattler's configuration of proxies and certificates, as TOML.

    rattler finds the certificates by SSL_CERT_FILE.
    """
    lines = ['tls-root-certs = "system"'] if network.channel_ca_bundle else []
    lines += [] if network.verifies_channels else ["tls-no-verify = true"]
    proxies = dict(network.channel_proxies)
    if proxies.get("https_proxy") or proxies.get("http_proxy"):
        lines.append("[proxy-config]")
        lines += [f"{name[:-6]} = {_toml(proxies[name])}" for name in _PROXIES[:2] if name in proxies]
        if proxies.get("no_proxy"):
            hosts = ", ".join(_toml(host.strip()) for host in proxies["no_proxy"].split(",") if host.strip())
            lines.append(f"non-proxy-hosts = [{hosts}]")
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """Text as a string of TOML, https://toml.io/en/v1.0.0#string."""
    plain = "".join(
        char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}"
        for char in text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
    return f'"{plain}"'
