"""Files and images of an earlier version can be read: runs, snapshots, secrets, environments.

`tests/data` has the home of a user of 2026-11-21, with a project in it: two run configurations, six runs,
and an environment that was prepared. The last run ended after that version had looked at it last.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import images
from amlexec.keystore import store as keystore
from amlexec.ssh import program
from tests.conftest import ProjectFolder
from tests.support.places import new_base

if TYPE_CHECKING:
    from tests.support.places import Shop

HOME = Path(__file__).parent / "data/project-of-2026-11-21.tar.gz"
DIGEST = "b348ea5fb8d5bcc15c56d82857a74e3ea5a2181c077864e0bda91e5567c5b02f"
LABELS = {
    "amlexec.base": "sha256:1048d117691ae42c1141696bc8e066f44b160af4411ea3c8309dd4752479efb8",
    "amlexec.conda": "",
    "amlexec.digest": DIGEST,
    "amlexec.owner": "study-30e0ffa3f948",
    "amlexec.platform": "linux-64",
    "amlexec.project": "study",
    "amlexec.python": "3.11.7",
    "amlexec.recipe": "1",
}
"""Those of the environment's image."""
FIRST, GOOD, FAILED, CONTAINER, CANCELED, LEFT = (
    f"study_{number}"
    for number in (
        1796039432877,
        1796039433827,
        1796039437336,
        1796039438570,
        1796039445883,
        1796039481429,
    )
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    """The project, in the home that is ours now."""
    with tarfile.open(HOME) as archive:
        for entry in archive:
            archive.extract(entry, tmp_path, filter="fully_trusted")  # made by us
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = ProjectFolder.__new__(ProjectFolder)
    found.root = tmp_path / "study"
    found.configuration = found.root / "aml_config"
    return found


def test_its_runs_are_listed(study: ProjectFolder) -> None:
    done = study.amlexec("history", "list", "-o", "json")
    assert done.code == 0, done.err
    rows = {row["run_id"]: row for row in json.loads(done.out)}
    assert {name: row["status"] for name, row in rows.items()} == {
        FIRST: "Completed",
        GOOD: "Completed",
        FAILED: "Failed",
        CONTAINER: "Completed",
        CANCELED: "Canceled",
        LEFT: "Completed",
    }
    assert rows[GOOD]["metrics"]["Accuracy"] == 0.8
    assert rows[GOOD]["metrics"]["loss"] == pytest.approx(2 / 3)
    assert done.err == ""


def test_the_end_of_its_last_run_is_recorded(study: ProjectFolder) -> None:
    assert study.record(LEFT)["status"] in {"Starting", "Running"}
    done = study.amlexec("experiment", "status", "-r", "last")
    assert (done.code, done.out.split()) == (0, [LEFT, "Completed"]), done.err
    assert study.record(LEFT)["exit_code"] == 0


def test_its_artifacts_are_found(study: ProjectFolder) -> None:
    done = study.amlexec("history", "info", "-r", FAILED, "-a", "stdout.log")
    assert (done.code, done.out) == (0, "trained at 9.0\n"), done.err
    done = study.amlexec("history", "download", "-r", GOOD, "-d", "home")
    assert done.code == 0, done.err
    assert [path.read_text() for path in (study.root / "home").rglob("model.txt")] == ["rate 0.5\n"]
    done = study.amlexec("history", "compare", FIRST, GOOD)
    assert done.code == 0, done.err
    assert "0.9" in done.out and "0.8" in done.out


def test_new_runs_in_its_project(study: ProjectFolder) -> None:
    shutil.copy(study.root / "train.py", study.root / "new.py")
    done = study.submit("new.py", "2")
    assert done.code == 0, done.err
    assert study.record(done.run_id)["metrics"]["Accuracy"] == 0.9
    assert len(study.run_ids()) == 7
    listed = study.doit("list", "--all")
    assert listed.code == 0, listed.err
    assert "submit:local" in listed.out
    done = study.doit("lint")
    assert done.code == 0, done.err
    done = study.amlexec("experiment", "clean", "-r", FAILED)
    assert done.code == 0, done.err
    assert not (study.run_folder(FAILED) / "project").exists()


def test_its_secrets_can_be_read(study: ProjectFolder) -> None:
    assert keystore.get("amlexec:29334318a571c371efa1be5c9f4be5b7") == "sesame"
    pair = "amlexec:d705fe044e17e880c7d8119f24fcd777"
    file = keystore.private_key_file(pair, study.root)
    made = program.run(["ssh-keygen", "-y", "-f", str(file)])
    assert made.stdout.split()[:2] == keystore.public_key(pair).split()[:2]


def test_its_environment_is_up_to_date(study: ProjectFolder, shop: Shop) -> None:
    done = study.amlexec("experiment", "prepare", "-c", "docker", "--print-digest")
    assert (done.code, done.out.strip()) == (0, DIGEST), done.err
    name = f"amlexec:{DIGEST[:20]}"
    new_base(shop.engine, shop.base, name, *(f"{label}={value}" for label, value in LABELS.items()))
    try:
        done = study.amlexec("experiment", "prepare", "-c", "docker", "--check")
        assert (done.code, done.out) == (0, f"docker: up to date: the engine has {name}\n"), done.err
    finally:
        images.remove(shop.engine, name)


def test_its_runs_are_run_again(study: ProjectFolder) -> None:
    done = study.amlexec("experiment", "rerun", GOOD, "--accept-changes", "--verify")
    assert done.code == 0, done
    assert f" equals {GOOD}: " in done.out
    (again,) = set(study.run_ids()) - {FIRST, GOOD, FAILED, CONTAINER, CANCELED, LEFT}
    before, record = study.record(GOOD), study.record(again)
    assert record["rerun_of"] == GOOD
    assert [record[key] for key in ("snapshot", "arguments")] == [
        before[key] for key in ("snapshot", "arguments")
    ]
    refused = study.amlexec("experiment", "rerun", CONTAINER, "-t", "local")
    assert refused.code == 2
    assert "the run used an environment that amlexec had prepared" in refused.err
