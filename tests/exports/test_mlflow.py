"""`history export mlflow` and `model export mlflow`, read back from a real server with MLflow's own client.

In one file, since the server takes longer to start than all of this.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import amlexec
from amlexec.exports.keys import LONGEST_KEY, key_of, tag_key_of
from amlexec.history import folders, notes, tags
from amlexec.models.registry import opened
from tests.conftest import eventually, until_printed
from tests.support.sample_runs import add_run

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder
    from tests.exports.conftest import Mlflow


def line(name: str, value: Any, time: float = 1.7e9, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "time": time, **more}


def experiment(mlflow_server: Mlflow, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The option for an experiment of this test alone."""
    return "--experiment", request.node.name


def test_everything_of_a_run_arrives(mlflow_server: Mlflow, request: pytest.FixtureRequest) -> None:
    options = experiment(mlflow_server, request)
    logged = [line("loss", 1 / (step + 1), 1.7e9 + step, step=10 * step) for step in range(5)]
    logged += [line("odd", value) for value in ("NaN", "Infinity", "-Infinity", 2)]
    logged += [line("a=b", 1), line("a:3d:b", 2), line("a/../b", 3), line("words", "text")]
    paths = add_run(
        mlflow_server.project, 0, logged, arguments=("--lr", "0.1", "--note", "x" * 7000), reason="why"
    )
    paths.stdout.write_text("hello\n")
    (paths.outputs / "deep").mkdir(parents=True)
    (paths.outputs / "deep/model.bin").write_bytes(b"\0\1")
    (paths.outputs / "link").symlink_to("/etc/passwd")
    tags.change(paths, {"best": "yes", "mlflow.runName": "mine"})
    notes.write(paths, "a note")
    (printed,) = mlflow_server.export(*options)
    run_id = paths.folder.name
    (found,) = mlflow_server.read(options[1]).values()
    assert printed == f"{run_id}  {found['id']}  12 values, 4 files"
    assert found["status"] == "FINISHED"
    assert (found["start"], found["end"]) == (1_700_000_000_000, 1_700_000_042_500)
    assert found["parameters"]["lr"] == "0.1"
    assert found["parameters"]["note"].startswith("sha256:")
    assert found["metrics"]["loss"] == [
        [repr(1 / (step + 1)), 1_700_000_000_000 + 1000 * step, 10 * step] for step in range(5)
    ]
    # MLflow's databases have no infinity: it is their largest number.
    largest = sys.float_info.max
    values = sorted(found["metrics"]["odd"], key=lambda point: point[2])
    assert [value for value, _, _ in values] == ["nan", repr(largest), repr(-largest), "2.0"]
    assert {key for key in found["metrics"] if key.startswith("a")} == {
        key_of(name) for name in ("a=b", "a:3d:b", "a/../b")
    }
    assert found["tags"]["best"] == "yes"
    assert found["tags"]["mlflow.runName"] == run_id
    assert found["tags"]["mlflow:2e:runName"] == "mine"
    assert found["tags"]["mlflow.note.content"] == "a note"
    assert found["tags"]["amlexec.run_id"] == run_id
    assert found["tags"]["amlexec.reason"] == "why"
    assert found["artifacts"] == [
        "amlexec/metrics.jsonl",
        "amlexec/parameters/0.txt",
        "amlexec/run.json",
        "amlexec/stdout.log",
        "outputs/deep/model.bin",
    ]
    assert not (mlflow_server.folder.root / "mlruns").exists()


