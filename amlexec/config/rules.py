"""Rules that a schema can't express: placeholders, secrets, specs that can't be installed."""

from __future__ import annotations

import re

from amlexec import kinds, redaction
from amlexec.config import foreign, generations, keys, schemas, stdlib_modules
from amlexec.config.document import Mapping, Scalar, Sequence
from amlexec.config.generations import find
from amlexec.config.messages import dotted, shown
from amlexec.dependencies import Line
from amlexec.docker.reference import is_reference
from amlexec.errors import ConfigurationError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages import conda_spec
from amlexec.packages.urls import unset_variables
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from amlexec.config.document import Document, Node

__all__ = ["check"]

_VAULT_HANDLE = re.compile(r"AzureMlSecret=.*|[^#]+#[^#]+#[0-9a-f]{32}", re.DOTALL)
_KEY_STORE_HANDLE = re.compile(r"amlexec:[0-9a-f]{32}")
"""A handle of amlexec's key store."""
_FROM_ENVIRONMENT = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")
"""A value that comes from the environment of the submitting command."""
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+|file:\S+")


class _Found:
    """Collects violations."""

    def __init__(self, path: str, prefix: tuple[str | int, ...] = ()) -> None:
        self.path = path
        self.prefix = prefix
        self.violations: list[Violation] = []

    def say(self, severity: str, node: Node | None, message: str, hint: str = "", key: str = "") -> None:
        place = Place(self.path, node.line, node.column) if node else Place(self.path)
        self.violations.append(Violation(place, severity, message, hint, key))


def check(document: Document, kind: str, data: dict[str, Any], *, lint: bool) -> list[Violation]:
    """All violations that the schema does not catch; with `lint`, also notes about ignored keys."""
    found = _Found(document.path)
    root = document.root
    if kind == schemas.COMPUTE:
        _compute(found, root, data, lint=lint)
    elif kind == schemas.CONDA:
        _conda(found, root)
        for line, column, text in foreign.selectors(document.text):
            message = f"'{text}' is a selector of conda-build, which is ignored: the line always counts"
            hint = "remove the line if it is not for Linux"
            found.violations.append(Violation(Place(document.path, line, column), "warning", message, hint))
    elif kind == schemas.SPARK:
        _spark(found, root, root, ())
    else:
        _run_configuration(found, root, data, lint=lint)
    return found.violations


def _compute(found: _Found, root: Mapping, data: dict[str, Any], *, lint: bool) -> None:
    node = find(root, "type")
    kind = kinds.of(node.text.strip() if isinstance(node, Scalar) else "")
    for key in ("address", "username", "baseDockerImage"):
        node = find(root, key)
        if isinstance(node, Scalar) and not node.is_null and not _placeholder(found, node, key):
            if key == "baseDockerImage" and kind.in_container:
                _image(found, node, key)
            elif key != "baseDockerImage" and kind.over_ssh and node.text.strip():
                _login(found, node, key)
    if kind.is_service and not kind.is_kubernetes:
        _azure(found, root)
    for key in ("password", "privateKey"):
        node = find(root, key)
        if isinstance(node, Scalar) and not node.is_null and node.text:
            _secret(found, node, key, lint=lint)
    if kind.is_slurm_cluster:
        from amlexec.config import slurm_rules

        found.violations += slurm_rules.check(found.path, root)
    key = "userManagedEnvironment"
    if kind.in_container and data.get(key) is True:
        message = f"{key} has no effect in a container: prepare always builds the environment there"
        hint = "remove the line; the packages of baseDockerImage stay available under their own Python"
        found.say("warning", find(root, key), message, hint, key)


def _placeholder(found: _Found, node: Scalar, key: str) -> bool:
    """Whether a value is a placeholder or template; reports it."""
    kind = foreign.placeholder(node.text)
    if kind == "placeholder":
        message = f"{key} is the placeholder {shown(node.text.strip())}"
        found.say("error", node, message, "write your own value", key)
    elif kind:
        message = f"{key} is a template, {shown(node.text.strip())}"
        found.say("error", node, message, "amlexec does not fill in templates: write the value itself", key)
    return bool(kind)


def _image(found: _Found, node: Scalar, key: str) -> None:
    text = node.text.strip()
    if text and not is_reference(text):
        hint = "write REPOSITORY:TAG, in lower case, as in debian:bookworm-slim"
        found.say("error", node, f"{key} is {shown(text)}, which is not a valid image name", hint, key)


