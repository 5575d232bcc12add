"""`amlexec service test`: a scoring script as a process, with models of the registry."""

from __future__ import annotations

import json
import pickle
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

SCRIPT = """
import os, pickle

def init():
    global factor
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.pkl"), "rb") as file:
        factor = pickle.load(file)

def run(x: float, shift: float = 0) -> dict:
    return {"y": factor * x + shift}
"""


@pytest.fixture
def scored(project: ProjectFolder) -> ProjectFolder:
    """A project with a script and a model."""
    project.write("score.py", SCRIPT)
    project.write("outputs/model.pkl", pickle.dumps(3))
    return project


def test_a_file_as_the_model(scored: ProjectFolder) -> None:
    done = scored.amlexec("service", "test", "score.py", "--model", "outputs/model.pkl", "-d", '{"x": 2}')
    assert (done.code, done.out) == (0, '{"y": 6.0}\n'), done.err
    assert "POST /score 200" in done.err


def test_a_version_of_the_registry_as_the_model(scored: ProjectFolder) -> None:
    assert scored.amlexec("model", "register", "-n", "iris", "outputs/model.pkl").code == 0
    scored.write("outputs/model.pkl", pickle.dumps(5))
    assert scored.amlexec("model", "register", "-n", "iris", "outputs/model.pkl").code == 0
    for version, told in (("iris:1", 3.0), ("iris", 5.0)):
        done = scored.amlexec("service", "test", "score.py", "--model", version, "-d", "@one.json")
        assert (done.code, "one.json can't be read" in done.err) == (3, True)
        scored.write("one.json", '{"x": 1}')
        done = scored.amlexec("service", "test", "score.py", "--model", version, "-d", "@one.json")
        assert (done.code, json.loads(done.out)) == (0, {"y": told}), done.err
        (scored.root / "one.json").unlink()
    done = scored.amlexec("service", "test", "score.py", "--model", "iris:9", "-d", "{}")
    assert (done.code, "iris:9 does not exist" in done.err) == (3, True)


def test_several_models_are_below_the_folder(scored: ProjectFolder) -> None:
    scored.write("outputs/other/data.txt", "o")
    scored.write(
        "score.py",
        "import glob, os\ndef init(): pass\ndef run(data):\n"
        "    root = os.environ['AZUREML_MODEL_DIR']\n"
        "    return sorted(os.path.relpath(one, root) for one in glob.glob(root + '/*/*/*'))\n",
    )
    models = ["--model", "outputs/model.pkl", "--model", "outputs/other"]
    done = scored.amlexec("service", "test", "score.py", *models, "-d", "1")
    assert (done.code, json.loads(done.out)) == (0, ["model/1/model.pkl", "other/1/other"]), done.err


def test_an_error_of_the_service_is_exit_code_1(scored: ProjectFolder) -> None:
    done = scored.amlexec("service", "test", "score.py", "--model", "outputs/model.pkl", "-d", '{"x": "a"}')
    assert done.code == 1
    assert json.loads(done.out)["fields"] == [{"field": "x", "message": "expected a number, got 'a'"}]
    assert "the service answered 422" in done.err


def test_a_script_that_fails_shows_the_end_of_its_log(scored: ProjectFolder) -> None:
    done = scored.amlexec("service", "test", "score.py", "-d", "{}")
    assert (done.code, done.out) == (2, "")
    assert "the service is not ready: score.py ended with code 3" in done.err
    assert "FileNotFoundError" in done.err
    assert "amlexec/services" not in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent.py", "-d", "{}"], "there is no scoring script absent.py"),
        (["score.py"], "there is nothing to send"),
        (["score.py", "-d", "{}", "--model", "no/such"], "there is no file or folder no/such"),
        (["score.py", "-d", "{}", "--model", "outputs", "--model", "outputs"], "two models have the name"),
    ],
)
def test_mistakes(scored: ProjectFolder, arguments: list[str], told: str) -> None:
    done = scored.amlexec("service", "test", *arguments)
    assert (done.code, done.out) == (3, "")
    assert told in done.err


def test_a_program_that_is_no_python(scored: ProjectFolder) -> None:
    done = scored.amlexec("service", "test", "score.py", "-d", "{}", "--python", "/bin/true")
    assert (done.code, "/bin/true does not work as a Python" in done.err) == (2, True)


def test_serving_until_ctrl_c(scored: ProjectFolder, tmp_path: Path) -> None:
    words = ["service", "test", "score.py", "--model", "outputs/model.pkl", "--serve"]
    process = scored.start(sys.executable, "-m", "amlexec", *words)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/  key: [\w-]{32}\n", line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