def test_only_what_is_new_is_written(mlflow_server: Mlflow, request: pytest.FixtureRequest) -> None:
    options = experiment(mlflow_server, request)
    paths = add_run(mlflow_server.project, 0, [line("loss", 3, step=0)], status="Completed")
    mlflow_server.export(*options)
    before = mlflow_server.writes()
    (printed,) = mlflow_server.export(*options)
    assert printed.endswith("  0 values, 0 files")
    assert mlflow_server.writes() == before
    with paths.metrics.open("a") as file:
        file.write('{"name": "loss", "value": 2, "time": 1700000001.0, "step": 1}\n')
    (printed,) = mlflow_server.export(*options)
    assert printed.endswith("  1 values, 1 files")
    tags.change(paths, {"best": "yes"})
    mlflow_server.export(*options)
    tags.change(paths, {"best": None, "next": "1"})
    mlflow_server.export(*options)
    # Another computer, or our memory of it is lost.
    shutil.rmtree(mlflow_server.folder.root / ".amlexec/exports")
    before = mlflow_server.writes()
    (printed,) = mlflow_server.export(*options)
    assert "  0 values, " in printed
    (found,) = mlflow_server.read(options[1]).values()
    assert [value for value, _, _ in found["metrics"]["loss"]] == ["3.0", "2.0"]
    assert "best" not in found["tags"]
    assert found["tags"]["next"] == "1"


def test_a_run_that_goes_on_gets_its_end_later(mlflow_server: Mlflow, request: pytest.FixtureRequest) -> None:
    options = experiment(mlflow_server, request)
    folder = mlflow_server.folder
    go = folder.root.parent / "go"
    folder.write(
        "train.py",
        "import os, time\nfrom amlexec.run import log\nlog('loss', 1)\nprint('on', flush=True)\n"
        f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\nraise SystemExit(3)\n",
    )
    run_id = folder.submit("--async", "train.py").run_id
    until_printed(folder.run_folder(run_id) / "stdout.log", b"on\n")
    mlflow_server.export("--no-artifacts", *options)
    (found,) = mlflow_server.read(options[1]).values()
    assert (found["status"], found["end"], found["artifacts"]) == ("RUNNING", None, [])
    go.touch()
    eventually(lambda: "Failed" in folder.amlexec("history", "list").out, "the run has ended")
    mlflow_server.export(*options)
    (found,) = mlflow_server.read(options[1]).values()
    assert found["status"] == "FAILED"
    assert found["tags"]["amlexec.exit_code"] == "3"
    assert found["end"] >= found["start"]


def test_a_run_that_was_deleted_in_mlflow_is_not_made_again(
    mlflow_server: Mlflow, request: pytest.FixtureRequest
) -> None:
    options = experiment(mlflow_server, request)
    paths = add_run(mlflow_server.project, 0, [line("loss", 3)])
    other = add_run(mlflow_server.project, 1, [line("loss", 3)])
    mlflow_server.export(*options)
    found = mlflow_server.read(options[1])
    mlflow_server.worker.ask(delete={"uri": mlflow_server.uri, "run": found[paths.folder.name]["id"]})
    folders.write(paths, folders.read(paths)._replace(status="Failed"))
    done = mlflow_server.amlexec("history", "export", "mlflow", "--to", mlflow_server.uri, *options)
    assert done.code == 2
    assert f"{paths.folder.name}: error: {paths.folder.name} was deleted in MLflow" in done.err
    assert "  hint: mlflow runs restore --run-id" in done.err
    assert done.out.startswith(f"{other.folder.name}  ")
    assert len(mlflow_server.read(options[1])) == 2


def test_a_database_file_makes_no_folder_here(mlflow_server: Mlflow, tmp_path: Path) -> None:
    from tests.engines import mlflow

    paths = add_run(mlflow_server.project, 0, [line("loss", 3)])
    (tmp_path / "tracking").mkdir()
    shutil.copy(mlflow.database(), tmp_path / "tracking/mlflow.db")
    before = sorted(path.name for path in mlflow_server.folder.root.iterdir())
    done = mlflow_server.amlexec("history", "export", "mlflow", "--to", "sqlite:///../tracking/mlflow.db")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in mlflow_server.folder.root.iterdir()) == before
    found = mlflow_server._replace(uri=f"sqlite:///{tmp_path}/tracking/mlflow.db").read()
    assert found[paths.folder.name]["artifacts"] == ["amlexec/metrics.jsonl", "amlexec/run.json"]
    assert (tmp_path / "tracking/mlartifacts").is_dir()


