"""The graph of a project's tasks, as doit shows it: without an engine, and without connections."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Done, ProjectFolder

FILES = {
    "aml_config/docker.compute": "type: docker\nbaseDockerImage: debian\n",
    "aml_config/docker.runconfig": "Target: docker\nFramework: PySpark\nPrepareEnvironment: true\n",
    "aml_config/conda_dependencies.yml": "dependencies: [python, {pip: [-r requirements.txt, -e library]}]\n",
    "aml_config/conda_dependencies.lock": "version: 6\n",
    "aml_config/spark_dependencies.yml": "configuration: {spark.ui.enabled: false}\n",
    "requirements.txt": "six\n",
    "library/pyproject.toml": "[project]\nname = 'x'\n",
    "library/a.py": "x = 1\n",
}


@pytest.fixture
def graph(project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProjectFolder]:
    """A project with every input file of an environment, and an engine that must get no request."""
    for file, text in FILES.items():
        project.write(file, text)
    path = project.root.parent / "engine.sock"
    asked: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()

        def accept() -> None:
            while True:
                try:
                    asked.append(engine.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield project
        engine.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert asked == [], "the engine was asked"


def section(done: Done, name: str) -> list[str]:
    """The lines of a section of `doit info`."""
    block = re.search(rf"^{name} *: *\n((?: - .*\n)*)", done.out, re.MULTILINE)
    return [line[3:] for line in block[1].splitlines()] if block else []


def changed(done: Done) -> list[str]:
    """The changed files in the output of `doit info`."""
    block = re.search(r"file dependencies have changed:\n((?:    - .*\n)*)", done.out)
    return [line[6:] for line in block[1].splitlines()] if block else []


def test_info_lists_the_files(graph: ProjectFolder) -> None:
    done = graph.doit("info", "prepare:docker")
    assert section(done, "file_dep") == sorted(FILES)
    assert " * aml_config/conda_dependencies.lock: error: " in done.out, "it was not made by `amlexec lock`"
    assert changed(done) == [], "it was never executed, so no file has changed"
    assert section(graph.doit("info", "prepare:local"), "file_dep") == [
        "aml_config/local.compute",
        "aml_config/local.runconfig",
    ]


@pytest.mark.parametrize("file", FILES)
def test_info_says_which_file_has_changed(graph: ProjectFolder, file: str) -> None:
    (graph.configuration / "conda_dependencies.lock").unlink()
    graph.doit("reset-dep", "prepare:docker")
    assert changed(graph.doit("info", "prepare:docker")) == []
    if file.endswith(".lock"):
        graph.write(file, FILES[file])
        assert "The following file dependencies were added:" in graph.doit("info", "prepare:docker").out
        return
    graph.write(file, f"# a comment\n{FILES[file]}")
    done = graph.doit("info", "prepare:docker")
    assert changed(done) == [file]
    assert " * it was never prepared here" in done.out or file == "aml_config/docker.compute"
    graph.doit("reset-dep", "prepare:docker")
    assert changed(graph.doit("info", "prepare:docker")) == []


def test_list_with_dependencies(graph: ProjectFolder) -> None:
    done = graph.doit("list", "--all", "--deps", "prepare")
    assert done.code == 0, done.err
    block = done.out.partition("prepare:docker")[2].partition("prepare:local")[0]
    assert re.findall(r"^ -  (.*)$", block, re.MULTILINE) == sorted(FILES)


def test_submit_waits_for_prepare_if_the_file_says_so(graph: ProjectFolder) -> None:
    done = graph.doit("info", "submit:docker")
    assert section(done, "task_dep") == ["prepare:docker"]
    assert "{'digest': ('prepare:docker', 'digest')}" in done.out
    assert " * Each submit is a new run." in done.out
    assert " at 0x" not in done.out
    for runconfig in (
        "Target: docker\nFramework: Python\n",
        "Target: local\nFramework: Python\nPrepareEnvironment: true\n",
    ):
        graph.write("aml_config/docker.runconfig", runconfig)
        done = graph.doit("info", "submit:docker")
        assert (section(done, "task_dep"), "digest" in done.out) == ([], False)


def test_a_dodo_in_a_folder_of_the_project(graph: ProjectFolder) -> None:
    """Files are named as a dodo.py names them: relative to its folder."""
    graph.write("tools/dodo.py", "from amlexec.tasks import *  # noqa: F403\n")
    done = graph.doit("info", "-f", "tools/dodo.py", "prepare:local")
    assert section(done, "file_dep") == ["../aml_config/local.compute", "../aml_config/local.runconfig"]


def test_a_file_that_another_task_creates(graph: ProjectFolder) -> None:
    """If the files name a target of a task, they depend on the task, even if the target does not exist."""
    (graph.configuration / "conda_dependencies.lock").unlink()
    graph.write(
        "dodo.py",
        "from amlexec.tasks import *  # noqa: F403\n"
        "def task_generate():\n"
        "    return {'actions': ['echo generated; echo \"dependencies: [json]\" > %(targets)s'],\n"
        "            'targets': ['aml_config/conda_dependencies.yml'], 'verbosity': 2}\n",
    )
    (graph.configuration / "conda_dependencies.yml").unlink()
    done = graph.doit("prepare:docker")
    assert done.code == 3
    assert done.out.startswith(".  generate\ngenerated\n")
    assert "aml_config/conda_dependencies.yml:1:16: error: 'json' is a module" in done.err


@pytest.mark.parametrize(
    ("own", "code"),
    [
        ("def task_prepare():\n    return {'actions': ['echo own']}\n", 2),
        ("def task_prepare():\n    yield {'name': 'docker', 'actions': ['echo own']}\n", 2),
        ("del task_prepare\n", 2),
    ],
)
def test_a_dodo_with_another_prepare(graph: ProjectFolder, own: str, code: int) -> None:
    """Then a run prepares its environment itself."""
    (graph.configuration / "conda_dependencies.lock").unlink()
    graph.write("train.py", "")
    graph.write("dodo.py", f"from amlexec.tasks import *  # noqa: F403\n{own}")
    assert graph.doit("list", "--all").code == 0
    nobody = {**os.environ, "DOCKER_HOST": "unix:///nowhere/engine.sock"}
    done = graph.doit("submit:docker", "script=train.py", env=nobody)
    assert (done.code, "no Docker engine answers" in done.err) == (code, True), done.err
    assert "own" not in done.out


@pytest.mark.parametrize("name", ["a=b", "a*b", "a*[b]?", "a b", "é", "x\\x3d"])
def test_names_with_characters_that_doit_interprets(graph: ProjectFolder, name: str) -> None:
    graph.write(f"aml_config/{name}.runconfig", FILES["aml_config/docker.runconfig"])
    graph.write("aml_config/axb.runconfig", FILES["aml_config/docker.runconfig"])
    done = graph.doit("list", "--all")
    assert done.code == 0, done.err
    shown = name.replace("=", "\\x3d")
    assert f"submit:{shown} " in done.out
    assert f"lint:aml_config/{shown}.runconfig " in done.out
    done = graph.doit("info", f"submit:{shown}")
    assert done.code == 1, done.err
    assert f"prepare:{shown}" in section(done, "setup_tasks")


BROKEN: dict[str, dict[str, str | bytes | None]] = {
    "no YAML": {"aml_config/docker.runconfig": "Target: [\n"},
    "bytes": {"aml_config/docker.runconfig": b"\xff\0\xfe"},
    "no YAML in the target": {"aml_config/docker.compute": "type: {\n"},
    "no target": {"aml_config/docker.compute": None},
    "no dependencies": {"aml_config/conda_dependencies.yml": None},
    "no requirements": {"requirements.txt": None},
    "no package": {"library/pyproject.toml": None, "library/a.py": None},
    "a circle": {"requirements.txt": "-r requirements.txt\n"},
    "a longer circle": {"requirements.txt": "-r more.txt\n", "more.txt": "-c requirements.txt\n"},
    "an alias in a circle": {"aml_config/conda_dependencies.yml": "dependencies: &a [*a]\n"},
    "a deep one": {"aml_config/conda_dependencies.yml": "[" * 5000},
    "a lock that says nothing": {},
    "another kind": {"aml_config/docker.compute": "type: cloud\n"},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_stops_only_itself(graph: ProjectFolder, files: dict[str, str | bytes | None]) -> None:
    """It is listed like others, and its task prints the error once."""
    graph.write("train.py", "print('done')\n")
    for file, text in files.items():
        if text is None:
            (graph.root / file).unlink()
        else:
            graph.write(file, text)
    done = graph.doit("list", "--all", "--status", "--deps")
    assert (done.code, done.err) == (0, "")
    assert "R prepare:docker" in done.out
    done = graph.doit("info", "prepare:docker")
    assert (done.code, done.err, " at 0x" in done.out) == (1, "", False)
    assert "aml_config/docker.runconfig" in section(done, "file_dep")
    done = graph.doit("prepare", "submit:local", "script=train.py")
    assert done.code == 3, done.err
    assert done.err.count("error: ") == 1, done.err
    assert "Traceback" not in done.err
    assert "local: the environment of a local target is yours; nothing to prepare\n" in done.out
    assert "done\n" in done.out
    done = graph.doit("submit:docker", "script=train.py")
    assert done.code == 3, done.err
    assert done.err.count("error: ") == 1, done.err


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("docker.runconfig", "folder"),
        ("docker.runconfig", "loop"),
        ("docker.compute", "pipe"),
        ("conda_dependencies.yml", "pipe"),
        ("conda_dependencies.yml", "device"),
        ("spark_dependencies.yml", "nowhere"),
    ],
)
def test_inputs_that_are_not_files(graph: ProjectFolder, file: str, kind: str) -> None:
    path = graph.configuration / file
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path, "device": "/dev/zero"}.get(kind, kind))
    for words in (["list", "--all", "--status", "--deps"], ["info", "prepare:docker"]):
        done = graph.doit(*words)
        assert done.code in {0, 1}, done.err
        assert done.err == ""
    done = graph.doit("prepare:docker")
    assert done.code == 3, done.err
    assert (done.err.count("error: "), "Traceback" in done.err) == (1, False), done.err


def test_package_files_are_listed_only_if_needed(
    graph: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git lists their files; commands that don't need them don't wait for it."""
    calls = graph.root.parent / "calls"
    program = graph.root.parent / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho x >>{calls}\nPATH=${{PATH#*:}} exec git "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    own = "def task_own():\n    return {'actions': []}\n"
    graph.write("dodo.py", f"from amlexec.tasks import *  # noqa: F403\n{own}")
    for words in (
        ["list", "--all"],
        ["own"],
        ["prepare:local"],
        ["info", "prepare:local"],
        ["forget", "own"],
    ):
        assert graph.doit(*words).code in {0, 1}
        assert not calls.exists(), words
    for words in (["list", "--all", "--deps"], ["info", "prepare:docker"], ["reset-dep"]):
        graph.doit(*words)
        assert calls.exists(), words
        calls.unlink()
