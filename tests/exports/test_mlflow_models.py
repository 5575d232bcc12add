"""`model export mlflow` against a real server, read back with MLflow's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.models.registry import opened
from tests.support.sample_runs import add_run

if TYPE_CHECKING:
    from tests.exports.conftest import Mlflow


def read(mlflow_server: Mlflow, name: str) -> dict[str, Any]:
    found: dict[str, Any] = mlflow_server.worker.ask(models={"uri": mlflow_server.uri, "name": name})
    return found


def export(mlflow_server: Mlflow, *arguments: str) -> list[str]:
    done = mlflow_server.amlexec(
        "model", "export", "mlflow", *arguments, "--to", mlflow_server.uri, "--experiment", "registered"
    )
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def test_versions_aliases_tags_and_files_arrive_and_nothing_twice(mlflow_server: Mlflow) -> None:
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
    assert export(mlflow_server) == [
        "net-of-test:1  version 1 in MLflow, new",
        "net-of-test:2  version 2 in MLflow, new",
    ]
    found = read(mlflow_server, "net-of-test")
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
    assert export(mlflow_server, "net-of-test") == [
        "net-of-test:1  version 1 in MLflow, changed",
        "net-of-test:2  version 2 in MLflow, unchanged",
    ]
    found = read(mlflow_server, "net-of-test")
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
    assert len(read(mlflow_server, "net-of-test")["versions"]) == 2
