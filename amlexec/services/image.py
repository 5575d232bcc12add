"""The image of a service: an environment's image, the server, the models and the scoring script.

Nothing is solved or installed again: one layer is added to the image that trained the model. Equal files give
an equal layer, and the same digest of the content, which is its tag.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import images
from amlexec.docker.labels import (
    DIGEST,
    OWNER,
    PROJECT,
    PYTHON,
    SERVICE_CONTENT,
    SERVICE_ENVIRONMENT,
    SERVICE_IMAGE,
    SERVICE_MODELS,
    SERVICE_OWNER,
    SERVICE_SETTINGS,
)
from amlexec.errors import UsageError
from amlexec.images.labels import PREFIX
from amlexec.owner import owner_of
from amlexec.packages import stable_tar
from amlexec.services import models, retired, server_packages
from amlexec.services.local_imports import included
from amlexec.tar import Tar

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.environments.store import Installed
    from amlexec.progress import Progress
    from amlexec.services.models import ServedModel
    from amlexec.values import Project

__all__ = ["PORT", "RUN_FOLDER", "SERVER", "USER", "Content", "ServiceImage", "create", "find", "reference"]

ROOT = "/opt/amlexec"
SERVER = f"{ROOT}/server/serve.py"
APP = f"{ROOT}/service/app"
MODELS = f"{ROOT}/service/models"
RUN_FOLDER = f"{ROOT}/run"
"""What the containers of a service share: a volume, with the listener's socket."""
PORT = 8000
USER = 10001
"""The user and group of the server, which has no name: the script can write only to /tmp."""
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_RECIPE = "1"
"""Raised if the same files make another image."""
_LONGEST_NAME = 60


class Content(NamedTuple):
    """What an image of a service is made of."""

    name: str
    script: Path
    includes: tuple[str, ...]
    """More files and folders, relative to the script's folder."""
    served: tuple[ServedModel, ...]
    sample: str = ""
    """The body of a request that has to succeed before a service takes requests."""


class ServiceImage(NamedTuple):
    """An image of a service on an engine."""

    reference: str
    image_id: str
    name: str
    content: str
    models: str
    environment: str
    sample: str
    is_new: bool = False


