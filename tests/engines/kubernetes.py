"""Kubernetes' published description of its objects, and Debian's kubectl; no cluster.

The description is the OpenAPI document that each version of Kubernetes publishes, as JSON schemas that refuse
unknown keys: the wheel `kubernetes-validate` has them.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from . import recipe_folder, tools
from .places import state

__all__ = ["OLDEST", "VERSIONS", "is_there", "kubectl", "problems", "ready", "remove"]

_WHEEL = "kubernetes-validate==1.37.0"
OLDEST = "1.25"
VERSIONS = (OLDEST, "1.37")
_PACKAGE = "kubernetes-client"


def folder() -> Path:
    """Where it is kept."""
    return state() / "kubernetes"


def kubectl() -> Path:
    """Debian's program."""
    return folder() / "debian" / "usr" / "bin" / "kubectl"


def is_there() -> bool:
    """Whether both are there, made by this recipe."""
    return recipe_folder.is_there(folder(), _recipe())


def ready() -> None:
    """Fetch them. Raises MissingError, ToolError."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise tools.MissingError("kubectl is unpacked from Debian's package, and this is no Debian")
    print("fetching the description of Kubernetes, and kubectl")
    with recipe_folder.replaced(folder(), _recipe) as new:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--retries", "5"]
        tools.run([*pip, "--dest", new, _WHEEL], "fetching kubernetes-validate")
        (wheel,) = new.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for version in VERSIONS:
                inside = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
                (new / f"{version}.json").write_bytes(archive.read(f"{inside}/_definitions.json"))
        wheel.unlink()
        package = tools.download(_PACKAGE, new)
        # Not installed: another kubectl may be.
        tools.run(["dpkg-deb", "-x", package, new / "debian"], "unpacking kubectl")
        package.unlink()


def remove() -> None:
    """Remove them."""
    recipe_folder.remove(folder())


def call(server: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl against an API server, without any settings of this machine's user."""
    environment = {**os.environ, "KUBECONFIG": "/dev/null", "HOME": str(folder())}
    command = [str(kubectl()), f"--server={server}", *words]
    return subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def problems(found: Any, version: str) -> list[str]:
    """What is against the description of an object, with its place in it."""
    validator = _validators(version).get((found.get("apiVersion"), found.get("kind")))
    if validator is None:
        return [f"there is no {found.get('apiVersion')} {found.get('kind')}"]
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(found)]


def _recipe() -> str:
    return recipe_folder.recipe(__file__)


def _file(version: str) -> Path:
    return folder() / f"{version}.json"


@functools.cache
def _validators(version: str) -> dict[tuple[str, str], Any]:
    """By `apiVersion` and `kind`."""
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    described = json.loads(_file(version).read_text("utf-8"))
    base = described["$id"]
    registry: Any = Registry().with_resource(base, Resource.from_contents(described))
    found = {}
    for name, definition in described["$defs"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            group = f"{kind['group']}/" if kind["group"] else ""
            schema = {"$ref": f"{base}#/$defs/{name}"}
            found[f"{group}{kind['version']}", kind["kind"]] = Draft202012Validator(schema, registry=registry)
    return found