def _login(found: _Found, node: Scalar, key: str) -> None:
    from amlexec.ssh import login

    text = node.text.strip()
    if key == "username" and not login.is_user(text):
        found.say("error", node, f"username {shown(text)} is not a valid user name", "", key)
    if key == "address":
        try:
            login.split_address(text)
        except ConfigurationError as error:
            found.say("error", node, error.message, error.hint, key)


def _azure(found: _Found, root: Mapping) -> None:
    """Whether the addresses of a cloud service are its own: a token goes to them."""
    from amlexec.azure import clouds

    manager = clouds.PUBLIC
    for key in ("resourceManager", "storageAccount"):
        node = find(root, key)
        if not isinstance(node, Scalar) or node.is_null or _placeholder(found, node, key):
            continue
        try:
            if key == "resourceManager":
                manager = clouds.manager_address(node.text)
            else:
                clouds.blob_endpoint(node.text, manager)
        except ConfigurationError as error:
            found.say("error", node, error.message, error.hint, key)


def _secret(found: _Found, node: Scalar, key: str, *, lint: bool) -> None:
    closed = "attach the machine again, or remove the key to use OpenSSH's own configuration, agent and keys"
    plain = "remove it, and change it on the machine: everyone who had this file knows it"
    if _KEY_STORE_HANDLE.fullmatch(node.text):
        return
    if re.fullmatch(r"<[^<>]+>", node.text.strip()):
        hint = "attach the machine, which stores the password elsewhere, or remove the key"
        found.say("error", node, f"{key} is a placeholder", hint, key)
    elif node.text.startswith("amlexec:"):
        again = "attach the machine again: amlexec computetarget attach … --force"
        found.say("error", node, f"{key} is not a complete handle of the key store", again, key)
    elif _VAULT_HANDLE.fullmatch(node.text):
        found.say("note", node, f"{key} is a handle of Workbench's vault, which is closed", closed, key)
    elif key.endswith("password"):
        severity = "error" if lint else "warning"
        found.say(severity, node, f"{key} is a plain password stored in the project", plain, key)


def _run_configuration(found: _Found, root: Mapping, data: dict[str, Any], *, lint: bool) -> None:
    camel = generations.is_camel(root)
    _target(found, root, "target" if camel else "Target")
    image = find(root, "environment.docker.baseImage") if camel else None
    is_used = any(generations.dig(data, key) is True for key in keys.IN_DOCKER)
    if isinstance(image, Scalar) and not image.is_null and is_used:
        key = "environment.docker.baseImage"
        if not _placeholder(found, image, key):
            _image(found, image, key)
    password = find(root, "environment.docker.baseImageRegistry.password") if camel else None
    if isinstance(password, Scalar) and not password.is_null and password.text:
        _secret(found, password, "environment.docker.baseImageRegistry.password", lint=lint)
    for key in ("EnvironmentVariables", "environment.environmentVariables", "environmentVariables"):
        _variables(found, find(root, key), key)
    inline = find(root, keys.INLINE_CONDA) if camel else None
    if isinstance(inline, Mapping):
        found.prefix = tuple(keys.INLINE_CONDA.split("."))
        _conda(found, inline)
        found.prefix = ()
    sweep = None if camel else find(root, "Sweep")
    if isinstance(sweep, Mapping):
        from amlexec.config import sweep_rules

        found.violations += sweep_rules.check(found.path, sweep, data["Sweep"])
    if camel:
        _spark(found, find(root, "spark"), find(root, "environment.spark"), ("environment", "spark"))
    if lint:
        _ignored(found, root, data, camel=camel)


def _variables(found: _Found, node: Node | None, key: str) -> None:
    """Warn of values whose names look secret: snapshots, the repository and the machine have this file."""
    for name, entry in node.entries.items() if isinstance(node, Mapping) else ():
        value = entry.value
        if not redaction.is_secret(name) or not isinstance(value, Scalar) or value.is_null or not value.text:
            continue
        if not _FROM_ENVIRONMENT.search(value.text) and value.resolved in {"str", "int", "float"}:
            message = f"{name} looks like a secret; everyone with the project or the machine can read it here"
            hint = f"write {name}: ${{env:{name}}}, and set {name} where you submit"
            found.say("warning", value, message, hint, f"{key}.{name}")