def reference(name: str, content: str = "") -> str:
    """The name of an image: with the digest of its content, or as the newest of that name.

    Raises:
        UsageError: it can't be the name of an image.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name[:80]!r} is not a name for an image or a service",
            hint="use lowercase letters and digits, with '-', '_' or '.' between them",
        )
    return f"amlexec-service/{name}:{content[:20] or 'latest'}"


def create(
    engine: Engine, project: Project, content: Content, environment: Installed, progress: Progress
) -> ServiceImage:
    """Make the image, unless the engine has it.

    Raises:
        UsageError: a file is missing, or the name can't be one.
        ConfigurationError: the environment's Python is too old.
        TargetError: the engine failed, or uvicorn can't be fetched.
    """
    reference(content.name)
    from amlexec.digest import of_bytes, of_file

    with tempfile.TemporaryDirectory(prefix="amlexec-image-") as folder:
        tree = Path(folder, "tree")
        _fill(tree, content, environment.python)
        with Path(folder, "layer.tar").open("w+b") as archive:
            stable_tar.write(str(tree), ROOT, archive)
            archive.flush()
            parts = (_RECIPE, environment.digest, environment.key, content.sample, of_file(archive.name))
            digest = of_bytes("\0".join(parts).encode())
            name = reference(content.name, digest)
            found = find(engine, name)
            if found is not None:
                images.tag(engine, found.image_id, reference(content.name))
                retired.use(project, found.image_id)
                return found
            progress.step(f"making the image {name}")
            archive.seek(0)
            image_id = _committed(engine, project, content, environment, digest, archive)
    images.tag(engine, image_id, name)
    images.tag(engine, image_id, reference(content.name))
    found = find(engine, name)
    assert found is not None, "it was just made"
    return found._replace(is_new=True)


def find(engine: Engine, text: str) -> ServiceImage | None:
    """The image with that reference or id, if the engine has it, and it is one of a service."""
    found = images.inspect(engine, text)
    labels: dict[str, Any] = ((found or {}).get("Config") or {}).get("Labels") or {}
    if found is None or not labels.get(SERVICE_CONTENT):
        return None
    try:
        sample = str(json.loads(labels.get(SERVICE_SETTINGS, "{}")).get("sample", ""))
    except (ValueError, AttributeError):
        sample = ""
    return ServiceImage(
        text,
        str(found["Id"]),
        str(labels.get(SERVICE_IMAGE, "")),
        str(labels[SERVICE_CONTENT]),
        str(labels.get(SERVICE_MODELS, "")),
        str(labels.get(SERVICE_ENVIRONMENT, "")),
        sample,
    )


def _fill(tree: Path, content: Content, python: str) -> None:
    """Write all files of the layer into an empty folder."""
    from amlexec.runtime import SERVING, SITE

    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    server, app = tree / "server", tree / "service" / "app"
    shutil.copytree(SERVING, server, ignore=ignored)
    shutil.copytree(SITE, server / "site", ignore=ignored)
    shutil.copytree(server_packages.folder(python), server / "vendored", ignore=ignored)
    app.mkdir(parents=True)
    for path, inside in included(content.script, content.includes):
        (app / inside).parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, app / inside, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy2(path, app / inside)
    models.copy(content.served, tree / "service" / "models")
    settings = {
        "script": f"{APP}/{content.script.name}",
        "name": content.name,
        "models": [{"name": one.name, "version": one.version} for one in content.served],
        "model_root": MODELS,
        "sample": content.sample,
        "host": "0.0.0.0",  # noqa: S104 - of its container; requests need a key
        "port": PORT,
    }
    (tree / "service" / "service.json").write_text(json.dumps(settings, indent=1), "utf-8")
    pins = [line.split()[0] for line in server_packages.pins(python).splitlines()]
    listed = ["# The packages of the server. Those of the environment: /opt/amlexec/environment.lock", *pins]
    (tree / "service" / "packages.txt").write_text("\n".join(listed) + "\n", "utf-8")


def _committed(
    engine: Engine,
    project: Project,
    content: Content,
    environment: Installed,
    digest: str,
    archive: IO[bytes],
) -> str:
    from amlexec.images.build_container import BuildContainer

    variables = {
        "PYTHONUNBUFFERED": "1",
        "HOME": "/tmp",  # noqa: S108
        "USER": "service",
        "LOGNAME": "service",
        "AML_APP_ROOT": APP,
        "AZUREML_ENTRY_SCRIPT": content.script.name,
        "AZUREML_MODEL_DIR": models.model_dir(MODELS, content.served),
    }
    labels = {
        # It is no environment, and not to be removed as what is left of one.
        DIGEST: "",
        OWNER: "",
        PROJECT: project.name,
        PYTHON: environment.python,
        SERVICE_OWNER: owner_of(project),
        SERVICE_IMAGE: content.name,
        SERVICE_CONTENT: digest,
        SERVICE_ENVIRONMENT: environment.digest,
        SERVICE_MODELS: ",".join(f"{one.name}:{one.version}" for one in content.served),
        SERVICE_SETTINGS: json.dumps({"sample": content.sample}),
    }
    command = [f"{PREFIX}/bin/python", SERVER, f"{ROOT}/service/service.json"]
    more = [f"CMD {json.dumps(command)}", f"USER {USER}:{USER}", f"WORKDIR {APP}", f"EXPOSE {PORT}"]
    with BuildContainer(engine, environment.key, digest) as builder:
        builder.put(archive)
        builder.put(_folder_to_write())
        return builder.commit("", labels, variables, more)


def _folder_to_write() -> bytes:
    """The archive of the shared folder, which is the server's own, and of those above it: for their times."""
    written = io.BytesIO()
    with Tar.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        at = ""
        for part in RUN_FOLDER.strip("/").split("/"):
            at = f"{at}/{part}" if at else part
            entry: Any = tarfile.TarInfo(at)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, stable_tar.EPOCH
            if f"/{at}" == RUN_FOLDER:
                entry.uid = entry.gid = USER
            archive.addfile(entry)
    return written.getvalue()