@pytest.mark.parametrize("meet", ["", "at once", "late"])
def test_two_exports_at_once_make_one_run(
    mlflow_server: Mlflow, request: pytest.FixtureRequest, tmp_path: Path, meet: str
) -> None:
    """Of one project, by two addresses of the server; and of two computers' copies of it."""
    root = mlflow_server.folder.root
    for number in range(2):
        add_run(mlflow_server.project, number, [line("loss", value, step=value) for value in range(50)])
    folders = [str(root), str(root)]
    if meet:
        folders[1] = str(shutil.copytree(root, tmp_path / "copy" / root.name))
    options = experiment(mlflow_server, request)
    mlflow_server.export("--last", "1", *options)  # the experiment is there
    addresses = (mlflow_server.uri, f"{mlflow_server.uri}/")
    commands = [["history", "export", "mlflow", "--to", address, *options] for address in addresses]
    done = mlflow_server.worker.ask(race={"commands": commands, "folders": folders, "meet": meet})
    assert [(each["code"], each["err"]) for each in done] == [(0, ""), (0, "")]
    names = [path.name for path in (root / ".amlexec/runs").iterdir()]
    where = {"uri": mlflow_server.uri, "experiment": options[1]}
    assert mlflow_server.worker.ask(names=where) == sorted(names)
    ids = [{piece.split()[1] for piece in each["out"].splitlines()} for each in done]
    assert ids[0] == ids[1]
    mlflow_server.export(*options)
    for found in mlflow_server.worker.ask(read=where).values():
        if found["stage"] == "active":
            assert sorted(point[2] for point in found["metrics"]["loss"]) == [*range(50)]


def read_model(mlflow_server: Mlflow, name: str) -> dict[str, Any]:
    found: dict[str, Any] = mlflow_server.worker.ask(models={"uri": mlflow_server.uri, "name": name})
    return found


def export_models(mlflow_server: Mlflow, *arguments: str) -> list[str]:
    done = mlflow_server.amlexec(
        "model", "export", "mlflow", *arguments, "--to", mlflow_server.uri, "--experiment", "registered"
    )
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_versions_aliases_tags_and_files_of_a_model_arrive_and_nothing_twice(mlflow_server: Mlflow) -> None:
    folder = mlflow_server.folder
    paths = add_run(mlflow_server.project, 0, [{"name": "accuracy", "value": 0.9, "time": 1.7e9}])
    (paths.outputs / "net/deep").mkdir(parents=True)
    (paths.outputs / "net/deep/weights").write_text("1 2")
    (paths.outputs / "net/about").write_text("a net")
    run_id = paths.folder.name
    register = ("model", "register", "-n", "net-of-test")
    folder.amlexec(*register, "-r", run_id, "-m", "outputs/net", "--tag", "a=b=1", "--description", "first")
    folder.write("m.txt", "alone")
    assert folder.amlexec(*register, "m.txt", "--tag", "checked").out == "net-of-test:2\n"
    folder.amlexec("model", "promote", "net-of-test:1", "champion")
    folder.amlexec("model", "promote", "net-of-test:2", "old")
    assert export_models(mlflow_server) == [
        "net-of-test:1  version 1 in MLflow, new",
        "net-of-test:2  version 2 in MLflow, new",
    ]
    found = read_model(mlflow_server, "net-of-test")
    assert {alias: int(number) for alias, number in found["aliases"].items()} == {"champion": 1, "old": 2}
    first, second = (found["versions"][number] for number in sorted(found["versions"]))
    assert first["files"] == {"net/deep/weights": "1 2", "net/about": "a net"}
    assert (first["run"], first["description"]) == (run_id, "first")
    assert first["tags"]["a"] == "b=1"
    assert first["tags"]["amlexec.version"] == "1"
    assert first["tags"]["amlexec.digest"] == (
        opened(mlflow_server.project).find("net-of-test:1").version.content.digest
    )
    assert second["files"] == {"m.txt": "alone"}
    assert (second["run"], second["tags"]["checked"]) == ("model net-of-test:2", "true")
    # What changes is changed, and nothing is there twice.
    folder.amlexec("model", "promote", "net-of-test:2", "champion")
    folder.amlexec("model", "promote", "--remove", "net-of-test", "old")
    folder.amlexec("model", "tag", "net-of-test:1", "--remove", "a", "--description", "second")
    assert export_models(mlflow_server, "net-of-test") == [
        "net-of-test:1  version 1 in MLflow, changed",
        "net-of-test:2  version 2 in MLflow, unchanged",
    ]
    found = read_model(mlflow_server, "net-of-test")
    assert {alias: int(number) for alias, number in found["aliases"].items()} == {"champion": 2}
    assert len(found["versions"]) == 2
    first = found["versions"][min(found["versions"])]
    assert "a" not in first["tags"]
    assert first["description"] == "second"
    # A version whose files were changed is not exported, and those before it are.
    folder.write("m.txt", "third")
    folder.amlexec(*register, "m.txt")
    registry = opened(mlflow_server.project)
    changed = registry.path(registry.find("net-of-test:3"))
    changed.chmod(0o600)
    changed.write_text("evil")
    done = mlflow_server.amlexec(
        "model", "export", "mlflow", "--to", mlflow_server.uri, "--experiment", "registered"
    )
    assert done.code == 2
    assert "these are not the files that were registered: m.txt was changed" in done.err
    assert len(read_model(mlflow_server, "net-of-test")["versions"]) == 2


