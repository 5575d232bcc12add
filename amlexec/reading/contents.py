"""What a schema can't say about values: placeholders, secrets, specs that nothing can install."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from amlexec import redaction, schemas
from amlexec.model import Place, Violation
from amlexec.reading import generations
from amlexec.reading.document import Mapping, Scalar, Sequence
from amlexec.reading.generations import find
from amlexec.reading.wording import dotted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.reading.document import Document, Node

__all__ = ["check"]

_PLACEHOLDER = re.compile(r"<[^<>]*>")
_HANDLE = re.compile(r"AzureMlSecret=.*|[^#]+#[^#]+#[0-9a-f]{32}", re.DOTALL)
_OURS = re.compile(r"amlexec:[0-9a-f]{32}")
"""A handle of the key store."""
_HANDED_OVER = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")
"""A value that is taken from the environment of the command that submits."""
_CONSTRAINT = r"[=<>!~]{0,3}\s*[\dv*][\w.*+!-]*"
_SPEC = re.compile(
    r"([\w./:-]+::)?[A-Za-z0-9_][\w.-]*"
    rf"(\s*[=<>!~]{{1,3}}\s*[\dv*][\w.*+!-]*([,|]\s*{_CONSTRAINT})*|\s+{_CONSTRAINT}([,|]\s*{_CONSTRAINT})*)?"
    r"((\s+|=)[\w.*+-]+)?(\s*\[[^\[\]]*\])*"
)
_PIN = r"(===|==|~=|!=|<=|>=|<|>)\s*[\w.*+!-]+"
_REQUIREMENT = re.compile(
    rf"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?\s*(\[[\w\s,.-]*\])?\s*(\(?{_PIN}(\s*,\s*{_PIN})*\)?|@\s*\S+)?"
    r"(\s*;.*)?(\s+--?\w[\w-]*([= ]\S+)?)*(\s+#.*)?"
)
_PATH = re.compile(
    r"[A-Za-z]:[\\/]|[.~]?[\\/]|\.\.[\\/]|[A-Za-z][\w+.-]*://|[\w.\\/-]+\.(whl|zip|tar\.gz)\b|\.$|\$\{?\w"
)
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+|file:\S+")
_BACKPORTS = frozenset(
    [
        "argparse",
        "asyncio",
        "configparser",
        "contextvars",
        "dataclasses",
        "enum",
        "graphlib",
        "ipaddress",
        "pathlib",
        "selectors",
        "ssl",
        "statistics",
        "tomllib",
        "typing",
        "zoneinfo",
    ]
)
"""Names of the standard library that a conda package has too."""


class _Found:
    """The violations found so far, and how to say one more."""

    def __init__(self, path: str, prefix: tuple[str | int, ...] = ()) -> None:
        self.path = path
        self.prefix = prefix
        self.violations: list[Violation] = []

    def say(self, severity: str, node: Node | None, message: str, hint: str = "", key: str = "") -> None:
        place = Place(self.path, node.line, node.column) if node else Place(self.path)
        self.violations.append(Violation(place, severity, message, hint, key))


def check(document: Document, kind: str, data: dict[str, Any], *, lint: bool) -> list[Violation]:
    """Everything that the schema let through and that is still wrong; `lint` also says what is ignored."""
    found = _Found(document.path)
    root = document.root
    if kind == schemas.COMPUTE:
        _compute(found, root, lint=lint)
    elif kind == schemas.CONDA:
        _conda(found, root)
    elif kind == schemas.SPARK:
        _spark(found, root, root, ())
    else:
        _run_configuration(found, root, data, lint=lint)
    return found.violations


def _compute(found: _Found, root: Mapping, *, lint: bool) -> None:
    for key in ("address", "username", "baseDockerImage"):
        node = find(root, key)
        if isinstance(node, Scalar) and _PLACEHOLDER.fullmatch(node.text.strip()):
            hint = "write a value of your own"
            found.say("error", node, f"{key} is the placeholder {shown(node.text)}", hint, key)
    for key in ("password", "privateKey"):
        node = find(root, key)
        if isinstance(node, Scalar) and not node.is_null and node.text:
            _secret(found, node, key, lint=lint)


def _secret(found: _Found, node: Scalar, key: str, *, lint: bool) -> None:
    closed = "attach the machine anew, or remove the key, for OpenSSH's own configuration, agent and keys"
    plain = "remove it, and change it on the machine: whoever has had this file knows it"
    if _OURS.fullmatch(node.text):
        return
    if node.text.startswith("amlexec:"):
        again = "attach the machine anew: amlexec computetarget attach … --force"
        found.say("error", node, f"{key} is no whole handle of the key store", again, key)
    elif _HANDLE.fullmatch(node.text):
        found.say("note", node, f"{key} is a handle of a vault that is closed", closed, key)
    elif key.endswith("password"):
        severity = "error" if lint else "warning"
        found.say(severity, node, f"{key} is a plain password, and the project keeps it", plain, key)


def _run_configuration(found: _Found, root: Mapping, data: dict[str, Any], *, lint: bool) -> None:
    camel = generations.is_camel(root)
    password = find(root, "environment.docker.baseImageRegistry.password") if camel else None
    if isinstance(password, Scalar) and not password.is_null and password.text:
        _secret(found, password, "environment.docker.baseImageRegistry.password", lint=lint)
    for key in ("EnvironmentVariables", "environment.environmentVariables", "environmentVariables"):
        _variables(found, find(root, key), key)
    inline = find(root, generations.INLINE_CONDA) if camel else None
    if isinstance(inline, Mapping):
        found.prefix = tuple(generations.INLINE_CONDA.split("."))
        _conda(found, inline)
        found.prefix = ()
    if camel:
        _spark(found, find(root, "spark"), find(root, "environment.spark"), ("environment", "spark"))
    if lint:
        _ignored(found, root, data, camel=camel)


def _variables(found: _Found, node: Node | None, key: str) -> None:
    """Values whose names look secret: the file is in every snapshot, in the repository and on the machine."""
    for name, entry in node.entries.items() if isinstance(node, Mapping) else ():
        value = entry.value
        if not redaction.is_secret(name) or not isinstance(value, Scalar) or value.is_null or not value.text:
            continue
        if not _HANDED_OVER.search(value.text) and value.resolved in {"str", "int", "float"}:
            message = (
                f"{name} looks like a secret, and all who have the project or the machine can read it here"
            )
            hint = f"write {name}: ${{env:{name}}}, and set {name} where you submit"
            found.say("warning", value, message, hint, f"{key}.{name}")


def _ignored(found: _Found, root: Mapping, data: dict[str, Any], *, camel: bool) -> None:
    """What the file says that changes nothing here, and what it leaves to a default that has changed."""
    if not camel and not data.get("Framework"):
        message = "Framework is not set; Python is assumed, where Workbench assumed PySpark"
        found.say("note", None, message, "write Framework: Python or Framework: PySpark", "Framework")
    for key, harmless in generations.IGNORED.items():
        value: Any = data
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None or value in harmless:
            continue
        hint = "write CondaDependenciesFile instead" if key == "CondaFile" else ""
        found.say("note", find(root, key), f"{key} is accepted and ignored", hint, key)
    framework = find(root, "framework")
    if camel and isinstance(framework, Scalar) and framework.text in generations.CLOUD_FRAMEWORKS:
        found.say("note", framework, f"framework {framework.text} runs as Python", "", "framework")
    inline = find(root, generations.INLINE_CONDA)
    if camel and isinstance(inline, Mapping):
        message = f"{generations.INLINE_CONDA} is read as the conda dependencies of this run configuration"
        found.say("note", inline, message, "", generations.INLINE_CONDA)


def _items(node: Node | None, at: tuple[str | int, ...]) -> Iterator[tuple[Node, str]]:
    for index, item in enumerate(node.items if isinstance(node, Sequence) else []):
        yield item, dotted((*at, index))


def _conda(found: _Found, root: Mapping) -> None:
    at = (*found.prefix, "dependencies")
    dependencies = find(root, "dependencies")
    items = dependencies.items if isinstance(dependencies, Sequence) else []
    if "pip" in root.entries:
        entry = root.entries["pip"]
        place = Place(found.path, entry.line, entry.column)
        hint = "write it as the last item of dependencies: '  - pip:'"
        key = dotted((*found.prefix, "pip"))
        found.violations.append(Violation(place, "error", "'pip:' stands beside dependencies", hint, key))
    sections = 0
    for index, item in enumerate(items):
        if isinstance(item, Scalar) and not item.is_null:
            _spec(found, item, dotted((*at, index)))
        elif isinstance(item, Mapping):
            pip = find(item, "pip")
            sections += pip is not None
            if sections > 1 and pip is not None:
                found.say("error", item, "a second pip section", "join the two", dotted((*at, index)))
            if isinstance(pip, Scalar) and pip.is_null and index + 1 < len(items):
                hint = "indent the lines below it further than '- pip:'"
                found.say("error", item, "the pip section is empty, and more items follow it", hint, "pip")
            for line, key in _items(pip, (*at, index, "pip")):
                if isinstance(line, Scalar) and line.text.strip():
                    _requirement(found, line, key)


def _spec(found: _Found, node: Scalar, key: str) -> None:
    text = node.text.strip()
    bare = re.split(r"[\s=<>!~\[]", text.rpartition("::")[2], maxsplit=1)[0]
    move = "move it below '- pip:'"
    if _URL.match(text):
        if not text.partition("?")[0].endswith((".conda", ".tar.bz2")):
            found.say("error", node, f"{shown(text)} is no conda package", move, key)
    elif text.startswith("-"):
        found.say("error", node, f"{shown(text)} is an option of pip", move, key)
    elif bare in sys.stdlib_module_names and bare not in _BACKPORTS:
        hint = "remove the line"
        found.say("error", node, f"'{bare}' is a module of Python itself and no conda package", hint, key)
    elif text.startswith("pip install "):
        found.say("error", node, f"{shown(text)} is a command", "write only the package below '- pip:'", key)
    elif not _SPEC.fullmatch(text):
        hint = "write name, name=version or 'name >=version'"
        found.say("error", node, f"{shown(text)} is no conda spec", hint, key)


def _requirement(found: _Found, node: Scalar, key: str) -> None:
    text = node.text.strip()
    if text.startswith(("-", "#")) or _PATH.match(text) or _URL.match(text) or _REQUIREMENT.fullmatch(text):
        if any(ord(one) < 32 for one in text):
            hint = "inside double quotes '\\' begins an escape: write single quotes, or '/'"
            found.say("error", node, f"{shown(text)} has a control character in it", hint, key)
        return
    hint = "write name, name==version or a URL"
    if text.startswith("pip install "):
        hint = "leave out 'pip install'"
    elif re.match(r"[\w.-]+(\[.*\])?\s*=[^=]", text):
        hint = "pip writes '==' where conda writes '='"
    elif re.search(r"\S#", text):
        hint = "a comment needs a blank before '#'"
    found.say("error", node, f"{shown(text)} is no requirement of pip", hint, key)


def _spark(found: _Found, configuration: Node | None, others: Node | None, at: tuple[str | int, ...]) -> None:
    settings = find(configuration, "configuration") if isinstance(configuration, Mapping) else None
    for name, entry in settings.entries.items() if isinstance(settings, Mapping) else ():
        if "=" in name or not name.split() or name.split() != [name]:
            message = f"{shown(name)} can't be a Spark property; expected a name without blanks or '='"
            place = Place(found.path, entry.line, entry.column)
            found.violations.append(Violation(place, "error", message, "", dotted(("configuration", name))))
    if not isinstance(others, Mapping):
        return
    for item, key in _items(find(others, "repositories"), (*at, "repositories")):
        if isinstance(item, Scalar) and item.text.strip() and not _URL.fullmatch(item.text.strip()):
            found.say("error", item, f"{shown(item.text)} is no URL of a Maven repository", "", key)
    for item, key in _items(find(others, "packages"), (*at, "packages")):
        for name in ("group", "artifact", "version"):
            part = find(item, name) if isinstance(item, Mapping) else None
            if isinstance(part, Scalar) and re.search(r"[\s:,]", part.text.strip()):
                message = f"{name} is {shown(part.text)}; expected one part of a Maven coordinate"
                found.say("error", part, message, "write group, artifact and version each on its own", key)