def _target(found: _Found, root: Mapping, key: str) -> None:
    node = find(root, key)
    if not isinstance(node, Scalar) or node.is_null:
        return
    if not node.text.strip():
        hint = "write the name of a compute target, or remove the key"
        found.say("error", node, f"{key} is blank", hint, key)
    else:
        _placeholder(found, node, key)


def _ignored(found: _Found, root: Mapping, data: dict[str, Any], *, camel: bool) -> None:
    """Notes about keys without effect here, and about a default that differs from Workbench's."""
    if not camel and not data.get("Framework"):
        message = "Framework is not set; Python is assumed, where Workbench assumed PySpark"
        found.say("note", None, message, "write Framework: Python or Framework: PySpark", "Framework")
    for key in keys.IGNORED:
        if key.partition(".")[0] not in data:
            continue
        value = generations.dig(data, key)
        if generations.is_harmless(key, value):
            continue
        hint = "write CondaDependenciesFile instead" if key == "CondaFile" else ""
        message = f"{key} is accepted and ignored"
        if key in keys.OF_NODES:
            message += f", except on {kinds.SLURM.name} targets"
        found.say("note", find(root, key), message, hint, key)
    framework = find(root, "framework")
    if camel and isinstance(framework, Scalar) and framework.text in keys.CLOUD_FRAMEWORKS:
        found.say("note", framework, f"framework {framework.text} runs as Python", "", "framework")
    inline = find(root, keys.INLINE_CONDA)
    if camel and isinstance(inline, Mapping):
        message = f"{keys.INLINE_CONDA} is read as the conda dependencies of this run configuration"
        found.say("note", inline, message, "", keys.INLINE_CONDA)


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
        found.violations.append(Violation(place, "error", "'pip:' is not in dependencies", hint, key))
    sections = 0
    for index, item in enumerate(items):
        if isinstance(item, Scalar) and not item.is_null:
            _spec(found, item, dotted((*at, index)))
        elif isinstance(item, Mapping):
            pip = find(item, "pip")
            sections += pip is not None
            if sections > 1 and pip is not None:
                found.say("error", item, "a second pip section", "merge the two", dotted((*at, index)))
            if isinstance(pip, Scalar) and pip.is_null and index + 1 < len(items):
                hint = "indent the lines below it further than '- pip:'"
                found.say("error", item, "the pip section is empty, and more items follow it", hint, "pip")
            lines = _items(pip, (*at, index, "pip"))
            _requirements(
                found,
                [(line, key) for line, key in lines if isinstance(line, Scalar) and line.text.strip()],
            )


def _spec(found: _Found, node: Scalar, key: str) -> None:
    text = node.text.strip()
    if stdlib_modules.is_module(text):
        message = f"'{text}' is a module of Python's standard library, not a conda package"
        found.say("error", node, message, "remove the line", key)
        return
    if stdlib_modules.may_be_module(text):
        message = f"'{text}' is a module of Python's standard library, probably not a conda package"
        found.say("warning", node, message, "remove the line if you mean the module", key)
    elif foreign.is_of_another_system(text):
        name = conda_spec.name_of(text)
        hint = "`conda env export --from-history` leaves out packages of one system"
        found.say("warning", node, f"{name} is no Linux package; environments are for Linux", hint, key)
    if unset_variables(text, {}):
        return  # the variables get their values when the environment is made
    try:
        conda_spec.check(text)
    except conda_spec.BadSpecError as error:
        found.say("error", node, str(error), error.hint, key)


def _requirements(found: _Found, lines: list[tuple[Scalar, str]]) -> None:
    if not lines:
        return
    from amlexec.packages import requirement_checks

    keys = {Place(found.path, node.line, node.column): key for node, key in lines}
    requirements = [Line(node.text.strip(), Place(found.path, node.line, node.column)) for node, _ in lines]
    problems = requirement_checks.problems(requirements)
    found.violations += [violation._replace(key=keys[violation.place]) for violation in problems]


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
            found.say("error", item, f"{shown(item.text)} is not the URL of a Maven repository", "", key)
    for item, key in _items(find(others, "packages"), (*at, "packages")):
        for name in ("group", "artifact", "version"):
            part = find(item, name) if isinstance(item, Mapping) else None
            if isinstance(part, Scalar) and re.search(r"[\s:,]", part.text.strip()):
                message = f"{name} is {shown(part.text)}; expected one part of a Maven coordinate"
                found.say("error", part, message, "write group, artifact and version separately", key)