def test_a_server_that_is_down_and_wrong_addresses_are_errors(mlflow_server: Mlflow) -> None:
    add_run(mlflow_server.project, 0)
    for address, code, said in (
        ("http://127.0.0.1:9", 2, "error: experiment 'demo': MLflow: "),
        ("http://me:secret@127.0.0.1:9", 3, "the address has a password in it"),
        ("mlflow.db", 3, "expected the address of an MLflow server or database"),
        ("gopher://x", 2, "MLflow: "),
    ):
        done = mlflow_server.amlexec("history", "export", "mlflow", "--to", address)
        assert done.code == code, done.err
        assert said in done.err
        assert "secret" not in done.err


def test_without_mlflow_the_extra_is_named(project: ProjectFolder) -> None:
    from amlexec.values import Project

    add_run(Project(str(project.root)), 0)
    program = (
        "import sys\nsys.modules['mlflow'] = None\nfrom amlexec.cli import run\n"
        "sys.exit(run(['history', 'export', 'mlflow', '--to', 'http://127.0.0.1:9']))\n"
    )
    done = project.call(sys.executable, "-c", program)
    assert done.code == 3
    assert "pip install 'amlexec[mlflow]'" in done.err


def test_two_names_never_get_one_key() -> None:
    names = [
        "",
        ":",
        "::",
        ".",
        "..",
        "a",
        "a/b",
        "a//b",
        "/a",
        "a/",
        "./a",
        "a/./b",
        "a/../b",
        "a=b",
        "a:3d:b",
    ]
    names += [
        "a:3d:",
        ":3a:",
        "é",
        "a\u202e",
        "\ud800",
        "x" * 250,
        "x" * 251,
        "x" * 252,
        "a:b",
        "A",
        "a b",
        "a\nb",
    ]
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(names)
    assert all(len(key) <= LONGEST_KEY for key in keys)
    for plain in ("a", "a/b", "é", "a:b", "a b", "loss.train-1_x"):
        assert key_of(plain) == plain
    assert tag_key_of("amlexec.run_id") != "amlexec.run_id"


def test_only_the_client_imports_mlflow() -> None:
    root = Path(amlexec.__file__).parent
    imports = re.compile(r"^\s*(?:import|from) mlflow\b|import_module\(\"mlflow", re.MULTILINE)
    found = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if not path.is_relative_to(root / "runtime/site") and imports.search(path.read_text("utf-8"))
    ]
    assert found == ["exports/mlflow_client.py"]
