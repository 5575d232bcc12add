"""What the server is told: a JSON file of the image, and the variables AMLEXEC_SERVICE_… of its container."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, NamedTuple

__all__ = ["Settings", "SettingsError", "read"]

_PREFIX = "AMLEXEC_SERVICE_"
_TRUE = {"1", "true", "yes"}


class SettingsError(Exception):
    """A setting can't be used."""


class Settings(NamedTuple):
    """All settings. A variable has the name of its field in capitals: AMLEXEC_SERVICE_BODY_LIMIT."""

    script: str
    """The path of the scoring script."""
    name: str = "service"
    models: tuple[Mapping[str, Any], ...] = ()
    """`name`, `version` and `path` (relative to `model_root`) of each model."""
    model_root: str = ""
    """The folder with all models: NAME/VERSION/FILE."""
    sample: str = ""
    """A request that the page shows, if the script declares none."""
    host: str = "127.0.0.1"
    port: int = 8000
    key: str = ""
    key_file: str = ""
    """A file with one or more keys, a line each."""
    insecure: bool = False
    """Whether requests need no key."""
    concurrency: int = 0
    """How many requests `run` handles at once; 0: one, or 64 if it is a coroutine."""
    queue: int = 1000
    """How many requests wait for `run`; more are refused with 503."""
    body_limit: int = 16 << 20
    """The largest body of a request, in bytes."""
    held_limit: int = 512 << 20
    """The most bytes of all bodies that are in memory at once."""
    body_timeout: float = 30.0
    """How long a client may send nothing while its body is read, in seconds."""
    init_timeout: float = 300.0
    """How long `init` may take, in seconds."""
    grace: float = 30.0
    """How long requests may take after SIGTERM, in seconds."""
    drain: float = 10.0
    """How long idle connections stay open after another version has replaced this one, in seconds."""
    nan: str = "null"
    """What NaN in an answer becomes: `null`, or with `strict` an error."""
    tracebacks: bool = False
    """Whether answers about errors of the script have its traceback."""
    access_log: bool = True
    certificate: str = ""
    """A file with the certificate chain and the private key, for TLS."""
    join: str = ""
    """The socket of the listener, which passes the public port's socket."""
    generation: int = 0
    """Which deployment this is a replica of."""
    replica: str = ""
    """Its name among them, for `/metrics`; "" for the machine's."""
    log_folder: str = ""
    """Where requests and answers are logged; "" for nowhere."""
    log_sample: float = 1.0
    """The share of requests that is logged, from 0 to 1."""
    log_redact: tuple[str, ...] = ()
    """Names of fields whose values are left out of that log."""
    log_size: int = 10 << 20
    """How large a file of the log becomes, in bytes; the last five are kept."""

    def keys(self) -> tuple[bytes, ...]:
        """The keys that are accepted."""
        found = [self.key] if self.key else []
        if self.key_file:
            try:
                with open(self.key_file, encoding="ascii") as file:
                    found += [line.strip() for line in file]
            except (OSError, ValueError) as error:
                raise SettingsError("the file of keys can't be read: {}".format(error)) from None
        return tuple(key.encode() for key in found if key)


def read(path: str, environment: Mapping[str, str]) -> Settings:
    """The settings of a file, overridden by variables. Raises SettingsError."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        values = {name: found[name] for name in Settings._fields if name in found}
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError("{} can't be read: {}".format(path, error)) from None
    for name in Settings._fields:
        text = environment.get(_PREFIX + name.upper())
        if text is not None and name not in {"script", "models", "model_root"}:
            values[name] = _converted(name, text)
    for name in ("models", "log_redact"):
        values[name] = tuple(values.get(name, ()))
    settings = Settings(**values)
    if settings.nan not in {"null", "strict"}:
        raise SettingsError("{}NAN is {!r}; expected null or strict".format(_PREFIX, settings.nan))
    return settings._replace(script=os.path.abspath(settings.script))


def _converted(name: str, text: str) -> Any:
    default = Settings._field_defaults[name]
    try:
        if isinstance(default, bool):
            return text.lower() in _TRUE
        if isinstance(default, tuple):
            return tuple(part for part in text.split(",") if part)
        value = type(default)(text)
    except ValueError:
        raise SettingsError("{}{} is {!r}, not a number".format(_PREFIX, name.upper(), text)) from None
    if not isinstance(value, str) and value < 0:
        raise SettingsError("{}{} is {}, less than 0".format(_PREFIX, name.upper(), text))
    return value
