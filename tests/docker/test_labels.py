"""Labels are a stored format: other versions have written them to engines and registries."""

from __future__ import annotations

from amlexec.docker import labels
from amlexec.targets.shared_engine import is_of


def test_labels_keep_their_names() -> None:
    found = {name: getattr(labels, name).removeprefix("amlexec.") for name in labels.__all__}
    assert found == {
        "BASE": "base",
        "BUILDING": "building",
        "CONDA": "conda",
        "DIGEST": "digest",
        "LOCK": "lock",
        "MAKER": "building.by",
        "OWNER": "owner",
        "PLATFORM": "platform",
        "PROJECT": "project",
        "PROJECT_FOLDER": "project.folder",
        "PYTHON": "python",
        "RECIPE": "recipe",
        "RECORD": "record",
        "RUN": "run",
        "SERVICE": "service",
        "SERVICE_CONTENT": "service.content",
        "SERVICE_ENVIRONMENT": "service.environment",
        "SERVICE_GENERATION": "service.generation",
        "SERVICE_IMAGE": "service.image",
        "SERVICE_MODELS": "service.models",
        "SERVICE_OWNER": "service.owner",
        "SERVICE_ROLE": "service.role",
        "SERVICE_SETTINGS": "service.settings",
        "VOLUME": "volume",
    }


def test_whether_a_container_belongs_to_a_project() -> None:
    now = {"amlexec.project": "demo", "amlexec.project.folder": "/home/me/demo", "amlexec.owner": "x"}
    before = {"amlexec.project": "/home/me/demo", "amlexec.owner": "x"}
    for found in (now, before):
        assert is_of(found, "/home/me/demo", "")
        assert is_of(found, "/home/me/demo", "x")
        assert not is_of(found, "/home/me/demo", "y")
        assert not is_of(found, "/home/you/demo", "x")
        assert not is_of(found, "demo", "x")
