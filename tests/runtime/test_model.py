"""`amlexec.model` and `azureml.core.Model` in a run: what a script registers, and what it finds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from amlexec.models.folder_store import FolderStore
from amlexec.models.registry import Registry
from tests.support.site_scripts import every_interpreter, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "state/runs/p_1521077190506"
    path.mkdir(parents=True)
    return path


@every_interpreter
def test_a_script_registers_files_and_folders(python: str, folder: Path, tmp_path: Path) -> None:
    script = """
import os
from amlexec.model import register
os.makedirs("outputs/net/deep"); os.makedirs("elsewhere")
for name in ("outputs/net/deep/b", "outputs/net/a", "elsewhere/c.pkl"):
    with open(name, "w") as file:
        file.write(name)
print(register("net", "outputs/net", tags={"data": "2018"}, description="both"))
print(register("other", os.path.abspath("elsewhere/c.pkl")).version)
for name, path in (("a b", "outputs/net"), ("net", "nothing")):
    try:
        register(name, path)
    except (ValueError, OSError) as error:
        print(error)
"""
    done = run(python, script, folder, tmp_path)
    assert done.stdout.splitlines() == [
        "Registered('net')",
        "None",
        "'a b' is not a name for a model: letters, digits, '_', '-' and '.'",
        "there is no file or folder 'nothing' to register",
    ]
    net, other = [json.loads(line) for line in (folder / "models.jsonl").read_text().splitlines()]
    lines = [
        f"{hashlib.sha256(f'outputs/{name}'.encode()).hexdigest()}  {name}\n"
        for name in ("net/a", "net/deep/b")
    ]
    assert net["sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (net["path"], net["tags"], net["description"]) == ("outputs/net", {"data": "2018"}, "both")
    assert other["path"] == "outputs/models/other/c.pkl"
    assert (folder / other["path"]).read_text() == "elsewhere/c.pkl"


@every_interpreter
def test_a_script_finds_models_of_the_registry_and_of_a_service(
    python: str, folder: Path, tmp_path: Path
) -> None:
    registry = Registry(FolderStore(folder.parents[1] / "models", is_private=True))
    for text in ("one", "two", "three"):
        (tmp_path / "m.pkl").write_text(text)
        registry.register("iris", tmp_path / "m.pkl")
    registry.promote("iris:1", "champion")
    registry.delete("iris:3")
    script = """
from amlexec.model import path_of
from azureml.core import Model
for name in ("iris", "iris:1", "iris:v1", "iris:champion", "iris@champion", "iris:latest"):
    print(open(path_of(name)).read())
print(open(Model.get_model_path("iris", version=1)).read())
print(open(Model(None, "iris").download("copy")).read())
for name in ("iris:3", "iris:9", "iris:x", "wine", "../x", "iris:../x"):
    try:
        print(path_of(name))
    except (OSError, ValueError) as error:
        print(type(error).__name__)
"""
    done = run(python, script, folder, tmp_path)
    assert done.stdout.split() == [
        *("two", "one", "one", "one", "one", "two", "one", "two"),
        *["FileNotFoundError"] * 4,
        *["ValueError"] * 2,
    ], done.stderr
    changed = registry.path(registry.find("iris:1"))
    changed.chmod(0o600)
    changed.write_text("evil")
    script = """
from amlexec.model import path_of
try:
    path_of("iris:1")
except OSError as error:
    print(error)
"""
    assert (
        "is not what was registered as iris:1: m.pkl was changed"
        in run(python, script, folder, tmp_path).stdout
    )
    served = tmp_path / "azureml-models/iris/7"
    served.mkdir(parents=True)
    (served / "m.pkl").write_text("served")
    for place in (served, tmp_path / "azureml-models"):
        script = f"""
import os
os.environ["AZUREML_MODEL_DIR"] = {str(place)!r}
from azureml.core import Model
print(Model.get_model_path("iris"))
"""
        assert run(python, script, None, tmp_path).stdout == f"{served}/m.pkl\n"


@every_interpreter
def test_a_damaged_registry_has_no_models_for_a_script(python: str, folder: Path, tmp_path: Path) -> None:
    versions = folder.parents[1] / "models/names/iris/versions"
    versions.mkdir(parents=True)
    (versions / "1.json").write_text('{"format": 1, "digest": "../../..", "root": "etc"}')
    script = """
from amlexec.model import path_of
try:
    path_of("iris")
except OSError as error:
    print(error)
"""
    done = run(python, script, folder, tmp_path)
    assert "the model iris did not come with this run: add it to Models" in done.stdout
